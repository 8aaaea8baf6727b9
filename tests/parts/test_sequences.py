import itertools

import pytest
import torch

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build
from ganvas.parts.sequences import Sequence, Transformer

TINY = Transformer(width=16, layers=2, heads=2)


def made(size: int, length: int, depth: int = 1, told: int = 0) -> Sequence:
    """With weights that are large enough for tokens to depend on one another."""
    torch.manual_seed(0)
    net = TINY.build(size, length, depth, told).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return net


@pytest.mark.parametrize(("size", "length", "depth"), [(3, 4, 1), (2, 6, 3), (5, 1, 1)])
def test_the_probabilities_of_all_sequences_sum_to_1(size: int, length: int, depth: int) -> None:
    net = made(size, length, depth)
    all_ = torch.tensor([*itertools.product(range(size), repeat=length)])
    with torch.no_grad():
        log_prob = net.log_prob(all_).double()
    assert float(log_prob.sum(1).exp().sum()) == pytest.approx(1, abs=1e-5)
    assert length == 1 or float(log_prob[:, -1].std()) > 0.1  # the last one depends on those before it


@pytest.mark.parametrize("depth", [1, 2])
def test_none_knows_what_comes_after_it(depth: int) -> None:
    net = made(7, 8, depth)
    tokens = torch.randint(7, (1, 8))
    others = tokens.repeat(8, 1)
    for t in range(8):
        others[t, t + 1 :] = (others[t, t + 1 :] + 1) % 7
    with torch.no_grad():
        first, changed = net.log_prob(tokens), net.log_prob(others)
    for t in range(8):
        assert torch.allclose(changed[t, : t + 1], first[0, : t + 1], atol=1e-5)


@pytest.mark.parametrize(("depth", "told"), [(1, 0), (3, 0), (1, 4)])
def test_what_is_drawn_with_keys_kept_is_what_is_drawn_without(depth: int, told: int) -> None:
    net, u = made(6, 9, depth, told), Draw(0).uniform("tokens", (50, 9))
    rows = torch.randn(50, told) if told else None
    with torch.no_grad():
        found = net.sample(u, rows)
        tokens = torch.zeros(50, 9, dtype=torch.int64)
        for t in range(9):
            below = torch.zeros(50)
            for token in range(6):
                tokens[:, t] = token
                below += net.log_prob(tokens, rows)[:, t].exp()
                u_is_below = (u[:, t] < below) & (tokens[:, t] == token)
                found_here = found[:, t] == token
                assert (u_is_below | ~found_here | (u[:, t] - below).abs().lt(1e-5)).all()
            tokens[:, t] = found[:, t]
    assert len(found.unique(dim=0)) > 40


def test_how_often_each_is_drawn() -> None:
    """Of 27 sequences; a chi-squared of 26 degrees of freedom is above 60 by chance in 2 of 10,000 seeds."""
    net = made(3, 3)
    all_ = torch.tensor([*itertools.product(range(3), repeat=3)])
    with torch.no_grad():
        share = net.log_prob(all_).sum(1).exp()
        drawn = net.sample(Draw(1).uniform("tokens", (5000, 3)))
    counts = torch.stack([(drawn == row).all(1).sum() for row in all_])
    assert float(((counts - 5000 * share).square() / (5000 * share)).sum()) < 60


def test_what_is_told_matters_and_nothing_is_zeros() -> None:
    net, tokens = made(5, 4, told=3), torch.randint(5, (6, 4))
    with torch.no_grad():
        nothing = net.log_prob(tokens)
        assert torch.allclose(net.log_prob(tokens, torch.zeros(1, 3)), nothing)
        assert not torch.allclose(net.log_prob(tokens, torch.ones(1, 3)), nothing)
        each = net.log_prob(tokens, torch.eye(3).repeat(2, 1))
        assert torch.allclose(each[1:2], net.log_prob(tokens[1:2], torch.eye(3)[1:2]), atol=1e-6)


def test_heads_divide_the_width() -> None:
    with pytest.raises(UserError, match="5 heads do not divide"):
        build(Transformer, {"width": 128, "heads": 5})
