import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.ground.randomness import Draw, Stream, key, order


def test_a_draw_is_a_function_of_its_arguments() -> None:
    assert torch.equal(Draw(1, 2).normal("noise", (4, 3)), Draw(1, 2).normal("noise", (4, 3)))
    draws = [
        Draw(s, t).normal(p, (4, 3)) for s, t, p in ((1, 2, "noise"), (2, 2, "noise"), (1, 3, "noise"), (1, 2, "z"))
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_processes_share_what_one_process_draws(distribution: str) -> None:
    whole = getattr(Draw(0, 5), distribution)("noise", (6, 2))
    parts = [getattr(Draw(0, 5, rank=rank, world=3), distribution)("noise", (2, 2)) for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)


def test_draws_have_the_distribution_they_name() -> None:
    """Kolmogorov-Smirnov on one fixed seed; a wrong distribution gives p < 1e-12, a right one fails 1 seed in 1000."""
    assert stats.kstest(Draw(3, 0).normal("a", (20000,)).numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(Draw(3, 0).uniform("a", (20000,)).numpy(), "uniform").pvalue > 1e-3


def test_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    assert sorted(order(0, "order", 1, n=100)) == list(range(100))
    assert not np.array_equal(order(0, "order", 1, n=100), order(0, "order", 2, n=100))


def test_keys_are_the_same_on_every_machine() -> None:
    assert 0 <= key(0, "order", 1) < 2**63
    assert key(0, "order", 1) == key(0, "order", 1) != key(0, "order", 11)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 500, 7), (513,)])
def test_a_stream_goes_on_where_it_was(sizes: tuple[int, ...]) -> None:
    whole, stream = Draw(3, 8), Stream(3, 8)
    for purpose, draw in (("a", "normal"), ("b", "uniform"), ("c", "normal")):
        parts = [getattr(stream, draw)(purpose, (n, 3)) for n in sizes]
        assert torch.equal(torch.cat(parts), getattr(whole, draw)(purpose, (sum(sizes), 3)))
    above = [stream.above().normal("a", (n, 2)) for n in sizes]
    assert torch.equal(torch.cat(above), whole.above().normal("a", (sum(sizes), 2)))
    assert torch.equal(whole.above().normal("a", (4,)), Draw(3, 8, 1).normal("a", (4,)))


def test_black_and_white_by_their_probabilities() -> None:
    """Binomial tests, false alarm 1e-6; 0 and 1 are sure, and an image may have any number of values."""
    p = torch.tensor([0.0, 1e-3, 0.3, 0.5, 0.999, 1.0]).repeat(1, 5)[:, :29].expand(4000, -1)
    drawn = Draw(0, 1).binary("a", p)
    assert drawn.shape == p.shape and drawn.dtype == p.dtype and set(drawn.unique().tolist()) == {0.0, 1.0}
    for chance in (1e-3, 0.3, 0.5, 0.999):
        of = drawn[p == chance]
        assert stats.binomtest(int(of.sum()), len(of), chance).pvalue > 1e-6
    assert bool((drawn[p == 0] == 0).all()) and bool((drawn[p == 1] == 1).all())
    sure = torch.tensor([0.0, 1.0]).repeat(50_000, 5)
    assert torch.equal(Draw(0, 2).binary("a", sure), sure)


def test_processes_and_streams_share_black_and_white() -> None:
    p = torch.rand(6, 3, 3, 1, generator=torch.Generator().manual_seed(0))
    whole, stream = Draw(0, 5).binary("a", p), Stream(0, 5)
    assert torch.equal(
        torch.cat([Draw(0, 5, rank=r, world=3).binary("a", p[2 * r : 2 * r + 2]) for r in range(3)]), whole
    )
    assert torch.equal(torch.cat([stream.binary("a", part) for part in p.split([1, 2, 3])]), whole)
