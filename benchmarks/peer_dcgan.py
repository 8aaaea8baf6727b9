"""The other side of (b): the loops that a person writes after the PyTorch tutorial, and after WGAN's code, in float32.

In their favour: the images are in memory as float tensors already, and no loss is fetched from the device on the way.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import serve
from torch import nn

Play = Callable[[int, torch.Tensor], None]


def generator(filters: int, kernel: int) -> nn.Module:
    widths = [filters * 8, filters * 4, filters * 2, filters]
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(True),
    ]
    shape = {"kernel_size": kernel, "stride": 2, "padding": (kernel - 1) // 2, "output_padding": kernel % 2}
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.ConvTranspose2d(wide, narrow, **shape, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(filters, 3, **shape), nn.Tanh())


def discriminator(filters: int, kernel: int) -> nn.Module:
    shape = {"kernel_size": kernel, "stride": 2, "padding": (kernel - 1) // 2}
    layers: list[nn.Module] = [nn.Conv2d(3, filters, **shape), nn.LeakyReLU(0.2, True)]
    for narrow in (filters, filters * 2, filters * 4):
        layers += [nn.Conv2d(narrow, narrow * 2, **shape, bias=False), nn.BatchNorm2d(narrow * 2)]
        layers.append(nn.LeakyReLU(0.2, True))
    return nn.Sequential(*layers, nn.Conv2d(filters * 8, 1, 4, 1, 0), nn.Flatten(0))


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def speed(
    data: str, seed: int, filters: int, kernel: int, moves: int, batch_size: int, batches: int, warm: int
) -> dict[str, Any]:
    """Images per second after `warm` batches; with several moves of the critic to one of the generator, a WGAN."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(np.load(data)).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size, shuffle=True)
    g, d = generator(filters, kernel).to(device), discriminator(filters, kernel).to(device)
    g.apply(initialise)
    d.apply(initialise)
    play = _dcgan(g, d, batch_size, device) if moves == 1 else _wgan(g, d, moves, batch_size, device)
    began = 0.0
    for number, (batch,) in enumerate(loader):
        if number == warm:
            _wait(device)
            began = time.perf_counter()
        if number == batches:
            break
        play(number, batch.to(device))
    _wait(device)
    seconds = time.perf_counter() - began
    parameters = sum(p.numel() for net in (g, d) for p in net.parameters())
    return {"images_per_second": (batches - warm) * batch_size / seconds, "parameters": parameters}


def _dcgan(g: nn.Module, d: nn.Module, n: int, device: torch.device) -> Play:
    g_adam = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_adam = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(n, device=device), torch.zeros(n, device=device)

    def play(_: int, batch: torch.Tensor) -> None:
        d_adam.zero_grad()
        criterion(d(batch), ones).backward()
        fake = g(torch.randn(n, 100, 1, 1, device=device))
        criterion(d(fake.detach()), zeros).backward()
        d_adam.step()
        g_adam.zero_grad()
        criterion(d(fake), ones).backward()
        g_adam.step()

    return play


def _wgan(g: nn.Module, d: nn.Module, moves: int, n: int, device: torch.device) -> Play:
    g_prop = torch.optim.RMSprop(g.parameters(), lr=5e-5)
    d_prop = torch.optim.RMSprop(d.parameters(), lr=5e-5)

    def play(number: int, batch: torch.Tensor) -> None:
        with torch.no_grad():
            fake = g(torch.randn(n, 100, 1, 1, device=device))
        d_prop.zero_grad()
        (d(fake).mean() - d(batch).mean()).backward()
        d_prop.step()
        with torch.no_grad():
            for weight in d.parameters():
                weight.clamp_(-0.01, 0.01)
        if number % moves == moves - 1:
            d.requires_grad_(False)
            g_prop.zero_grad()
            (-d(g(torch.randn(n, 100, 1, 1, device=device))).mean()).backward()
            g_prop.step()
            d.requires_grad_(True)

    return play


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    serve(speed)
