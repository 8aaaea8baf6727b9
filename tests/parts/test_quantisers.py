import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build
from ganvas.parts.quantisers import QUANTISERS, Books, Codebook, FiniteScalar, rotated


def books(vectors: Tensor, **settings: Any) -> Books:
    """A codebook of these vectors (K, d), each of which has stood for 10 of a move's."""
    made = Codebook(size=len(vectors), **settings).build(vectors.shape[1])
    made.book.copy_(vectors)
    made.counts.fill_(10.0)
    made.sums.copy_(10 * vectors)
    return made


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_vector_stands_for_each() -> None:
    vectors, z = random(20, 5), random(300, 5, seed=1)
    found = books(vectors).eval()(z)
    nearest = torch.stack([(row - vectors).square().sum(1).argmin() for row in z])
    assert torch.equal(found.tokens[:, 0], nearest)
    assert torch.equal(found.vectors, vectors[nearest])
    expected = 0.25 * float((z - vectors[nearest]).square().mean())
    assert float(found.penalty) == pytest.approx(expected, rel=1e-5)


def move(made: Books, z: Tensor, number: int = 0) -> None:
    made.train()(z, Draw(0, number))
    made.learn()


def test_a_move_by_hand() -> None:
    """Two vectors at -1 and 1 with counts of 10; of three rows one is nearer to the first."""
    made = books(torch.tensor([[-1.0], [1.0]]), decay=0.9, revive=0.0)
    move(made, torch.tensor([[-2.0], [3.0], [2.0]]))
    assert made.counts[0].tolist() == pytest.approx([0.9 * 10 + 0.1 * 1, 0.9 * 10 + 0.1 * 2])
    assert made.sums[0, :, 0].tolist() == pytest.approx([-9 - 0.2, 9 + 0.5])
    assert made.book[0, :, 0].tolist() == pytest.approx([-9.2 / 9.1, 9.5 / 9.2])


def test_it_learns_of_what_is_seen_in_training_and_with_a_draw_alone() -> None:
    made = books(random(4, 3))
    before = made.book.clone()
    made(random(50, 3, seed=1))
    made.eval()(random(50, 3, seed=1), Draw(0))
    made.learn()
    assert torch.equal(made.book, before)
    made.train()(random(50, 3, seed=1), Draw(0))
    assert torch.equal(made.book, before)
    made.learn()
    assert not torch.equal(made.book, before) and made.noted == []


def test_the_averages_become_the_means_of_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    made = books(centres + random(4, 2), decay=0.8)
    for number in range(60):
        move(made, centres.repeat(50, 1) + 0.1 * random(200, 2, seed=number), number)
    assert torch.allclose(made.book[0], centres, atol=0.03)  # 6 standard errors of a mean of about 450


def test_all_begin_as_vectors_of_the_data() -> None:
    z, made = random(64, 3), Codebook(size=8).build(3)
    made.begin(z, Draw(0))
    among = (made.book[0][:, None] == z[None]).all(2)
    assert among.any(1).all() and len({*among.int().argmax(1).tolist()}) == 8
    few = Codebook(size=100).build(2)
    few.begin(random(7, 2), Draw(0))
    assert torch.equal(few.eval()(random(7, 2)).vectors, random(7, 2))


def test_a_dead_one_begins_again_as_one_of_the_data() -> None:
    z = random(64, 3)
    far = torch.cat([random(7, 3), torch.full((1, 3), 100.0)])
    made, left = books(far, revive=0.5, decay=0.5), books(far, revive=0.0, decay=0.5)
    for one in (made, left):
        one.counts[0, 7] = 6.0  # of 70 / 8 on average; after a move half of it, of 67 / 8
        one.sums[0, 7] = 600.0
        move(one, z)
    assert (made.book[0, 7] == z).all(1).any() or torch.isclose(made.book[0, 7], z).all(1).any()
    assert float(made.counts[0, 7]) == pytest.approx(0.1 * float(left.counts[0].mean()))
    assert torch.equal(made.book[0, :7], left.book[0, :7]) and left.book[0, 7].tolist() == [100] * 3


def test_one_that_was_left_dead_stays_where_it_is() -> None:
    made = books(torch.tensor([[0.0], [50.0]]), revive=0.0, decay=0.1)
    for number in range(60):
        move(made, random(20, 1), number)
    assert float(made.counts[0, 1]) < 1e-20 and float(made.book[0, 1]) == pytest.approx(50, rel=1e-4)


