import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import settings_of
from sklearn.decomposition import PCA
from torch.distributions import Normal as TorchNormal
from torch.distributions import kl_divergence

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.evaluate.networks import classifier
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.latent import atlas
from ganvas.models import MODELS
from ganvas.models.base import FAMILIES, Encoder, Latent, Model
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.priors import Mixture, Normal, Uniform

WITH_CODES = [name for name in MODELS if issubclass(FAMILIES[MODELS[name]], Latent)]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", progress=False)


def make(name: str, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0, **settings: Any) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = settings_of(name, **settings) if "latent_dim" in settings else MODELS[name](**settings)
        return FAMILIES[MODELS[name]](config, shape).eval()


class Corner(Encoder):
    """Its code is the first pixels of an image, from -1 to 1, and its images are constant."""

    def __init__(self, d: int, shape: tuple[int, ...] = (1, 4, 4)) -> None:
        super().__init__(SimpleNamespace(latent_dim=d), shape)
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def encoded(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * images.flatten(1)[:, : self.latent_dim] - 1

    def decoded(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[:, :1, None, None].sigmoid().expand(-1, *self.shape)


def dataset(
    labels: np.ndarray | None, shape: tuple[int, int, int] = (4, 4, 1), n: int = 200, attributes: Any = None
) -> Dataset:
    """Noise; the first pixel is the brighter the higher the first label is, the second likewise."""
    pixels = np.random.default_rng(0).integers(100, 156, (n, *shape), np.uint8)
    if labels is not None:
        for column, values in enumerate(labels.reshape(n, -1).T):
            pixels[:, 0, column, 0] += (values * 90 // max(values.max(), 1)).astype(np.uint8)
    split = Split(pixels, labels)
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return Dataset("made", "made", splits, (shape[2], *shape[:2]), None, attributes, "f" * 64, (), "made")


def numbers(text: str, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, width)


def last_linear(net: torch.nn.Module) -> torch.nn.Linear:
    return [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]


def first_linear(net: torch.nn.Module) -> torch.nn.Linear:
    return next(module for module in net.modules() if isinstance(module, torch.nn.Linear))


# Spaces


@pytest.mark.parametrize("name", WITH_CODES)
@pytest.mark.parametrize("given", [True, False])
def test_every_family_has_a_space(name: str, given: bool, digits: Dataset) -> None:
    model: Any = make(name, latent_dim=5)
    d = model.latent_dim
    assert d == 5 or name == "vq-vae"
    found = atlas.space(model, digits if given else None, id="a/b", name="b", recipe=name, data="digits")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["id"], found["name"], found["recipe"], found["data"]) == ("a/b", "b", name, "digits")
    assert (found["shape"], found["latent"]) == ([1, 8, 8], d)
    assert sorted(found["order"]) == list(range(d))
    weights = np.array(found["weight"])[found["order"]]
    assert (np.diff(weights) <= 0).all() and 0 <= found["active"] <= d
    assert all(hasattr(model, verb) for verb in found["verbs"]) and "decode" in found["verbs"]
    assert len(found["mean"]) == len(found["spread"]) == d and min(found["spread"]) > 0
    seen = given and "encode" in found["verbs"]
    assert (found["principal"] is not None) == seen
    assert (found["by"] == "change of the image") != seen
    for direction in found["directions"]:
        assert len(direction["vector"]) == d


def test_points_have_a_space_and_no_map() -> None:
    model = make("gan", (2,), latent_dim=3)
    found = atlas.space(model)
    assert found["shape"] == [2] and sorted(found["order"]) == [0, 1, 2] and found["weight"][0] > 0
    with pytest.raises(UserError, match=r"points of shape \(2,\)"):
        atlas.atlas(model)


@pytest.mark.parametrize("net", ["mlp", "dcgan"])
def test_a_vae_by_its_kl(net: str, digits: Dataset) -> None:
    model = make("vae", latent_dim=4, **({"net": DCGAN(filters=4)} if net == "dcgan" else {}))
    head = last_linear(model.encoder)
    with torch.no_grad():
        head.weight[2] = head.weight[6] = 0  # Q(z_2 given x) is N(0, 1) whatever x is
        head.bias[2] = head.bias[6] = 0
        head.weight[1] *= 30
    found = atlas.space(model, digits, n=100)
    rows = np.linspace(0, 249, 100).round().astype(int)
    mean, log_variance = model.posterior(to_tensor(digits.splits["test"].images[rows]))
    kl = kl_divergence(TorchNormal(mean, (log_variance / 2).exp()), TorchNormal(0.0, 1.0)).mean(0)
    assert found["by"] == "KL, nats"
    np.testing.assert_allclose(found["weight"], kl.detach(), atol=1e-5)
    assert found["order"][0] == 1 and found["order"][-1] == 2 and found["weight"][2] == pytest.approx(0, abs=1e-6)
    assert found["active"] == int((kl > 0.1).sum()) < 4
    assert found["mean"][2] == pytest.approx(0, abs=1e-6) and found["spread"][2] == pytest.approx(1)
    drawn = TorchNormal(mean, (log_variance / 2).exp()).sample((2000,)).flatten(0, 1)
    np.testing.assert_allclose(found["spread"], drawn.std(0), rtol=0.02)


def test_another_encoder_by_the_variance_of_its_codes() -> None:
    labels = np.arange(200) % 2
    data = dataset(labels)
    found = atlas.space(Corner(3), data)
    codes = 2 * (data.splits["test"].images.reshape(200, -1)[:, :3] / 255) - 1
    assert found["by"] == "variance of the codes" and found["prior"] == {"kind": "none", "bound": None}
    np.testing.assert_allclose(found["weight"], codes.var(0), rtol=1e-5)
    np.testing.assert_allclose(found["mean"], codes.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["spread"], codes.std(0), rtol=1e-5)
    assert found["order"][0] == 0, "the first pixel is that of the label"


def test_a_code_that_never_changes_comes_last_and_keeps_a_slider() -> None:
    data = dataset(None)
    data.splits["test"].images[:, 0, 1] = 7
    found = atlas.space(Corner(3), data)
    assert found["order"][-1] == 1 and found["weight"][1] < 1e-12
    assert found["active"] == 2 and found["spread"][1] == pytest.approx(max(found["spread"]))


def test_a_gan_by_what_its_dimensions_do() -> None:
    model = make("gan", latent_dim=6, generator=DCGAN(filters=4), discriminator=DCGAN(filters=4))
    first = first_linear(model.generator)
    with torch.no_grad():
        first.weight[:, 4] = 0
        first.weight[:, 1] *= 20
    found = atlas.space(model)
    assert (found["order"][0], found["order"][-1], found["weight"][4]) == (1, 4, 0)
    assert found["active"] <= 5 and found["directions"] == [] and found["principal"] is None


def test_the_change_of_an_image() -> None:
    """Of a decoder whose image is the sigmoid of z_0, the change is known."""
    model = Corner(2)
    found = atlas.space(model)
    z = Draw(0).normal("prior", (16, 2)).double()[:, 0]
    change = (z.sigmoid() - (z - z.sign()).sigmoid()).square().mean().sqrt()
    np.testing.assert_allclose(found["weight"], [change, 0], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("prior", "mean", "spread", "kind", "bound"),
    [
        (Normal(), 0, 1, "normal", None),
        (Uniform(bound=2.0), 0, 2 / math.sqrt(3), "uniform", 2.0),
    ],
)
def test_without_codes_the_prior_is_the_space(
    prior: Any, mean: float, spread: float, kind: str, bound: float | None
) -> None:
    found = atlas.space(make("gan", latent_dim=3, prior=prior))
    assert found["mean"] == pytest.approx([mean] * 3) and found["spread"] == pytest.approx([spread] * 3)
    assert found["prior"] == {"kind": kind, "bound": bound}


def test_a_learned_prior() -> None:
    model = make("vae", latent_dim=3, prior=Mixture(components=4))
    with torch.no_grad():
        model.prior.mean.copy_(torch.tensor([[5.0, 0, 0]]).expand(4, 3))
        model.prior.log_variance.fill_(2 * math.log(3))
    found = atlas.space(model)
    assert found["prior"]["kind"] == "mixture"
    np.testing.assert_allclose(found["mean"], [5, 0, 0], atol=0.2)
    np.testing.assert_allclose(found["spread"], 3, rtol=0.05)
    assert atlas.atlas(model, n=50)["prior"] == pytest.approx([3, 3], rel=0.05)


def test_principal_components_are_those_of_scikit_learn(digits: Dataset) -> None:
    model = make("autoencoder", latent_dim=20)
    found = atlas.space(model, digits)["principal"]
    codes = model.encode(to_tensor(digits.splits["test"].images)).numpy().astype(np.float64)
    pca = PCA(16, svd_solver="full").fit(codes)
    overlap = np.abs((np.array(found["directions"]) * pca.components_).sum(1))
    np.testing.assert_allclose(overlap, 1, atol=1e-3)
    np.testing.assert_allclose(found["spread"], pca.explained_variance_**0.5 * math.sqrt(249 / 250), rtol=1e-4)


def test_a_training_that_diverged_is_said_so(digits: Dataset) -> None:
    model = make("vae", latent_dim=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(math.nan)
    for ask in (atlas.space, atlas.atlas):
        for data in (digits, None):
            with pytest.raises(UserError, match="diverged"):
                ask(model, data)


def test_images_need_be_encoded_but_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("vae", latent_dim=4)
    seen = atlas.encoded(model, digits, 60)
    space, found = atlas.space(model, digits, 60), atlas.atlas(model, digits, 60)
    monkeypatch.setattr(atlas, "encoded", None)
    assert atlas.space(model, digits, seen=seen) == space
    assert atlas.chart(model, digits, seen=seen).atlas == found


# Directions


def test_directions_separate_the_labels() -> None:
    labels = np.stack([np.arange(200) % 2, np.arange(200) // 2 % 3], 1)
    data = dataset(labels, attributes=("hat", "mood"))
    found = atlas.space(Corner(4), data)["directions"]
    assert [(d["name"], d["low"], d["high"]) for d in found] == [("hat", "0", "1"), ("mood", "0", "2")]
    codes = 2 * (data.splits["test"].images.reshape(200, -1)[:, :4] / 255) - 1
    for column, direction in enumerate(found):
        along, own = codes @ np.array(direction["vector"]), labels[:, column]
        assert along[own == 0].max() < along[own == own.max()].min()


def test_each_of_several_classes_has_a_direction_from_the_others(digits: Dataset) -> None:
    model = make("autoencoder", latent_dim=4)
    found = atlas.space(model, digits)["directions"]
    assert [d["name"] for d in found] == [f"class {k}" for k in range(10)]
    assert {d["low"] for d in found} == {"others"} and [d["high"] for d in found] == list("0123456789")
    codes = model.encode(to_tensor(digits.splits["test"].images)).numpy()
    own = digits.splits["test"].labels == 3
    np.testing.assert_allclose(found[3]["vector"], codes[own].mean(0) - codes[~own].mean(0), atol=1e-5)


def test_a_value_that_is_hardly_seen_gives_no_direction() -> None:
    labels = np.zeros(200, np.int64)
    labels[:3] = 1
    assert atlas.space(Corner(2), dataset(labels))["directions"] == []


def test_a_gan_has_directions_where_a_classifier_is_there(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("gan", latent_dim=3)

    class Judge:
        def predict(self, images: torch.Tensor) -> np.ndarray:
            return (images.mean((1, 2, 3)) > images.mean()).long().numpy() * 4

    monkeypatch.setattr(classifier, "train_classifier", lambda data, progress: Judge())
    assert atlas.space(model, digits)["directions"] == [] and atlas.atlas(model, digits)["labels"] == []
    folder = atlas.store.root() / "classifiers" / "0"
    folder.mkdir(parents=True)
    facts = {"format": classifier.FORMAT, "fingerprint": digits.fingerprint, "images": classifier.IMAGES, "seed": 0}
    (folder / "config.json").write_text(json.dumps(facts))
    (atlas.store.root() / "classifiers" / "1").mkdir()
    (atlas.store.root() / "classifiers" / "1" / "config.json").write_text("{")
    try:
        assert [d["name"] for d in atlas.space(model, digits)["directions"]] == ["class 0", "class 4"]
        (labels,) = atlas.atlas(model, digits, n=40)["labels"]
        assert labels["name"] == "class" and labels["values"] == list("0123456789") and set(labels["of"]) == {0, 4}
    finally:
        for path in (folder, folder.with_name("1")):
            (path / "config.json").unlink()


def test_a_semisupervised_gan_labels_its_own_samples(digits: Dataset) -> None:
    model = make("semisupervised-gan", latent_dim=3, hidden=(20,), generator_hidden=(20,))
    (labels,) = atlas.atlas(model, digits, n=30)["labels"]
    assert labels["of"] == model.classify(model.sample(30)).argmax(1).tolist()
    assert labels["values"] == list("0123456789")
    assert atlas.atlas(model, n=30)["labels"][0]["of"] == labels["of"]


# Maps


@pytest.mark.parametrize("name", WITH_CODES)
@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("given", [True, False])
def test_every_family_has_a_map(name: str, d: int, given: bool, digits: Dataset) -> None:
    model: Any = make(name, latent_dim=d)
    d = model.latent_dim
    if not given and not hasattr(model, "sample"):
        with pytest.raises(UserError, match=r"no P\(z\)"):
            atlas.atlas(model)
        return
    chart = atlas.chart(model, digits if given else None, n=60)
    found = chart.atlas
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    codes, points = numbers(found["codes"], d), numbers(found["points"], 2)
    assert len(codes) == len(points) == 60
    plane = np.array(found["plane"])
    np.testing.assert_allclose(points, (codes - np.array(found["mean"])) @ plane.T, atol=1e-5)
    np.testing.assert_allclose(plane @ plane.T, np.eye(2) if d > 1 else np.diag([1, 0]), atol=1e-9)
    if d == 2:
        assert found["axes"] == ["z1", "z2"]
        assert (points == codes).all()
    if given and hasattr(model, "encode"):
        assert found["of"] == "test images" and len(set(found["rows"])) == 60
        images = to_tensor(digits.splits["test"].images[found["rows"]])
        np.testing.assert_allclose(codes, model.encode(images).flatten(1), atol=1e-5)
        assert found["labels"][0]["of"] == digits.splits["test"].labels[found["rows"]].tolist()
    else:
        assert found["of"] == "samples" and found["rows"] == []
        images = model.sample(60)
        np.testing.assert_allclose(model.decode(torch.from_numpy(codes.copy())), images, atol=1e-5)
    assert found["columns"] == 8
    for i in (0, 7, 8, 59):
        y, x = divmod(i, 8)
        own = chart.thumbnails[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].transpose(2, 0, 1)
        assert np.abs(own - images[i].numpy() * 255).max() <= 0.51
    assert chart.thumbnails.shape == (64, 64, 1)


def test_the_plane_of_encoded_images_is_where_they_spread_most(digits: Dataset) -> None:
    model = make("autoencoder", latent_dim=12)
    found = atlas.atlas(model, digits)
    codes = numbers(found["codes"], 12)
    pca = PCA(2, svd_solver="full").fit(codes.astype(np.float64))
    np.testing.assert_allclose(np.abs((np.array(found["plane"]) * pca.components_).sum(1)), 1, atol=1e-3)
    assert found["axes"] == ["principal component 1", "principal component 2"] and found["prior"] == [0, 0]


def test_the_plane_of_samples_is_where_images_change_most() -> None:
    model = make("gan", latent_dim=8)
    first = first_linear(model.generator)
    with torch.no_grad():
        first.weight[:, [0, 1, 2, 3, 4, 6]] *= 0.01
        first.weight[:, 7] *= 2
    plane = np.abs(np.array(atlas.atlas(model)["plane"]))
    assert set(plane.argmax(1)) == {5, 7} and (plane.max(1) > 0.9).all()


@pytest.mark.parametrize("bound", [0.5, 1.0])
def test_the_prior_on_the_map(bound: float) -> None:
    assert atlas.atlas(make("gan", latent_dim=5), n=20)["prior"] == pytest.approx([1 / math.sqrt(3)] * 2)
    assert atlas.atlas(make("vae", latent_dim=5), n=20)["prior"] == pytest.approx([1, 1])
    uniform = make("gan", latent_dim=2, prior=Uniform(bound=bound))
    assert atlas.atlas(uniform, n=20)["prior"] == pytest.approx([bound / math.sqrt(3)] * 2)


def test_a_model_whose_codes_are_all_the_same_still_has_a_map() -> None:
    data = dataset(None)
    data.splits["test"].images[:] = 9
    found = atlas.atlas(Corner(3), data, n=10)
    np.testing.assert_allclose(np.array(found["plane"]) @ np.array(found["plane"]).T, np.eye(2), atol=1e-9)
    assert (numbers(found["points"], 2) == 0).all()


def test_colour_and_the_size_of_the_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = Corner(3, (3, 4, 6)), dataset(None, (4, 6, 3))
    chart = atlas.chart(model, data, n=10)
    assert chart.thumbnails.shape == (12, 24, 3)
    assert (chart.thumbnails[4:8, 6:12] == data.splits["test"].images[chart.atlas["rows"][5]]).all()
    assert (chart.thumbnails[8:, 12:] == 0).all(), "the last row holds two images of four"
    assert (atlas.thumbnails(model, data, n=10) == chart.thumbnails).all()
    monkeypatch.setattr(atlas, "SHEET", 24 * 7)
    assert len(atlas.atlas(model, data)["rows"]) == 7


def test_a_label_of_too_many_values_is_left_out() -> None:
    labels = np.stack([np.arange(200), np.arange(200) % 2], 1)
    found = atlas.atlas(Corner(3), dataset(labels, attributes=("file", "kind")))
    assert [label["name"] for label in found["labels"]] == ["kind"]


def test_nothing_changes_in_the_cache(digits: Dataset) -> None:
    before = sorted(Path(atlas.store.root()).rglob("*"))
    atlas.chart(make("gan", latent_dim=3), digits, n=10)
    atlas.space(make("vae", latent_dim=3), digits)
    assert sorted(Path(atlas.store.root()).rglob("*")) == before
