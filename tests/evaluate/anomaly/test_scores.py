"""One conformance test walks every score on every family; then each formula by another calculation."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import settings_of
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ganvas.data import Split
from ganvas.evaluate import score
from ganvas.evaluate.anomaly.anomalies import heat, strange_classes
from ganvas.evaluate.anomaly.scores import FITTED, RIDGE, SCORES, Codes, Rows, png_bits, score_of
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, Shared
from ganvas.models import MODELS
from ganvas.models.base import FAMILIES, Model
from ganvas.parts.nets.mlp import MLP

SHAPE = (1, 8, 8)
SMALL = MLP(hidden=(16,))


def make(kind: str, shape: tuple[int, ...] = SHAPE, **fields: Any) -> Model:
    torch.manual_seed(0)
    if kind not in ("gan", "gan-encoder", "semisupervised-gan", "denoiser"):
        fields = {"net": SMALL, **fields}
    config = settings_of(kind, latent_dim=3, **fields)
    return FAMILIES[type(config)](config, shape).eval()


def images(n: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return Draw(seed).uniform("images", (n, *shape))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.models.descent.TRIED", 20)
    monkeypatch.setattr("ganvas.models.inversion.invert.__wrapped__.__defaults__", (6, 0))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("kind", MODELS)
def test_conformance(kind: str, name: str) -> None:
    """A score is finite, of each image alone, the same again; or is refused with those that there are."""
    model, x = make(kind), images(9)
    if not SCORES[name].answered(model):
        with pytest.raises(UserError, match=f"no score '{name}'; it has .*reconstruction"):
            score_of(model, name)
        return
    normal, train = images(30, 1), images(60, 2)
    found = score(model, x, normal, train=train, by=name)
    again = score(model, x, normal, train=train, by=name)
    assert np.array_equal(found.scores, again.scores) and np.isfinite(found.scores).all()
    assert found.by == name and len(found) == 9 and len(found.calibration) == 30
    alone = np.concatenate([score(model, x[i : i + 1], normal, train=train, by=name).scores for i in (3, 0)])
    mixed = score(model, x.flip(0), normal, train=train, by=name).scores[::-1]
    scale = {"rtol": 1e-4, "atol": 1e-4 * np.abs(found.scores).max()}
    np.testing.assert_allclose(alone, found.scores[[3, 0]], **scale)
    np.testing.assert_allclose(mixed, found.scores, **scale)


@pytest.mark.parametrize("kind", MODELS)
def test_score_samples_is_higher_of_what_is_more_normal(kind: str) -> None:
    model, x = make(kind), images(7)
    found = model.score_samples(x)
    elbo = hasattr(type(model), "elbo")
    expected = -score(model, x, images(20), train=images(20), by="elbo" if elbo else "reconstruction").scores
    np.testing.assert_allclose(found.double(), expected, rtol=1e-5)
    if hasattr(model, "reconstruct") and not elbo:
        error = (model.reconstruct(x) - x).square().flatten(1).mean(1)
        torch.testing.assert_close(found, -error)


def test_the_first_that_a_model_answers_is_its_default() -> None:
    kinds = {kind: type(score_of(make(kind))).__name__ for kind in ("vae", "autoencoder", "gan", "denoiser")}
    assert kinds == {
        "vae": "Relative",
        "autoencoder": "Relative",
        "gan": "Reconstruction",
        "denoiser": "Reconstruction",
    }


def test_shared_draws_are_the_same_for_each_row() -> None:
    draw = Shared(3, 1)
    rows = draw.normal("z", (5, 2, 3))
    assert torch.equal(rows, rows[:1].expand(5, 2, 3)) and torch.equal(rows[0], Draw(3, 1).normal("z", (1, 2, 3))[0])
    assert torch.equal(draw.above().uniform("u", (4, 2)), Draw(3, 1).above().uniform("u", (1, 2)).expand(4, 2))
    same = draw.binary("b", torch.full((4, 9), 0.5))
    assert torch.equal(same, same[:1].expand(4, 9)) and torch.equal(draw.order("o", 6), Draw(3, 1).order("o", 6))


def test_relative_is_a_residual() -> None:
    model, normal, x = make("autoencoder"), images(40, 1), images(5, 2)
    normal *= (torch.arange(8) < torch.linspace(0, 2, 40).round()[:, None])[:, None, None]  # plain ones among them
    x[0] = 0
    (size, error), (at, found) = (
        (np.log(png_bits(part).numpy()), np.log(-model.score_samples(part).double().numpy())) for part in (normal, x)
    )
    line = np.polynomial.Polynomial.fit(size, error, 1)
    assert at.max() > size.max()
    expected = found - line(np.minimum(at, size.max()))
    np.testing.assert_allclose(score(model, x, normal, train=normal, by="relative").scores, expected, rtol=1e-5)


def test_worst_is_of_the_largest_errors() -> None:
    model, x = make("autoencoder"), images(5)
    errors = np.sort((x - model.reconstruct(x)).flatten(1).square().numpy(), 1)
    for share, n in ((0.0, 1), (0.1, 6), (0.99, 63)):
        found = score(model, x, images(30, 1), by={"kind": "worst", "share": share})
        np.testing.assert_allclose(found.scores, errors[:, -n:].mean(1), rtol=1e-5)
    table = make("vae", (6,), likelihood={"kind": "gaussian"})
    table.units.measure(np.random.default_rng(0).normal(0, [1, 1e3, 1, 1, 1, 1], (50, 6)))
    row = torch.zeros(1, 6)
    squares = ((table.units(row) - table.units(table.reconstruct(row))) ** 2).max()
    assert score(table, row, torch.zeros(30, 6), by="worst").scores == pytest.approx([float(squares)], rel=1e-4)


@pytest.mark.parametrize("shape", [SHAPE, (3, 32, 64)])
def test_neighbours_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    model, normal, x = make("autoencoder", shape), images(40, 1, shape), images(5, 2, shape)
    width = shape[-1]
    normal *= (torch.arange(width) < torch.linspace(1, width, 40).round()[:, None])[:, None, None]  # of many sizes
    x[0] = normal[7]
    small = [part.unflatten(3, (-1, shape[2] // shape[1])).mean(4) for part in (normal, x)]
    known, asked = (part.flatten(1).double().numpy() for part in small)
    own = NearestNeighbors(n_neighbors=2).fit(known).kneighbors(known)[0][:, 1]
    found = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(asked)[0][:, 0]
    size, at = (np.log(png_bits(part).numpy()) for part in (normal, x))
    line = np.polynomial.Polynomial.fit(size, np.log(own**2), 1)
    scores = score(model, x, normal, train=normal, by="neighbours").scores
    np.testing.assert_allclose(scores[1:], np.log(found[1:] ** 2) - line(np.minimum(at[1:], size.max())), rtol=1e-4)
    assert scores[0] < scores[1:].min(), "an image that is one of them"


def test_few_and_equal_normal_images() -> None:
    model, same = make("autoencoder"), images(1, 3).expand(25, *SHAPE)
    for name in ("relative", "codes", "neighbours"):
        assert np.isfinite(score(model, images(4), same, train=same, by=name).scores).all()
    with pytest.raises(UserError, match="at least 2"):
        score(model, images(3), images(30, 1), train=images(1), by="codes")
    with pytest.raises(UserError, match="1 normal images to find neighbours among: it takes at least 2"):
        score(model, images(3), images(30, 1), train=images(1), by="neighbours")


def test_typicality_and_complexity_are_of_the_elbo() -> None:
    model, x, train = make("vae"), images(6), images(30, 1)
    elbo, typical, complexity = (
        score(model, x, images(25, 2), train=train, by=by).scores for by in ("elbo", "typicality", "complexity")
    )
    mean = model.score_samples(train).double().mean()
    np.testing.assert_allclose(typical, abs(-elbo - float(mean)), rtol=1e-4, atol=1e-4)
    bits = png_bits(model.observed(x, Shared(0, 0)))
    np.testing.assert_allclose(complexity, elbo / math.log(2) - bits.numpy(), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4, 2])
def test_png_bits(channels: int) -> None:
    x = images(2, shape=(channels, 5, 7))
    levels = (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
    sizes = []
    for picture in levels:
        parts = [picture[..., i] for i in range(2)] if channels == 2 else [picture.squeeze()]
        files = [io.BytesIO() for _ in parts]
        for part, file in zip(parts, files, strict=True):
            Image.fromarray(part).save(file, "PNG", optimize=True)
        sizes.append(8 * sum(len(file.getvalue()) for file in files))
    assert png_bits(x).tolist() == sizes
    plain = png_bits(torch.zeros(1, 1, 32, 32))
    assert plain < png_bits((images(1, shape=(1, 32, 32)) > 0.5).float()) < png_bits(images(1, shape=(1, 32, 32)))


def test_codes_far_from_normal_ones_are_strange() -> None:
    """One normal: the score is half the squared Mahalanobis distance, and a constant."""
    model, train, x = make("autoencoder"), images(60, 1), images(8, 2)
    found = score(model, x, images(25), train=train, by=Codes(components=1)).scores
    z, at = (model.encode(part).double().numpy() for part in (train, x))
    cov = np.cov(z.T, bias=True)
    values, axes = np.linalg.eigh(cov)
    white = (z - z.mean(0)) @ axes / np.sqrt(values + RIDGE * values.mean())
    distance = (((at - z.mean(0)) @ axes / np.sqrt(values + RIDGE * values.mean())) ** 2 / white.var(0)).sum(1) / 2
    np.testing.assert_allclose(found - found.mean(), distance - distance.mean(), rtol=1e-3, atol=1e-3)


def test_settings_of_a_score_are_taken() -> None:
    model = make("autoencoder")
    wide, narrow = (score(model, images(4), images(130, 1), by=Codes(components=w)).scores for w in (1, 3))
    assert not np.allclose(wide, narrow)


def test_normal_images_are_halved_where_there_are_no_others() -> None:
    model, normal = make("autoencoder"), images(50, 1)
    found = score(model, images(4), normal, by="relative")
    apart = score(model, images(4), normal[0::2], train=normal[1::2], by="relative")
    assert np.array_equal(found.calibration, apart.calibration) and len(found.calibration) == 25
    assert len(score(model, images(4), normal, by="reconstruction").calibration) == 50


def test_the_result() -> None:
    model, x, normal = make("autoencoder"), images(40), images(99, 1)
    found = score(model, x, normal, by="reconstruction", false_alarms=0.1)
    assert found.threshold == np.sort(found.calibration)[-10]
    assert np.array_equal(found.alarms, found.scores > found.threshold)
    assert found.expected == pytest.approx(4.0)
    assert list(found.scores[found.order]) == sorted(found.scores, reverse=True)
    torch.testing.assert_close(found.strangest[0], x[found.order[0]])
    torch.testing.assert_close(found.imitations, model.reconstruct(found.strangest))
    assert repr(found).startswith("<Scored 40 images by reconstruction: ") and len(repr(found)) < 120
    assert found._repr_html_().count("<img") == 1


def test_splits_and_rows_of_numbers() -> None:
    levels = (images(30).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    model = make("autoencoder")
    both = [Split(levels[:12], None), Split(levels[12:], None)]
    x = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    found, expected = (score(model, of, images(30, 1), by="reconstruction").scores for of in (both, x))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rows = Rows.of(model, both)
    torch.testing.assert_close(rows[np.array([20, 3, 13])], x[[20, 3, 13]])
    assert rows.known("names") is None
    points = make("autoencoder", (4,))
    assert len(score(points, images(9, shape=(4,)), images(40, shape=(4,)))) == 9


def test_what_can_t_be_scored_is_refused() -> None:
    model, normal = make("autoencoder"), images(30)
    wrong = Split(np.zeros((3, 9, 9, 1), np.uint8), None)
    for given, says in ((images(3, shape=(1, 9, 9)), "this model takes"), (wrong, "this model takes")):
        with pytest.raises(UserError, match=says):
            score(model, given, normal)
    with pytest.raises(UserError, match="NaN"):
        score(model, torch.full((2, *SHAPE), math.nan), normal)
    with pytest.raises(UserError, match="NaN"):
        score(make("autoencoder", (2,)), [[0.0, math.nan]], images(30, shape=(2,)))
    with pytest.raises(UserError, match="there are no images"):
        score(model, torch.empty(0, *SHAPE), normal)
    with pytest.raises(UserError, match="it takes 99"):
        score(model, images(3), normal, false_alarms=0.01, by="reconstruction")
    with pytest.raises(UserError, match="unknown score"):
        score(model, images(3), normal, by="foo")
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(math.nan)
    with pytest.raises(UserError, match="the model gives no numbers"):
        score(model, images(3), normal, by="reconstruction")


def test_no_more_normal_images_than_needed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluate.anomaly.anomalies.CALIBRATED", 50)
    rows = Rows.of(make("autoencoder"), images(120))
    assert len(score(make("autoencoder"), images(2), rows, by="reconstruction").calibration) == 50
    assert FITTED >= 1000 and len(rows.spread(7)) == 7


def test_classes_that_are_strange() -> None:
    mvtec = ("bent", "good", "scratch")
    assert strange_classes(mvtec) == ("bent", "scratch")
    assert strange_classes(mvtec, strange=("bent",)) == ("bent",)
    assert strange_classes(mvtec, normal=("bent", "good")) == ("scratch",)
    assert strange_classes(("a", "b")) == () == strange_classes(())
    for how, says in (
        ({"normal": ("a",), "strange": ("b",)}, "not both"),
        ({"normal": ("c",)}, "unknown class"),
        ({"normal": ("a", "b")}, "would be normal"),
        ({"strange": ("a", "b")}, "would be strange"),
    ):
        with pytest.raises(UserError, match=says):
            strange_classes(("a", "b"), **how)  # type: ignore[arg-type]


def test_heat() -> None:
    x = torch.zeros(2, 1, 1, 4)
    x[0, 0, 0] = torch.tensor([0, 0.25, 0.5, 0.75])
    expected = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]])[:, None].float()
    torch.testing.assert_close(heat(x, torch.zeros_like(x))[0], expected)
    assert not heat(x, x).any()
