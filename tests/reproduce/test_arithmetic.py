from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.latent.explore import Examples, analogy
from ganvas.reproduce import arithmetic
from ganvas.reproduce.lab import Lab, Outcome, row

SIZES = (4, 4, 8, 5, 3)
DIM = 20


class TwoValued:
    """A prior of 1 and -1, a little blurred."""

    def sample(self, draw: Draw, shape: tuple[int, int], device: Any = "cpu") -> Tensor:
        z = draw.normal("prior", shape)
        return z.sign() + 0.1 * z


class Painter:
    """A generator that paints z: a pixel for each, x in the first channel and x^2 in the second.

    Mixed pixels show another second channel, so they are told from what it paints.
    """

    def __init__(self, paint: Callable[[Tensor], Tensor] = torch.sigmoid) -> None:
        self.latent_dim, self.prior = DIM, TwoValued()
        self.shape, self.paint = (3, 32, 32), paint

    def decode(self, z: Tensor) -> Tensor:
        x = torch.zeros(len(z), 32 * 32)
        x[:, :DIM] = self.paint(z)
        return torch.stack([x, x**2, 0 * x], 1).reshape(-1, 3, 32, 32)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        return self.decode(self.prior.sample(Draw(seed), (n, DIM)))


def linear(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Attribute i has its last value where the i-th pixel is bright, its first where it is dark."""
    bright = images[:, 0].flatten(1)[:, : len(SIZES)] > 0.5
    return bright * (torch.tensor(SIZES) - 1), torch.full(bright.shape, 0.99)


def tangled(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Each attribute is whether two pixels are alike: nothing is linear in z."""
    x = images[:, 0].flatten(1) > 0.5
    alike = torch.stack([x[:, i] == x[:, i + 5] for i in range(5)], 1)
    return alike * (torch.tensor(SIZES) - 1), torch.full(alike.shape, 0.99)


def painted(images: Tensor) -> float:
    x, square, _ = images.flatten(2).unbind(1)
    return float(((square - x**2).abs().amax(1) < 1e-5).float().mean())


def outcome(name: str, lab: Lab, patch: pytest.MonkeyPatch, model: Painter, judge: Any = linear) -> Outcome:
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    values = dict(zip(arithmetic.ATTRIBUTES, SIZES, strict=True))
    patch.setattr(arithmetic, "trained", lambda lab, seed: model)
    patch.setattr(arithmetic, "verdicts", judge)
    patch.setattr(arithmetic, "precision", painted)
    patch.setattr(arithmetic, "classifier", lambda seed: SimpleNamespace(values=values))
    patch.setattr(arithmetic, "faces", lambda: SimpleNamespace(splits={"test": SimpleNamespace(images=noise)}))
    return row(name).make(lab)


def means(found: Outcome) -> dict[str, float]:
    return {measure.name: measure.mean for measure in found.measures}


def test_walks_of_a_model_that_paints_all_z(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome("interpolation", lab, monkeypatch, Painter())
    assert found.holds and means(found)["precision of the ends' averaged pixels"] < 0.05
    # nine equal steps in z, through a sigmoid that is nearly straight there
    assert means(found)["linear way: largest of 9 steps over the distance of the ends"] == pytest.approx(1 / 9, rel=0.2)


def test_walks_of_a_model_that_jumps(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome("interpolation", lab, monkeypatch, Painter(lambda z: (z > 0).float()))
    assert not found.holds
    assert means(found)["linear way: largest of 9 steps over the distance of the ends"] > 0.9


def test_sums_of_attributes_that_are_linear_in_z(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome("arithmetic", lab, monkeypatch, Painter())
    numbers = means(found)
    assert found.holds and not found.reason
    assert numbers["z, 3 averaged: show P without Q"] > 0.98 and numbers["pixels, 3 averaged: precision"] == 0
    assert numbers["how far attributes are linear in z"] > 0.95


def test_sums_of_attributes_that_are_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome("arithmetic", lab, monkeypatch, Painter(), tangled)
    numbers = means(found)
    assert not found.holds and "linear in z" in found.reason
    # two attributes at random are both right in a quarter; 100 sums: within 5 standard errors
    assert abs(numbers["z, 10 averaged: show P without Q"] - 0.25) < 5 * (0.25 * 0.75 / 100) ** 0.5
    assert abs(numbers["how far attributes are linear in z"]) < 0.3


def test_a_model_without_the_attributes_is_told_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsure(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        values, certainty = linear(images)
        return values, 0 * certainty

    with pytest.raises(UserError, match="1 samples for each term: it has to be trained for longer"):
        outcome("arithmetic", lab, monkeypatch, Painter(), unsure)


def test_a_turn_of_what_is_linear_in_z(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome("turn", lab, monkeypatch, Painter())
    numbers = means(found)
    assert found.holds and numbers["turn: lean the other way"] > 0.98
    assert numbers["random direction: lean the other way"] < 0.1 and numbers["turn: other attributes that stay"] > 0.98


def test_a_turn_of_what_is_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not outcome("turn", lab, monkeypatch, Painter(), tangled).holds


def test_a_turn_that_takes_the_others_along(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_for_all(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        values, certainty = linear(images)
        return (values[:, -1:] > 0) * (torch.tensor(SIZES) - 1), certainty

    found = outcome("turn", lab, monkeypatch, Painter(), one_for_all)
    assert not found.holds and means(found)["turn: lean the other way"] > 0.98


@pytest.mark.parametrize("values", [2, 3, 4, 8])
def test_what_a_perfectly_linear_space_has(values: int) -> None:
    """Against truncated normals by SciPy; 40,000 draws, so within 5 deviations of 0.0025 of either."""
    edge = stats.norm.ppf(1 / values)
    part = stats.truncnorm(-np.inf, edge)
    for k in arithmetic.AVERAGED:
        a, b, c = (part.rvs((40_000, k), random_state=seed).mean(1) for seed in range(3))
        assert arithmetic.ceiling(values, k) == pytest.approx((a + b - c < edge).mean(), abs=0.0125)


@pytest.mark.parametrize("seed", range(3))
def test_sums_ask_for_one_attribute_and_the_lack_of_another(seed: int) -> None:
    asked = arithmetic.sums(SIZES, 200, seed)
    assert asked == arithmetic.sums(SIZES, 200, seed) and len({str(it) for it in asked}) > 40
    for a, b, c in asked:
        (p, q), goal = a, analogy(a, b, c)
        assert list(a) == list(b) == list(c) == list(goal) and p != q
        assert a[q] == b[q] != c[q] and a[p] != b[p] == c[p]
        assert goal == {p: a[p], q: c[q]}, "P from A, and no Q as in C"
        assert {a[i] for i in (p, q)} | {c[i] for i in (p, q)} <= {0, SIZES[p] - 1, SIZES[q] - 1}
    assert {tuple(a) for a, _, _ in asked} == {(p, q) for p in range(5) for q in range(5) if p != q}


def test_a_group_with_too_few_samples_has_no_terms() -> None:
    source = Examples(np.array([[0], [1], [1]]), lambda rows: (torch.zeros(len(rows), 2), torch.ones(len(rows), 1)), "")
    assert arithmetic.terms(source, ({0: 0}, {0: 1}, {0: 1}), 2, 0) is None
    found = arithmetic.terms(source, ({0: 1}, {0: 1}, {0: 1}), 2, 0)
    assert found and [len(codes) for codes, _ in found] == [2, 2, 2]


def test_shown_tells_the_two_parts_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[3, 0, 0, 0, 2], [3, 3, 0, 0, 2], [0, 0, 0, 0, 2]])
    monkeypatch.setattr(arithmetic, "verdicts", lambda images: (values, None))
    asked: arithmetic.Sum = ({0: 3, 1: 3}, {0: 0, 1: 3}, {0: 0, 1: 0})
    found = arithmetic.shown(torch.zeros(3, 3, 32, 32), [asked] * 3)
    assert found.tolist() == [[True, True], [True, False], [False, True]]


def test_linearity_of_what_z_says_and_of_what_it_does_not() -> None:
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(4000, 6)))
    said = (z[:, 0] > 0).long() + (z[:, 0] > 1).long()
    not_said = (z[:, 1] * z[:, 2] > 0).long()
    assert arithmetic.linearity(z, said[:, None]) > 0.9 and abs(arithmetic.linearity(z, not_said[:, None])) < 0.1
    half = said.clone()
    half[::2] = -1
    both = arithmetic.linearity(z, torch.stack([half, not_said], 1))
    assert both == pytest.approx(0.5, abs=0.07), "the mean of both, of those that are known"


def test_a_judge_that_errs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.evaluate.networks import classifier

    accuracy = dict.fromkeys(arithmetic.ATTRIBUTES, 0.99) | {"beard": 0.96}
    monkeypatch.setattr(arithmetic, "faces", lambda: None)
    monkeypatch.setattr(classifier, "train_classifier", lambda data, seed: SimpleNamespace(accuracy=accuracy))
    with pytest.raises(UserError, match=r"right too rarely to judge: \{'beard': 0.96\}"):
        arithmetic.classifier.__wrapped__(0)


def test_who_chooses_is_not_who_judges(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def verdicts(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        asked.append(seed)
        values, certainty = linear(images)
        certainty[:, 1] = 0.5
        return values, certainty

    monkeypatch.setattr(arithmetic, "verdicts", verdicts)
    source = arithmetic.examples(Lab(quick=False), Painter(), 0)
    assert set(asked) == {1} and (source.labels[:, 1] == -1).all() and (source.labels[:, 0] >= 0).all()
