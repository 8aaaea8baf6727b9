#!/usr/bin/env bash
# copy.copy of a torch.nn.Module: what is set on the copy stays the copy's only where torch does not register it. A parameter, a buffer or
# a submodule that is assigned to the copy becomes the original's too, since both hold the same dicts of them; a plain attribute does not.
# A tensor that takes the place of None, registered as a buffer, goes to both as well. And the mode is split: copy.eval() leaves the
# original's own `training` true, while its layers (dropout, batch norm) are in evaluation mode from then on. So a copy that is asked while
# the original trains switches the original's dropout off, and nothing in the original says so. torch 2.13.0, Python 3.11.
# ganvas tells a model something by such a copy (models/conditions.py): it gives the copy a dict of its own where a submodule changes, assigns
# to no registered name, and sets every layer's mode back after it has asked. Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
"$dir/env/bin/python" - <<'PYTHON'
import copy

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(2, 2), nn.Dropout(0.5)
        self.weight, self.note = nn.Parameter(torch.zeros(1)), "original's"
        self.register_buffer("seen", None)


def after(change):
    net = Net()
    other = copy.copy(net)
    change(other)
    return net


found = {
    "plain attribute": after(lambda it: setattr(it, "note", "copy's")).note == "copy's",
    "parameter": after(lambda it: setattr(it, "weight", nn.Parameter(torch.ones(1)))).weight.item() == 1,
    "buffer": after(lambda it: setattr(it, "seen", torch.ones(1))).seen is not None,
    "submodule": isinstance(after(lambda it: setattr(it, "layer", nn.Identity())).layer, nn.Identity),
    "eval(): the original's own mode": not after(lambda it: it.eval()).training,
    "eval(): the mode of the original's dropout": not after(lambda it: it.eval()).drop.training,
    "double(): the original's weights": after(lambda it: it.double()).weight.dtype == torch.float64,
}
print("torch", torch.__version__)
for what, reaches in found.items():
    print(f"{what}: what is done to the copy {'reaches' if reaches else 'does not reach'} the original")
raise SystemExit([*found.values()] != [False, True, True, True, False, True, True])
PYTHON
