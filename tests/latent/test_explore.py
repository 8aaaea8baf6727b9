import math
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from helpers import settings_of
from hypothesis import given, settings
from scipy import stats
from scipy.spatial.distance import cdist

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.latent import explore
from ganvas.models import MODELS
from ganvas.models.base import FAMILIES
from ganvas.parts.priors import Normal, Uniform

SAMPLING = [name for name, config in MODELS.items() if hasattr(FAMILIES[config], "sample")]


class Plain:
    """No ganvas model: an image is its code, as one row of pixels, and its code is the image."""

    def __init__(self, d: int, **attributes: object) -> None:
        self.latent_dim, self.shape = d, (1, 1, d)
        vars(self).update(attributes)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        assert codes.dtype == torch.float32 and codes.dim() == 2
        return codes[:, None, None]


class Encoding(Plain):
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return 8 * images.reshape(-1, self.latent_dim)


def codes(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return Draw(seed).normal("codes", (n, d))


# Points


@pytest.mark.parametrize("name", SAMPLING)
def test_the_codes_of_samples(name: str) -> None:
    model = FAMILIES[MODELS[name]](settings_of(name, latent_dim=3), (1, 4, 4))
    z = explore.sample_codes(model, 5, seed=7)
    assert torch.equal(model.decode(z), model.sample(5, 7))
    assert torch.equal(explore.sample_codes(model, 9, seed=7)[:5], z), "a number names the same sample among more"


def test_a_model_without_a_prior_has_no_samples() -> None:
    model = FAMILIES[MODELS["autoencoder"]](MODELS["autoencoder"](latent_dim=2), (1, 4, 4))
    for ask in (lambda: explore.sample_codes(model, 2), lambda: explore.manifold(model)):
        with pytest.raises(UserError, match="no P\\(z\\)"):
            ask()


def test_points_are_codes_or_images() -> None:
    model, z = Encoding(3), codes(4, 3)
    assert torch.equal(explore.as_codes(model, z), z)
    assert torch.equal(explore.as_codes(model, z[0]), z[:1])
    frozen = z.double().numpy()
    frozen.flags.writeable = False
    assert torch.equal(explore.as_codes(model, frozen), z)
    assert torch.equal(explore.as_codes(model, list(z)), z)
    assert torch.equal(explore.as_codes(model, z[:, None, None]), 8 * z)
    assert torch.equal(explore.as_codes(model, z[0][None, None]), 8 * z[:1])


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (torch.zeros(4, 2), r"shape \(4, 2\): this model takes codes \(N, 3\) or images \(N, 1, 1, 3\)"),
        (torch.zeros(1, 2, 3, 3), r"shape \(1, 2, 3, 3\)"),
        (torch.zeros(2, 2, 1, 1, 3), r"shape \(2, 2, 1, 1, 3\)"),
        (torch.zeros(2, 1, 1, 3), r"can't encode images: give codes \(N, 3\)"),
        (torch.zeros(0, 3), "no points"),
        (torch.tensor([0.0, 1, math.nan]), "NaN"),
        (torch.tensor([0.0, 1, math.inf]), "infinite"),
    ],
)
def test_points_that_are_neither(points: torch.Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        explore.as_codes(Plain(3), points)


# Manifold


@pytest.mark.parametrize(
    ("model", "icdf"),
    [
        (Plain(2), stats.norm.ppf),
        (Plain(2, prior=Normal()), stats.norm.ppf),
        (Plain(2, prior=Uniform(bound=3.0)), stats.uniform(-3, 6).ppf),
    ],
)
def test_manifold(model: Plain, icdf) -> None:
    """z_1 grows to the right and z_2 upwards, each at the middles of five equal shares."""
    z = explore.manifold(model, 5).reshape(5, 5, 2)
    for row in range(5):
        for column in range(5):
            expected = icdf([0.1 + 0.2 * column, 0.9 - 0.2 * row])
            np.testing.assert_allclose(z[row, column], expected, atol=1e-6)


def test_manifold_through_three_points() -> None:
    a, b, c = points = codes(3, 20)
    z = explore.manifold(Plain(20), 4, points).reshape(4, 4, 20)
    for corner, point in ((z[0, 0], a), (z[0, 3], b), (z[3, 0], c), (z[3, 3], b + c - a)):
        torch.testing.assert_close(corner, point)
    torch.testing.assert_close(z[1, 2], a + 2 / 3 * (b - a) + 1 / 3 * (c - a))
    assert np.linalg.matrix_rank(z.reshape(16, 20) - a, tol=1e-4) == 2
    images = explore.manifold(Encoding(20), 4, points[:, None, None] / 8)
    torch.testing.assert_close(images.reshape(4, 4, 20), z)


@pytest.mark.parametrize(
    ("d", "n", "points", "says"),
    [
        (3, 5, None, "3 latent dimensions: only with 2"),
        (1, 5, None, "1 latent dimensions"),
        (2, 0, None, "n: 0 is refused"),
        (3, 5, torch.zeros(2, 3), "2 points: a plane goes through three"),
        (3, 5, torch.zeros(4, 3), "4 points"),
    ],
)
def test_manifolds_that_are_none(d: int, n: int, points: torch.Tensor | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        explore.manifold(Plain(d), n, points)


# Interpolation

VECTOR = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3)
PAIRS = st.lists(st.tuples(VECTOR, VECTOR), min_size=1, max_size=4)


@pytest.mark.parametrize("kind", sorted(explore.PATHS))
@given(pairs=PAIRS, steps=st.integers(2, 9))
@settings(deadline=None, max_examples=100)
def test_ways_go_from_end_to_end_and_back_the_same(kind: str, pairs: list, steps: int) -> None:
    a, b = torch.tensor(pairs).unbind(1)
    way = explore.path(a, b, steps, kind)
    assert way.shape == (len(pairs), steps, 3) and way.dtype == torch.float32 and torch.isfinite(way).all()
    torch.testing.assert_close(way[:, 0], a, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(way[:, -1], b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(explore.path(b, a, steps, kind).flip(1), way, rtol=1e-4, atol=1e-4)


def test_linear_ways_have_even_steps() -> None:
    a, b = codes(2, 4), codes(2, 4, 1)
    expected = np.stack([np.linspace(x, y, 6) for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    np.testing.assert_allclose(explore.path(a, b, 6), expected, atol=1e-6)


def test_spherical_ways_are_arcs_with_even_angles() -> None:
    """Between vectors of one length: that length all the way, and the angle grows by equal steps."""
    a, b = (5 * torch.nn.functional.normalize(codes(50, 100, seed)).double().numpy() for seed in (0, 1))
    way = explore.path(torch.from_numpy(a), torch.from_numpy(b), 7, "spherical").double().numpy()
    np.testing.assert_allclose(np.linalg.norm(way, axis=2), 5, rtol=1e-6)
    whole = np.arccos((a * b).sum(1) / 25)
    turned = np.arccos((way[:, 1:] * way[:, :-1]).sum(2) / 25)
    np.testing.assert_allclose(turned, np.repeat(whole[:, None] / 6, 6, 1), atol=1e-5)


def test_spherical_between_lengths_that_differ() -> None:
    """By hand: from (2, 0) to (0, 6), half way is sin 45 / sin 90 of each."""
    way = explore.path(torch.tensor([[2.0, 0]]), torch.tensor([[0.0, 6]]), 3, "spherical")
    torch.testing.assert_close(way[0, 1], torch.tensor([2.0, 6]) * math.sqrt(0.5))


@pytest.mark.parametrize("factor", [1.0, 3.0, 1 + 1e-12, -1.0, -2.0])
def test_spherical_is_linear_where_there_is_no_arc(factor: float) -> None:
    a = codes(3, 8)
    way = explore.path(a, factor * a, 5, "spherical")
    torch.testing.assert_close(way, explore.path(a, factor * a, 5))


def test_a_nearly_parallel_way_is_continuous() -> None:
    """On both sides of the limit the two ways agree."""
    a, off = torch.tensor([[1.0, 0]], dtype=torch.float64), torch.tensor([[0, 1.0]], dtype=torch.float64)
    for small in (1e-7, 0.9e-6, 1.1e-6, 1e-5):
        b = 2 * (a + small * off)
        torch.testing.assert_close(explore.path(a, b, 5, "spherical"), explore.path(a, b, 5), rtol=0, atol=1e-6)


def test_interpolate_between_codes_or_images() -> None:
    model, a, b = Encoding(4), codes(3, 4), codes(3, 4, 1)
    for kind in explore.PATHS:
        images = explore.interpolate(model, a, b, 5, kind)
        assert images.shape == (3, 5, 1, 1, 4)
        assert torch.equal(images.flatten(2), explore.path(a, b, 5, kind))
        assert torch.equal(explore.interpolate(model, a[:, None, None] / 8, b, 5, kind), images)
    assert explore.interpolate(model, a[0], b[0]).shape == (1, 10, 1, 1, 4)


def test_ways_that_are_none() -> None:
    a = codes(3, 4)
    with pytest.raises(UserError, match=r"unknown kind of interpolation 'spheric'\. Did you mean 'spherical'"):
        explore.path(a, a, 5, "spheric")
    with pytest.raises(UserError, match="steps: 1 is refused: it takes a whole number of at least 2"):
        explore.path(a, a, 1)
    with pytest.raises(UserError, match="3 points to start from, 2 to go to"):
        explore.interpolate(Plain(4), a, a[:2])


# Arithmetic and directions


def test_arithmetic() -> None:
    a, b, c = codes(3, 50), codes(2, 50, 1), codes(1, 50, 2)
    nine = explore.arithmetic(Plain(50), a, b, c, noise=0.5, seed=3).reshape(9, 50).double().numpy()
    z = (np.mean(a.numpy(), 0) - np.mean(b.numpy(), 0) + c.numpy()[0]).astype(float)
    np.testing.assert_allclose(nine[4], z, atol=1e-6)
    off = np.abs(nine - z).max(1)
    assert (np.delete(off, 4) > 0.25).all() and off.max() <= 0.5 + 1e-6
    assert np.array_equal(nine, explore.arithmetic(Plain(50), a, b, c, noise=0.5, seed=3).reshape(9, 50))
    assert not np.array_equal(nine[0], explore.arithmetic(Plain(50), a, b, c, noise=0.5, seed=4).reshape(9, 50)[0])
    still = explore.arithmetic(Plain(50), a, b, c, noise=0).reshape(9, 50)
    assert torch.equal(still, still[:1].expand(9, 50))


def test_the_noise_is_uniform() -> None:
    """Kolmogorov-Smirnov over 40,000 numbers, false alarm 1e-6; the eight are uncorrelated, false alarm 1e-5."""
    zero = torch.zeros(1, 5000)
    nine = explore.arithmetic(Plain(5000), zero, zero, zero).reshape(9, 5000).numpy()
    eight = np.delete(nine, 4, 0)
    assert stats.kstest(eight.ravel(), stats.uniform(-0.25, 0.5).cdf).pvalue > 1e-6
    assert np.abs(np.corrcoef(eight) - np.eye(8)).max() < 5.5 / math.sqrt(5000)


def test_arithmetic_takes_images() -> None:
    model, images = Encoding(4), Draw(0).uniform("x", (3, 1, 1, 4))
    nine = explore.arithmetic(model, images, images[:1], images[:2], noise=0)
    expected = 8 * (images.mean(0) - images[0] + images[:2].mean(0))
    torch.testing.assert_close(nine[4], expected)


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf])
def test_noise_that_is_none(noise: float) -> None:
    with pytest.raises(UserError, match=r"noise: .* is refused: it takes a number of at least 0"):
        explore.arithmetic(Plain(4), *[codes(1, 4)] * 3, noise=noise)


def test_pixel_arithmetic() -> None:
    groups = [[1.0, 0, 0.5], [0.5, 0, 0.5]], [[0, 1.0, 0.25]], [[0.5, 0.5, 0.5]]
    a, b, c = (torch.tensor(group)[:, None, None] for group in groups)
    torch.testing.assert_close(explore.pixel_arithmetic(a, b, c), torch.tensor([[[1.0, 0.0, 0.75]]]))


def test_direction() -> None:
    z, labels = codes(20, 5), np.arange(20) % 3
    expected = z.numpy()[labels == 2].mean(0) - z.numpy()[labels == 1].mean(0)
    np.testing.assert_allclose(explore.direction(z, labels, 1, 2), expected, atol=1e-6)
    torch.testing.assert_close(explore.direction(z, torch.from_numpy(labels), 2, 1), torch.from_numpy(-expected))


def test_a_direction_needs_both_ends() -> None:
    with pytest.raises(UserError, match="none of the 3 codes has the label 2"):
        explore.direction(codes(3, 2), [0, 1, 0], 0, 2)
    with pytest.raises(UserError, match=r"labels of shape \(2,\) for codes of shape \(3, 2\)"):
        explore.direction(codes(3, 2), [0, 1], 0, 1)


def test_a_direction_that_leaves_other_attributes_as_they_are() -> None:
    """Two attributes that go together, in codes that are stretched and mixed: a linear reading of the other one, by
    least squares, is the same all along the way, and the way is that of the first one."""
    rng = np.random.default_rng(0)
    clean, mixed = rng.normal(size=(20_000, 5)), rng.normal(size=(5, 5))
    first, other = clean[:, 0] > 0, np.digitize(clean[:, 0] + clean[:, 1], (-0.5, 0.5))
    z = torch.from_numpy(clean @ mixed).float()
    plain = explore.direction(z, first.astype(int), 0, 1).numpy()
    kept = explore.direction(z, first.astype(int), 0, 1, other[:, None]).numpy()
    reading = np.linalg.lstsq(z.numpy() - z.numpy().mean(0), np.eye(3)[other] - np.eye(3)[other].mean(0), rcond=None)[0]
    assert np.abs(kept @ reading).max() < 2e-3 < 0.05 < np.abs(plain @ reading).max()
    expected = np.array([1.0, -1, 0, 0, 0]) @ mixed  # what moves the first and not the sum of both
    cosine = kept @ expected / np.linalg.norm(kept) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=0.01)
    some = np.where(np.arange(len(z)) % 2, other, -1)
    half = explore.direction(z, first.astype(int), 0, 1, some[:, None]).numpy()
    assert half @ kept / np.linalg.norm(half) / np.linalg.norm(kept) > 0.99, "of those that are known"


def test_a_direction_of_which_nothing_is_left() -> None:
    labels = np.arange(40) % 2
    z = codes(40, 3) + 5 * torch.from_numpy(labels)[:, None]
    with pytest.raises(UserError, match="the attributes to keep leave no direction"):
        explore.direction(z, labels, 0, 1, labels[:, None])
    with pytest.raises(UserError, match=r"labels of shape \(40,\) for 40 codes: it takes a row for each"):
        explore.direction(z, labels, 0, 1, labels)


def test_turn() -> None:
    """From half the difference below to half of it above, the sample itself in the middle."""
    z, along = codes(3, 6), codes(1, 6, 1)[0]
    images = explore.turn(Plain(6), z, along, steps=5).reshape(3, 5, 6)
    for step, t in enumerate((-1, -0.5, 0, 0.5, 1)):
        torch.testing.assert_close(images[:, step], z + t * along / 2)


# Neighbours


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 5, 3), np.uint8)