def test_the_rotation_takes_gradients_back() -> None:
    """The matrix is made here by Gram-Schmidt and the angle between the two, another way than there."""
    z, to, g = (random(40, 6, seed=n).double() for n in range(3))
    z.requires_grad_()
    found = rotated(z, to)
    assert torch.equal(found, to)
    (by,) = torch.autograd.grad((found * g).sum(), z)
    for row in range(40):
        a, b = z[row].detach() / z[row].detach().norm(), to[row] / to[row].norm()
        cos = float(a @ b)
        side = (b - cos * a) / math.sqrt(1 - cos**2)
        plane = torch.stack([a, side])
        turn = torch.tensor([[cos, -math.sqrt(1 - cos**2)], [math.sqrt(1 - cos**2), cos]]).double()
        matrix = torch.eye(6).double() - plane.T @ plane + plane.T @ turn @ plane
        scale = to[row].norm() / z[row].detach().norm()
        assert torch.allclose(by[row], scale * matrix.T @ g[row], atol=1e-9)


def test_what_has_no_rotation_goes_straight_through() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    found = rotated(z, torch.tensor([[2.0, 1.0], [-3.0, 0.0]]))
    (by,) = torch.autograd.grad(found.sum(), z)
    assert found.tolist() == [[2, 1], [-3, 0]] and by.tolist() == [[1, 1], [1, 1]]


def test_straight_through() -> None:
    z = random(30, 4).requires_grad_()
    found = books(random(8, 4, seed=1), gradient="straight-through", commitment=0.0).eval()(z)
    (by,) = torch.autograd.grad((found.vectors * random(30, 4, seed=2)).sum(), z)
    assert torch.equal(by, random(30, 4, seed=2))


def test_each_book_has_what_is_left() -> None:
    z = random(500, 4)
    made = Codebook(size=16, depth=3).build(4)
    made.begin(z, Draw(0))
    for number in range(30):
        move(made, z, number)
    found = made.eval()(z)
    assert found.tokens.shape == (500, 3)
    assert torch.allclose(made.vectors(found.tokens), found.vectors, atol=1e-6)
    errors = []
    for depth in range(1, 4):
        near = torch.stack([made.book[level][found.tokens[:, level]] for level in range(depth)]).sum(0)
        errors.append(float((z - near).square().mean()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
    assert float(found.penalty) == pytest.approx(0.25 * sum(errors) / 3, rel=1e-4)


def test_products_in_parts_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made, z = books(random(30, 5)).eval(), random(100, 5, seed=1)
    whole = made(z).tokens
    monkeypatch.setattr("ganvas.parts.quantisers.HELD", 100)
    assert torch.equal(made(z).tokens, whole)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_every_token_of_finite_scalars_can_be_reached(levels: list[int]) -> None:
    made = FiniteScalar(levels=tuple(levels)).build(len(levels))
    tokens = torch.arange(made.size)[:, None]
    vectors = made.vectors(tokens)
    assert len({tuple(row) for row in vectors.tolist()}) == made.size == math.prod(levels)
    assert vectors.abs().max() <= 1
    # the middle of each level, by the inverse of what bounds it
    half, reach = made.levels // 2, (made.levels - 1) * 1.001 / 2
    offset = torch.where(made.levels % 2 == 1, 0.0, 0.5)
    z = torch.atanh((vectors * half + offset) / reach) - torch.atanh(offset / reach)
    found = made(z)
    assert torch.equal(found.tokens, tokens) and torch.allclose(found.vectors, vectors)
    assert torch.equal(made(1e4 * random(50, len(levels))).tokens // made.size, torch.zeros(50, 1, dtype=torch.int64))


def test_finite_scalars_by_hand() -> None:
    """Of 3 levels those of tanh within a half of -1, 0 and 1; of 4 levels zero is one, and so are -1, -1/2 and 1/2."""
    made = FiniteScalar(levels=(3, 4)).build(2)
    z = torch.tensor([[0.0, 0.0], [2.0, 9.0], [-2.0, -9.0], [0.4, 0.0]], requires_grad=True)
    found = made(z)
    assert found.vectors.tolist() == [[0, 0], [1, 0.5], [-1, -1], [0, 0]]
    assert found.tokens[:, 0].tolist() == [1 + 3 * 2, 2 + 3 * 3, 0, 1 + 3 * 2]
    assert float(found.penalty) == 0
    (by,) = torch.autograd.grad(found.vectors[:, 0].sum(), z)
    assert by[:, 0].tolist() == pytest.approx((1.001 * (1 - z[:, 0].detach().tanh() ** 2)).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(Codebook, {"size": 1}), "size"),
        (lambda: build(Codebook, {"revive": 1.0}), "revive"),
        (lambda: build(FiniteScalar, {"levels": []}), "levels are"),
        (lambda: build(FiniteScalar, {"levels": [1024, 1024, 2]}), "levels are"),
        (lambda: FiniteScalar(levels=(4, 4)).build(3), "--latent-channels 2"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_known_by_name() -> None:
    assert QUANTISERS.parse({"kind": "finite-scalar", "levels": [5, 5]}) == FiniteScalar(levels=(5, 5))
