"""The other side of (b): the loop that a person writes after the PyTorch tutorial, in float32.

In its favour: the images are in memory as float tensors already, and no loss is fetched from the device on the way.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch
from common import serve
from torch import nn


def generator(filters: int) -> nn.Module:
    widths = [filters * 8, filters * 4, filters * 2, filters]
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(True),
    ]
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(filters, 3, 4, 2, 1), nn.Tanh())


def discriminator(filters: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, filters, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for narrow in (filters, filters * 2, filters * 4):
        layers += [nn.Conv2d(narrow, narrow * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow * 2)]
        layers.append(nn.LeakyReLU(0.2, True))
    return nn.Sequential(*layers, nn.Conv2d(filters * 8, 1, 4, 1, 0), nn.Flatten(0))


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def speed(data: str, seed: int, filters: int, batch_size: int, steps: int, warm: int) -> dict[str, Any]:
    """Images per second after `warm` steps."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(np.load(data)).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size, shuffle=True)
    g, d = generator(filters).to(device), discriminator(filters).to(device)
    g.apply(initialise)
    d.apply(initialise)
    g_adam = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_adam = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch_size, device=device), torch.zeros(batch_size, device=device)
    began = 0.0
    for step, (batch,) in enumerate(loader):
        if step == warm:
            _wait(device)
            began = time.perf_counter()
        if step == steps:
            break
        d_adam.zero_grad()
        criterion(d(batch.to(device)), ones).backward()
        fake = g(torch.randn(batch_size, 100, 1, 1, device=device))
        criterion(d(fake.detach()), zeros).backward()
        d_adam.step()
        g_adam.zero_grad()
        criterion(d(fake), ones).backward()
        g_adam.step()
    _wait(device)
    seconds = time.perf_counter() - began
    parameters = sum(p.numel() for net in (g, d) for p in net.parameters())
    return {"images_per_second": (steps - warm) * batch_size / seconds, "parameters": parameters}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    serve(speed)
