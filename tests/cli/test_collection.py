"""similar, duplicates, cluster."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas.data import load
from ganvas.latent import collection

Said = Callable[..., str]
Opened = Callable[[Path], np.ndarray]


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_similar(home: Path, said: Said, opened: Opened) -> None:
    run = home / "vae"
    said("similar", run, "test:3", "test:0", "-k", 3)
    model, dataset = ganvas.load(run), load("digits")
    found = collection.collect(model, dataset)
    images = dataset.splits["test"].images[[3, 0]]
    distances, places = collection.similar(found, model, images, 3)
    header, *rows = table(run / "similar.csv")
    assert header == ["image", "rank", "name", "distance"]
    names = [name for row in places for name in found.names(row)]
    assert [row[2] for row in rows] == names and rows[0][:3] == ["test:3", "1", "test:3"]
    np.testing.assert_allclose([float(row[3]) for row in rows], distances.ravel(), atol=1e-4)
    assert opened(run / "similar.png").shape == (2 * (96 + 14 + 2) + 2, 4 * 98 + 2, 3)


def test_files_are_found_by_their_names(home: Path, photos: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "new" / "near.png"
    said("similar", home / "dae", photos / "7.png", "--data", photos, "-k", 1, "--out", out)
    ((_, _, name, distance),) = table(out.with_suffix(".csv"))[1:]
    assert name == "7.png" and float(distance) == 0


def test_duplicates(home: Path, photos: Path, said: Said, opened: Opened) -> None:
    with Image.open(photos / "3.png") as image:
        image.save(photos / "copy.bmp")
        image.point(lambda level: int(0.8 * level)).save(photos / "dark.png")
    run = home / "vae"
    assert "2 of 14 images are one that is there already, in 1 groups" in said("duplicates", run, "--data", photos)
    header, *rows = table(run / "duplicates.csv")
    assert header == ["group", "name", "split", "correlation", "equal"]
    assert {row[1]: row[4] for row in rows}.keys() == {"3.png", "copy.bmp", "dark.png"}
    assert sorted(row[4] for row in rows).count("yes") >= 1
    assert opened(run / "duplicates.png").shape[1] == 3 * 98 + 2


def test_none_are_there_twice(home: Path, photos: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "twice.png"
    assert "0 of 12 images" in said("duplicates", home / "vae", "--data", photos, "--alike", 0.999, "--out", out)
    assert len(table(out.with_suffix(".csv"))) == 1 and not out.exists()


def test_clusters(home: Path, tmp_path: Path, said: Said) -> None:
    printed = said("cluster", home / "vae", "--clusters", 3, "-n", 4)
    assert "3 of 1,797 images" in printed and "adjusted Rand index" in printed
    header, *rows = table(home / "vae" / "clusters" / "clusters.csv")
    assert header == ["name", "split", "cluster", "probability", "typical"] and len(rows) == 1797
    assert (home / "vae" / "clusters" / "index.html").read_text().count("<figure") == 3
    said("cluster", home / "vae", "--clusters", 2)
    assert (home / "vae" / "clusters-2" / "index.html").is_file(), "what is there stays"
    assert "not empty" in said("cluster", home / "vae", "--out", home / "vae" / "clusters", status=1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("similar vae", "which images?"),
        ("similar vae test:0 -k 0", "-k 0: it takes at least 1"),
        ("similar vae test:0 -k 100000", "100000 nearest of 1,797 images"),
        ("similar vae nothing.png", "there is no 'nothing.png'"),
        ("similar vae test:9999", "there is no test:9999"),
        ("similar vae test:0 --out near.csv", "it takes a name that ends in .png"),
        ("duplicates vae --out twice", "it takes a name that ends in .png"),
        ("duplicates vae --alike 0", "--alike 0: it takes a correlation"),
        ("duplicates vae --alike nan", "--alike nan"),
        ("duplicates vae --data empty", "holds no images"),
    ],
)
def test_refusals(words: str, says: str, home: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.chdir(home)
    (home / "empty").mkdir(exist_ok=True)
    assert says in said(*words.split(), status=1)
