import copy

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.parts.muon import Muon


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def move(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((16, 6), np.float32))
    model(x).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_matrix_moves_along_the_orthogonal_matrix_nearest_to_its_gradient() -> None:
    """By NumPy: U V^T of the first gradient; after five Newton-Schulz steps singular values lie within 0.6 to 1.3."""
    weight = nn.Parameter(torch.zeros(4, 9))
    gradient = np.random.default_rng(0).standard_normal((4, 9))
    weight.grad = torch.from_numpy(gradient).float()
    Muon([weight], lr=0.01, betas=(0.9, 0.999), eps=1e-8).step()
    moved = -weight.detach().double().numpy() / (0.2 * 3 * 0.01)
    u, _, vt = np.linalg.svd(gradient, full_matrices=False)
    seen = u.T @ moved @ vt.T
    assert ((np.diag(seen) > 0.6) & (np.diag(seen) < 1.3)).all()
    assert np.abs(seen - np.diag(np.diag(seen))).max() < 0.1


def test_a_kernel_is_a_matrix_whatever_its_order_in_memory() -> None:
    gradient = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 3, 2, 2), np.float32))
    moved = []
    for shape, order in (((5, 12), torch.contiguous_format), ((5, 3, 2, 2), torch.channels_last)):
        kernel = nn.Parameter(torch.zeros(shape).contiguous(memory_format=order))
        kernel.grad = gradient.view(shape).contiguous(memory_format=order)
        Muon([kernel], lr=0.1, betas=(0.9, 0.999), eps=1e-8).step()
        moved.append(kernel.detach().reshape(5, 12))
    torch.testing.assert_close(*moved)


def test_one_gradient_of_any_length_does_not_fill_the_momentum() -> None:
    """Ten gradients along one axis, one a million times as long along another: the next ten still count."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = Muon([weight], lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    usual, wild = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, -1e6], [0.0, 0.0]])
    for gradient in [*[usual] * 10, wild, *[usual] * 10]:
        weight.grad = gradient.clone()
        optimizer.step()
    buffer = optimizer.state[weight]["momentum_buffer"]
    assert abs(buffer[0, 1]) < 0.2 < buffer[0, 0] and float(optimizer.state[weight]["length"]) < 2


def test_all_else_moves_by_adam() -> None:
    ours, theirs = net(), net()
    optimizer = Muon(ours.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-4)
    biases = [p for p in theirs.parameters() if p.dim() == 1]
    adam = torch.optim.Adam(biases, 0.01, betas=(0.8, 0.99), eps=1e-4)
    move(ours, optimizer, 0)
    move(theirs, adam, 0)
    for name in ("0.bias", "2.bias"):
        torch.testing.assert_close(ours.state_dict()[name], theirs.state_dict()[name])


def test_the_rate_is_that_of_its_group_and_a_state_continues() -> None:
    straight, halves = net(), net()
    first = Muon(straight.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    second = Muon(halves.parameters(), lr=0.5, betas=(0.9, 0.999), eps=1e-8)
    second.param_groups[0]["lr"] = 0.01
    for seed in range(3):
        move(straight, first, seed)
        move(halves, second, seed)
    state = copy.deepcopy(second.state_dict()["state"])
    again = Muon(halves.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    again.load_state_dict({"state": state, "param_groups": again.state_dict()["param_groups"]})
    for seed in range(3, 6):
        move(straight, first, seed)
        move(halves, again, seed)
    assert len(state) == 4
    for one, other in zip(straight.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shapes", [[(3, 4)], [(3,), (2, 3, 4, 4)]])
def test_either_kind_alone(shapes: list[tuple[int, ...]]) -> None:
    parameters = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    for p in parameters:
        p.grad = torch.ones_like(p)
    Muon(parameters, lr=0.1, betas=(0.9, 0.999), eps=1e-8).step()
    assert all((p < 1).all() for p in parameters)


def test_weights_decay_beside_their_moves() -> None:
    """Decoupled: of matrix and bias alike 1 - lr weight_decay is left, and the same move is added."""
    lr, decay, moved = 0.1, 0.5, []
    for weight_decay in (0.0, decay):
        model = net()
        before = [p.detach().clone() for p in model.parameters()]
        move(model, Muon(model.parameters(), lr, (0.9, 0.999), 1e-8, weight_decay), seed=0)
        moved.append([p.detach().clone() for p in model.parameters()])
    for start, plain, decayed in zip(before, *moved, strict=True):
        torch.testing.assert_close(plain - decayed, lr * decay * start)
