import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ganvas.parts.adam import AdamW


def test_its_moves_are_torch_s_to_the_bit() -> None:
    """With a weight without a gradient, another rate at each move, and from a state that was loaded."""
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.Linear(3, 3))]
    nets.append(copy.deepcopy(nets[0]))
    how = {"betas": (0.8, 0.99), "eps": 1e-7, "weight_decay": 0.01, "fused": True}
    optimizers = [
        made(net.parameters(), 1e-2, **how) for made, net in zip((torch.optim.AdamW, AdamW), nets, strict=True)
    ]
    for step in range(6):
        x = torch.from_numpy(np.random.default_rng(step).standard_normal((16, 6), np.float32))
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 1e-2 / (step + 1)
            net[: 3 + (step > 1)](x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            assert all(weight.grad is None for weight in net.parameters())
            if step == 3:
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for a, b in zip(*(net.parameters() for net in nets), strict=True):
            assert torch.equal(a, b)


def test_a_training_does_not_import_torch_s_compiler(tmp_path: Path) -> None:
    """Which takes a second and 70 MB: here of each of ours, from its first move to a loaded state."""
    program = """
import sys
import numpy as np
from ganvas.training.train import resume, train
images = np.random.default_rng(0).integers(0, 256, (100, 8, 8), dtype=np.uint8)
for optimizer in ("adam", "muon"):
    run = train("vae", data=images, optimizer=optimizer, epochs=1, out=optimizer)
    resume(run.path, epochs=2)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
