#!/usr/bin/env bash
# A net with skip connections may keep its maps in a dict by their shape, and look each up when the decoder comes to that shape again:
# `kept[y.shape] = y` ... `z + kept.pop(z.shape)`. That runs, is exported with fixed sizes, and torch.compile(dynamic=True) takes it at
# several batch sizes. Yet torch.export with a dynamic batch does not, though the batch is no matter of the lookup: by default (non-strict)
# a torch.Size that holds a symbolic size can't be a key ("unhashable type: non-nested SymInt"), and with strict=True the key fixes the
# batch at the example's ("Constraints violated"). So whether such a net can be written as ONNX for any batch shows only at the export.
# torch 2.13.0. ganvas keeps the maps in a list, in the order in which they are met. Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
"$dir/env/bin/python" - 2>/dev/null <<'PYTHON'
import torch


class Skip(torch.nn.Module):
    def __init__(self, key):
        super().__init__()
        self.key = key

    def forward(self, x):
        kept = {}
        y = torch.relu(x)
        kept[self.key(y)] = y
        z = torch.tanh(y)
        return z + kept.pop(self.key(z))


def outcome(ask):
    try:
        ask()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "works"


x, batch = torch.rand(4, 3, 8, 8), ({0: torch.export.Dim("n")},)
net = Skip(lambda y: y.shape)
compiled = torch.compile(net, backend="eager", dynamic=True)
found = {
    "eager": outcome(lambda: net(x)),
    "compiled, two batch sizes": outcome(lambda: (compiled(x), compiled(torch.rand(7, 3, 8, 8)))),
    "exported, fixed batch": outcome(lambda: torch.export.export(net, (x,))),
    "exported, any batch": outcome(lambda: torch.export.export(net, (x,), dynamic_shapes=batch)),
    "exported, any batch, strict": outcome(lambda: torch.export.export(net, (x,), dynamic_shapes=batch, strict=True)),
    "exported, any batch, key without the batch": outcome(
        lambda: torch.export.export(Skip(lambda y: y.shape[1:]), (x,), dynamic_shapes=batch)
    ),
}
print("torch", torch.__version__)
for what, came in found.items():
    print(f"{what}: {came}")
works = [came == "works" for came in found.values()]
raise SystemExit(works != [True, True, True, False, False, True])
PYTHON
