"""manifold, interpolate, arithmetic, turn, neighbours."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli import main
from ganvas.data import load, sources
from ganvas.data.folder import read
from ganvas.data.loader import to_tensor
from ganvas.evaluate.networks import classifier as judge
from ganvas.evaluate.networks.features import features
from ganvas.ground import plots
from ganvas.latent import explore

Said = Callable[..., str]
Opened = Callable[[Path], np.ndarray]
Classify = Callable[[torch.Tensor], np.ndarray]


def bars(progress: bool) -> sources.Source:
    """Grey 8 x 8 images with a bar on the left or right and a hat or none."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (600, 2))
    images = random.integers(0, 60, (600, 8, 8, 1), np.uint8)
    for image, (side, hat) in zip(images, labels, strict=True):
        image[2:, 6 * side : 6 * side + 2] = 220
        image[0, :] = 220 * hat
    cuts = {"train": slice(400), "validation": slice(400, 500), "test": slice(500, 600)}
    splits = {name: (images[rows], labels[rows]) for name, rows in cuts.items()}
    return sources.Source(splits, "drawn", attributes=("hat", "side"))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources._REGISTRY, "bars", bars)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of models with and without two latent dimensions, an encoder, a prior and attributes."""
    folder = tmp_path_factory.mktemp("explore")
    tiny = ["--epochs", "1", "--device", "cpu", "--precision", "float32", "--out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources._REGISTRY, "bars", bars)
        for name, recipe, data, size in (
            ("flat", "vae", "bars", 2),
            ("vae", "vae", "bars", 3),
            ("gan", "gan", "bars", 2),
            ("auto", "autoencoder", "bars", 2),
            ("digits", "vae", "digits", 3),
        ):
            words = ["train", recipe, "--data", data, "--latent-dim", str(size), *tiny, str(folder / name)]
            assert main(words) == 0
    (folder / "photo.png").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).save(folder / "photo.png")
    return folder


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> Classify:
    """One that needs no training: hat where the top is brighter than the middle, side by the brighter half."""

    def predict(images: torch.Tensor) -> np.ndarray:
        hat = images[:, 0, 0].mean(1) > images[:, 0, 3:5].mean((1, 2))
        side = images[:, 0, :, :4].mean((1, 2)) < images[:, 0, :, 4:].mean((1, 2))
        return torch.stack([hat, side], 1).long().numpy()

    monkeypatch.setattr(judge, "train_classifier", lambda dataset: SimpleNamespace(predict=predict))
    return predict


def same(picture: np.ndarray, expected: np.ndarray) -> bool:
    return np.array_equal(picture.reshape(expected.shape), expected)


def test_manifold(runs: Path, said: Said, opened: Opened) -> None:
    for name in ("flat", "gan"):
        out = runs / name / "manifold.png"
        assert said("manifold", runs / name, "-n", 6) == f"{out}\n"
        assert same(opened(out), plots.grid(explore.manifold(ganvas.load(runs / name), 6), 6))


def test_manifold_through_points_of_every_sort(runs: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    out, model = tmp_path / "plane.png", ganvas.load(runs / "vae")
    said("manifold", runs / "vae", "-n", 3, "--points", 7, "test:5", runs / "photo.png", "--seed", 4, "--out", out)
    image = to_tensor(load("bars").splits["test"].images[5:6])
    photo = to_tensor(read((runs / "photo.png",), (8, 8), 1)[1])
    corners = torch.cat([explore.sample_codes(model, 8, 4)[7:], model.encode(image), model.encode(photo)])
    assert same(opened(out), plots.grid(explore.manifold(model, 3, corners), 3))


def test_interpolate(runs: Path, said: Said, opened: Opened) -> None:
    out, model = runs / "gan" / "interpolate.png", ganvas.load(runs / "gan")
    assert said("interpolate", runs / "gan", "-n", 3, "--steps", 4, "--kind", "spherical") == f"{out}\n"
    z = explore.sample_codes(model, 6)
    images = explore.interpolate(model, z[::2], z[1::2], 4, "spherical")
    assert same(opened(out), plots.grid(images.flatten(0, 1), 4))


def test_an_autoencoder_goes_between_test_images(runs: Path, said: Said, opened: Opened) -> None:
    model = ganvas.load(runs / "auto")
    out = Path(said("interpolate", runs / "auto", "-n", 2).strip())
    images = to_tensor(load("bars").splits["test"].images[:4])
    assert same(opened(out), plots.grid(explore.interpolate(model, images[::2], images[1::2]).flatten(0, 1), 10))


def test_films(runs: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "new" / "film.gif"
    assert said("interpolate", runs / "vae", "--points", 0, 1, 2, 3, "--steps", 5, "--out", out) == f"{out}\n"
    model = ganvas.load(runs / "vae")
    z = explore.sample_codes(model, 4)
    images = explore.interpolate(model, z[::2], z[1::2], 5)
    with Image.open(out) as film:
        assert film.n_frames == 8, "there and back, each end once"
        for frame, step in enumerate((0, 1, 2, 3, 4, 3, 2, 1)):
            film.seek(frame)
            assert same(np.asarray(film.convert("L")), plots.grid(images[:, step]))
    av = pytest.importorskip("av")
    said("interpolate", runs / "vae", "--out", tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 118


def test_arithmetic_of_labelled_images(runs: Path, said: Said, opened: Opened) -> None:
    words = ["-a", "hat=1,side=0", "-b", "hat=0,side=0", "-c", "hat=0,side=1", "--seed", 2, "--noise", 0.1]
    printed = said("arithmetic", runs / "vae", *words)
    out, model = runs / "vae" / "arithmetic.png", ganvas.load(runs / "vae")
    assert [line.split() for line in printed.splitlines()] == [
        *map(list, zip("ABC", words[1:6:2], strict=True)),
        [str(out)],
    ]
    train = load("bars").splits["train"]
    groups, columns = [], []
    for hat, side in ((1, 0), (0, 0), (0, 1)):
        rows = explore.labelled(model, train).choose({0: hat, 1: side}, 3, seed=2)
        assert (train.labels[rows] == (hat, side)).all()
        groups.append(to_tensor(train.images[rows]))
        columns.append(torch.cat([groups[-1], model.decode(model.encode(groups[-1]).mean(0, keepdim=True))]))
    result = explore.arithmetic(model, *groups, noise=0.1, seed=2)
    assert same(opened(out), plots.equation(columns, result, explore.pixel_arithmetic(*groups)))


def test_arithmetic_of_points_and_by_default(runs: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    printed = said("arithmetic", runs / "gan", "-a", "0, 1", "-b", "2", "-c", "3,4,5,6", "--out", tmp_path / "a.png")
    model, z = ganvas.load(runs / "gan"), explore.sample_codes(ganvas.load(runs / "gan"), 7)
    terms = [z[:2], z[2:3], z[3:]]
    columns = [torch.cat([model.decode(part), model.decode(part.mean(0, keepdim=True))]) for part in terms]
    pixels = explore.pixel_arithmetic(*map(model.decode, terms))
    picture = plots.equation(columns, explore.arithmetic(model, *terms), pixels)
    assert np.abs(opened(tmp_path / "a.png").astype(int) - picture.squeeze(-1)).max() <= 1  # batches of other sizes
    assert printed.splitlines()[0].split(maxsplit=1) == ["A", "0, 1"]
    printed = said("arithmetic", runs / "auto")
    assert [line.split()[-1] for line in printed.splitlines()[:3]] == ["hat=1,side=1", "hat=0,side=1", "hat=0,side=0"]


def test_arithmetic_of_samples_that_a_classifier_labels(
    runs: Path, tmp_path: Path, classifier: Classify, said: Said, opened: Opened
) -> None:
    """A GAN's: the examples are samples of it, and have the attributes in the classifier's eyes."""
    out, model = tmp_path / "a.png", ganvas.load(runs / "gan")
    groups = ("side=1", "side=0", "side=0")
    words = [word for pair in zip(("-a", "-b", "-c"), groups, strict=True) for word in pair]
    said("arithmetic", runs / "gan", *words, "--examples", 7, "--seed", 2, "--out", out)
    source = explore.judged(model, classifier, seed=2)
    terms = [source.take(source.choose({1: side}, 7, seed=2)) for side in (1, 0, 0)]
    columns = [torch.cat([images[:5], model.decode(z.mean(0, keepdim=True))]) for z, images in terms]
    result = explore.arithmetic(model, *(z for z, _ in terms), seed=2)
    picture = plots.equation(columns, result, explore.pixel_arithmetic(*(images for _, images in terms)))
    assert np.abs(opened(out).astype(int) - picture.squeeze(-1)).max() <= 1


def test_the_score_is_the_classifiers(runs: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of results that are real images the score is known: six with a hat at the left, three with a hat at the right."""
    test = load("bars").splits["test"]
    images = to_tensor(test.images)
    left, right = (np.flatnonzero((test.labels == [1, side]).all(1)) for side in (0, 1))
    rows = [*left[:6], *right[:3]]
    monkeypatch.setattr(judge, "train_classifier", partial(judge.train_classifier, images=8000))
    monkeypatch.setattr(explore, "arithmetic", lambda *_: images[rows])
    monkeypatch.setattr(explore, "pixel_arithmetic", lambda *_: images[right[0]])
    words = ["-a", "hat=1,side=0", "-b", "hat=0,side=0", "-c", "hat=0,side=1", "--score"]
    lines = said("arithmetic", runs / "vae", *words, "--out", tmp_path / "a.png").splitlines()
    assert lines[3].split(maxsplit=1) == ["hat=1,side=1", "3 of 9 results; on pixels: yes"]