def split(images: np.ndarray) -> Split:
    return Split(images, None)


@pytest.mark.parametrize("block", [2**24, 700, 1], ids=["one part", "parts", "single images"])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_neighbours_are_those_of_scipy(k: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "BLOCK", block)
    np.save(tmp_path / "train.npy", rows(40))
    train, images = np.load(tmp_path / "train.npy", mmap_mode="r"), to_tensor(rows(7, 1))
    distances, places = explore.neighbours(images, split(train), k)
    assert distances.dtype == torch.float32 and places.dtype == torch.int64
    flat = images.permute(0, 2, 3, 1).reshape(7, -1).double().numpy()
    table = cdist(flat, train.reshape(40, -1) / 255)
    order = np.argsort(table, 1)[:, :k]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(distances, np.take_along_axis(table, order, 1), rtol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_is_found_among_near_copies(seed: int) -> None:
    """Four differ from it by one level of one value of 3,072: less than a product of matrices in float32 can tell."""
    random = np.random.default_rng(seed)
    train = random.integers(0, 255, (30, 32, 32, 3), np.uint8)
    same, *near = random.choice(30, 5, replace=False)
    train[near] = train[same]
    train[near, *random.integers(0, 32, (2, 4)), 0] += 1
    distances, places = explore.neighbours(to_tensor(train[[same]]), split(train))
    assert places.item() == same and distances.item() == 0


def test_neighbours_in_features() -> None:
    train, images = rows(30), to_tensor(rows(5, 1))
    distances, places = explore.neighbours(images, split(train), 2, lambda x: x.mean((2, 3)).numpy())
    table = cdist(images.mean((2, 3)).numpy(), train.reshape(30, 20, 3).mean(1) / 255)
    order = np.argsort(table, 1)[:, :2]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(distances, np.take_along_axis(table, order, 1), atol=1e-5)


def test_only_a_part_of_the_split_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "BLOCK", 600)
    seen = []

    def watch(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x

    explore.neighbours(to_tensor(rows(3, 1)), split(rows(100)), 1, watch)
    assert max(seen) <= 10 and sum(seen) >= 100


def test_neighbours_of_points() -> None:
    train = np.array([[0, 0], [3, 4], [10, 0]], np.float32)
    distances, places = explore.neighbours(torch.tensor([[0.0, 1.0], [9.0, 0.0]]), split(train), 2)
    assert places.tolist() == [[0, 1], [2, 1]]
    np.testing.assert_allclose(distances, [[1, math.sqrt(18)], [1, math.sqrt(52)]], rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "k", "says"),
    [
        (torch.zeros(2, 3, 5, 4), 1, r"images of shape \(2, 3, 5, 4\), to compare with some of \(N, 3, 4, 5\)"),
        (torch.zeros(0, 3, 4, 5), 1, "at least one"),
        (torch.full((1, 3, 4, 5), math.nan), 1, "images: .* NaN or infinite values"),
        (torch.zeros(2, 3, 4, 5), 0, "k: 0 is refused"),
        (torch.zeros(2, 3, 4, 5), 11, "11 nearest of 10"),
    ],
)
def test_neighbours_that_are_none(images: torch.Tensor, k: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        explore.neighbours(images, split(rows(10)), k)


# Attributes

KNOWN = {"glasses": ("none", "round"), "hair style": ("bald", "bob", "bun")}


def faces(labels: np.ndarray | None, **names: tuple[str, ...] | None) -> Dataset:
    part = Split(np.zeros((6, 1, 3, 1), np.uint8), labels)
    facts = {"name": "faces", "source": "faces", "shape": (1, 1, 3), "fingerprint": "", "report": (), "preparation": ""}
    return Dataset(splits={"train": part}, **({"classes": None, "attributes": None} | names), **facts)


def test_attributes() -> None:
    columns = np.stack([np.arange(6) % 4, np.arange(6) % 3], 1)
    named = explore.attributes(faces(columns, attributes=("glasses", "height")))
    assert named == {"glasses": ("none", "round", "thick", "sunglasses"), "height": ("0", "1", "2")}
    assert explore.attributes(faces(np.arange(6) % 2, classes=("cat", "dog"))) == {"class": ("cat", "dog")}
    assert explore.attributes(faces(np.arange(6) % 3)) == {"class": ("0", "1", "2")}
    with pytest.raises(UserError, match="'faces' has no labels"):
        explore.attributes(faces(None))


def test_wanted() -> None:
    assert explore.wanted("hair style=bun", KNOWN) == {1: 2}
    assert explore.wanted(" hair style = bald , glasses=round", KNOWN) == {1: 0, 0: 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("glases=none", "unknown attribute 'glases'. Did you mean 'glasses'"),
        ("glasses=rund", "unknown value of glasses 'rund'. Did you mean 'round'"),
        ("glasses=none,round", "'round' names no value"),
        ("", "'' names no value"),
        ("glasses=none,glasses=round", "gives glasses twice"),
    ],
)
def test_wanted_that_is_unknown(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        explore.wanted(text, KNOWN)


@pytest.mark.parametrize(
    ("a", "b", "c", "result"),
    [
        ({0: 1, 1: 0}, {0: 0, 1: 0}, {0: 0, 1: 1}, {0: 1, 1: 1}),  # man with glasses - man + woman
        ({0: 1, 1: 2}, {0: 0, 1: 2}, {0: 0}, {0: 1}),
        ({0: 1}, {0: 0}, {1: 2}, {1: 2}),
        ({0: 1}, {0: 2}, {0: 3}, {}),
        ({0: 1}, {0: 1}, {0: 3}, {0: 3}),
        ({}, {}, {}, {}),
    ],
)
def test_analogy(a: dict[int, int], b: dict[int, int], c: dict[int, int], result: dict[int, int]) -> None:
    assert explore.analogy(a, b, c) == result


@given(
    labels=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=30),
    values=st.dictionaries(st.integers(0, 1), st.integers(0, 2)),
    seed=st.integers(0, 9),
)
@settings(deadline=None)
def test_examples_have_the_values(labels: list, values: dict[int, int], seed: int) -> None:
    examples = explore.Examples(np.array(labels), lambda rows: (rows, rows), "images")
    fits = [row for row, label in enumerate(labels) if all(label[column] == value for column, value in values.items())]
    assert sorted(examples.choose(values, len(fits), seed)) == fits
    assert len(set(examples.choose(values, len(fits) // 2, seed))) == len(fits) // 2
    with pytest.raises(UserError, match=f"{len(fits)} of {len(labels)} images .* {len(fits) + 1} are asked for"):
        examples.choose(values, len(fits) + 1)


def test_another_seed_draws_other_examples() -> None:
    examples = explore.Examples(np.zeros((100, 1), np.int64), lambda rows: (rows, rows), "images")
    drawn = [tuple(examples.choose({0: 0}, 5, seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_labelled() -> None:
    images = np.arange(18, dtype=np.uint8).reshape(6, 1, 3, 1)
    examples = explore.labelled(Encoding(3), Split(images, np.array([0, 1, 2, 0, 1, 2])))
    z, shown = examples.take(examples.choose({0: 2}, 2))
    assert sorted(shown.mul(255).round()[:, 0, 0].tolist()) == [[6, 7, 8], [15, 16, 17]]
    torch.testing.assert_close(z, 8 * shown.reshape(2, 3))
    with pytest.raises(UserError, match="no labels"):
        explore.labelled(Encoding(3), Split(images, None))


def test_judged() -> None:
    """What a classifier says of samples: here, whether each of two numbers is above 0."""
    model = Plain(2)
    examples = explore.judged(model, lambda images: (images.flatten(1) > 0).long(), n=1200, seed=5)
    assert examples.labels.shape == (1200, 2)
    z, shown = examples.take(examples.choose({0: 1, 1: 0}, 100))
    assert (z[:, 0] > 0).all() and (z[:, 1] <= 0).all() and torch.equal(shown, model.decode(z))
    everyone = {tuple(code) for code in explore.sample_codes(model, 1200, 5).tolist()}
    assert {tuple(code) for code in z.tolist()} <= everyone


def test_a_direction_found_from_examples_changes_what_it_should() -> None:
    """Of a model whose first number is the attribute, the direction is along the first number."""
    model = Plain(8)
    examples = explore.judged(model, lambda images: (images.flatten(1)[:, :1] > 0).long(), n=4000)
    chosen = [examples.choose({0: value}, 1000) for value in (0, 1)]
    z, _ = examples.take(np.concatenate(chosen))
    along = explore.direction(z, np.repeat([0, 1], 1000), 0, 1)
    # E[z | z > 0] = sqrt(2 / pi); the others' means have standard deviation sqrt(2 / 1000): false alarm 1e-6 at 5.2
    assert along[0].item() == pytest.approx(2 * math.sqrt(2 / math.pi), abs=5.2 * math.sqrt(2 / 1000))
    assert along[1:].abs().max() < 5.2 * math.sqrt(2 / 1000)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    return


def test_with_a_data_set_of_classes(cache: None) -> None:
    digits = load("digits")
    known = explore.attributes(digits)
    assert known == {"class": tuple("0123456789")}
    train = digits.splits["train"]
    rows = explore.labelled(Encoding(64), train).choose(explore.wanted("class=7", known), 20)
    assert (train.labels[rows] == 7).all()
    distances, places = explore.neighbours(to_tensor(train.images[:5]), train)
    assert (distances == 0).all()
    assert (train.images[places[:, 0].numpy()] == train.images[:5]).all()