def hats(source: Any, rows: list[Any]) -> Any:
    """The labels of the other attribute."""
    return source.labels[np.concatenate(rows)][:, :1]


@pytest.mark.parametrize("name", ["vae", "gan", "auto"])
def test_turn(name: str, runs: Path, classifier: Classify, said: Said, opened: Opened) -> None:
    words = ["--attribute", "side", "-n", 3, "--steps", 5, "--examples", 20, "--seed", 1]
    out, model = Path(said("turn", runs / name, *words).strip()), ganvas.load(runs / name)
    assert out == runs / name / "turn.png"
    splits = load("bars").splits
    source = explore.judged(model, classifier, seed=1) if name == "gan" else explore.labelled(model, splits["train"])
    rows = [source.choose({1: side}, 20, 1) for side in (0, 1)]
    along = source.take(rows[1])[0].mean(0) - source.take(rows[0])[0].mean(0)
    samples = to_tensor(splits["test"].images[:3]) if name == "auto" else explore.sample_codes(model, 3, 1)
    picture = plots.grid(explore.turn(model, samples, along, 5).flatten(0, 1), 5)
    assert np.abs(opened(out).astype(int) - picture.squeeze(-1)).max() <= 1
    kept = explore.direction(source.take(np.concatenate(rows))[0], np.repeat([0, 1], 20), 0, 1, hats(source, rows))
    picture_kept = plots.grid(explore.turn(model, samples, kept, 5).flatten(0, 1), 5)
    for keep in ("hat", "all"):
        said("turn", runs / name, *words, "--keep", keep)
        assert np.abs(opened(out).astype(int) - picture_kept.squeeze(-1)).max() <= 1
    if name != "gan":  # by default the last attribute, from its first value to its last
        said("turn", runs / name, *words[2:], "--out", out)
        assert np.abs(opened(out).astype(int) - picture.squeeze(-1)).max() <= 1


def test_neighbours(runs: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    out, model, splits = tmp_path / "near.png", ganvas.load(runs / "gan"), load("bars").splits
    printed = said("neighbours", runs / "gan", "-n", 5, "--columns", 3, "--out", out)
    samples, held_out = model.sample(5), to_tensor(splits["test"].images[:5])
    train = to_tensor(splits["train"].images)
    near = torch.cdist(samples.flatten(1), train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    beneath, blank = train[near.argmin(1)], torch.ones(1, *samples.shape[1:])
    cells = torch.cat([samples[:3], beneath[:3], samples[3:], blank, beneath[3:], blank])
    assert same(opened(out), plots.grid(cells, 3, framed=[3, 4, 5, 9, 10]))
    apart = torch.cdist(held_out.flatten(1), train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    for line, name, table in zip(printed.splitlines(), ("samples", "test images"), (near, apart), strict=False):
        nearest = table.min(1).values.numpy()
        figures = f"median {np.median(nearest):.3f}, smallest {nearest.min():.3f}"
        assert line == f"{name:<16} 5, to the nearest training image: {figures}"
    assert printed.splitlines()[2:] == [str(out)]


def test_neighbours_in_features(runs: Path, tmp_path: Path, said: Said) -> None:
    printed = said("neighbours", runs / "vae", "-n", 6, "--features", "pca", "--out", tmp_path / "near.png")
    dataset = load("bars")
    pca, samples = features("pca", dataset), ganvas.load(runs / "vae").sample(6)
    table = np.linalg.norm(pca(samples)[:, None] - pca(dataset.splits["train"])[None], axis=2).min(1)
    assert f"median {np.median(table):.3f}, smallest {table.min():.3f}" in printed.splitlines()[0]


def test_neighbours_of_a_model_that_remembers(runs: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    train = load("bars").splits["train"].images
    monkeypatch.setattr("ganvas.models.vae.VAEModel.sample", lambda self, n, seed: to_tensor(train[40 : 40 + n]))
    assert "median 0.000, smallest 0.000" in said("neighbours", runs / "vae", "-n", 4).splitlines()[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("manifold vae", "this model has 3 latent dimensions, and only 2 are a plane"),
        ("manifold vae", "--points 0 1 2"),
        ("manifold auto", "no P(z)"),
        ("manifold flat -n 0", "-n 0"),
        ("manifold flat --points 1 2", "2 points: a plane goes through three"),
        ("manifold flat --points 1 2 test:100", "there is no test:100: test has 100 images"),
        ("manifold flat --points 1 2 nope.png", "there is no 'nope.png'"),
        ("manifold flat --points 1 2 vae", "is a folder: a point is one image file"),
        ("manifold flat --points 1 2 1000000", "numbered from 0 to 999999"),
        ("manifold flat --points -1 2 3", "there is no '-1'"),
        ("manifold auto --points 1 2 3", "no P(z)"),
        ("interpolate gan --points nope.png 2", "there is no 'nope.png'"),
        ("interpolate vae --points 1 2 3", "3 points: each row goes from one to another"),
        ("interpolate vae --steps 1", "--steps 1: it takes at least 2"),
        ("interpolate vae --out film.avi", "a name that ends in .png, .gif or .mp4"),
        ("arithmetic vae -a hat=1", "takes all three groups"),
        ("arithmetic vae -a hut=1 -b hat=0 -c side=1", "unknown attribute 'hut'. Did you mean 'hat'?"),
        ("arithmetic vae -a hat=2 -b hat=0 -c side=1", "unknown value of hat '2'"),
        ("arithmetic vae -a hat=1 -b hat=0 -c side=1 --examples 4000", "4000 are asked for"),
        ("arithmetic vae --examples 0", "--examples 0"),
        ("arithmetic vae --noise -1", "--noise -1"),
        ("arithmetic vae --noise nan", "--noise nan"),
        ("arithmetic vae --score -a 1 -b 2 -c 3", "--score needs groups that are named by attributes"),
        ("arithmetic vae --score -a hat=0 -b hat=1 -c hat=0", "what A - B + C should show is not known"),
        ("arithmetic digits", "say what is added and taken away"),
        ("arithmetic digits -a class=7 -b class=x -c class=1", "unknown value of class 'x'"),
        ("turn vae --attribute site", "unknown attribute 'site'. Did you mean 'side'?"),
        ("turn vae --low x", "unknown value of side 'x'"),
        ("turn vae --keep hut", "unknown attribute 'hut'. Did you mean 'hat'?"),
        ("turn vae --keep side", "--keep side: it is the attribute that changes"),
        ("turn vae --examples 4000", "labelled images have side=0, 4000 are asked for"),
        ("turn vae --low 1", "--low and --high are both '1'"),
        ("turn vae --examples 0", "--examples 0"),
        ("turn vae --steps 1", "--steps 1"),
        ("turn vae --data photos", "has no labels"),
        ("neighbours auto", "has no sample"),
        ("neighbours vae --columns 0", "--columns 0"),
        ("neighbours vae -n 0", "-n 0"),
        ("neighbours vae --features pixel", "unknown kind of features 'pixel'. Did you mean 'pixels'?"),
        ("neighbours flat/model", "say which images with --data"),
    ],
)
def test_refusals(words: str, says: str, runs: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    photos = runs / "photos"
    photos.mkdir(exist_ok=True)
    for i in range(12):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(photos / f"{i}.png")
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert says in said(*words.split(), status=1)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before, "nothing is written"


def test_points_in_the_plane_are_no_images(tmp_path: Path, said: Said) -> None:
    np.save(tmp_path / "ring.npy", np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
    words = [
        "--data",
        tmp_path / "ring.npy",
        "--likelihood",
        "gaussian",
        "--epochs",
        "1",
        "--latent-dim",
        "2",
        "--device",
        "cpu",
    ]
    said("train", "vae", "--data", tmp_path / "ring.npy", *words, "--out", tmp_path / "ring")
    for verb in ("manifold", "interpolate", "arithmetic", "turn", "neighbours"):
        assert "points of shape (2,), not of images" in said(verb, tmp_path / "ring", status=1)
