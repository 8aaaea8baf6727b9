"""data list, data show."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import load, sources

Said = Callable[..., str]


def test_sets(said: Said) -> None:
    assert "digits" in said("data", "list") == said("data")
    shown = said("data", "show", "digits", "--size", 6, 4, "--channels", 3)
    assert "3 x 6 x 4 (channels x height x width)" in shown


@pytest.mark.parametrize("name", sources.names())
def test_the_list_says_how_large_a_set_is(name: str, said: Said) -> None:
    (line,) = (line for line in said("data", "list").splitlines() if line.split()[0] == name)
    assert re.search(r"\d+ x \d+|Points \(x, y\)", line), "its shape"
    assert re.search(r"fetched \(\d+ MB\)|computed|drawn here|in scikit-(learn|image)", line), "what is downloaded"
    assert re.search(r": [\d,]+ / .*[\d,]+.* / [\d,]+\.$", line), "how many"
    if "fetched" not in line and "drawn" not in line:
        splits = load(name).splits
        assert line.endswith(": " + " / ".join(f"{len(splits[part]):,}" for part in splits) + ".")


def test_duplicates_and_a_sheet(said: Said, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    images[7] = images[3]
    np.save(tmp_path / "twice.npy", images)
    shown = said("data", "show", tmp_path / "twice.npy", "--range", 0, 200, "--out", tmp_path / "sheet.png")
    assert "1 rows are copies of others" in shown and "0 to 200 is black to white, as asked" in shown
    assert (tmp_path / "sheet.png").is_file()


def lines(shown: str) -> dict[str, list[str]]:
    """What is printed, by field."""
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        name, value = line[:16].strip(), line[17:]
        found.setdefault(name, []).append(value)
    return found


def save(folder: Path, images: list[Image.Image]) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i:02d}.png")
    return folder


def test_sizes_modes_values_and_what_would_be_chosen(said: Said, tmp_path: Path) -> None:
    small, large = Image.new("RGB", (8, 6)), Image.fromarray(np.full((20, 20), 4000, np.uint16))
    shown = lines(said("data", "show", save(tmp_path / "mixed", [*[small] * 9, *[large] * 3])))
    assert shown["files"] == ["12, of 12 images"] and shown["values"] == ["from 0 to 4000"]
    assert shown["sizes"] == ["6 x 8 9 ###############, 20 x 20 3 #####"]
    assert shown["modes"] == ["RGB 9 ###############, I;16 3 #####"]
    assert shown["duplicates"] == ["10 rows are copies of others, to the last bit"]
    assert any("likelihood: gaussian (the data are not black and white)" in line for line in shown["vae would take"])


def test_what_would_be_refused_is_shown_all_the_same(said: Said, tmp_path: Path) -> None:
    folder = save(tmp_path / "few", [Image.new("L", (8, 8))])
    for i in range(9):
        (folder / f"bad{i}.png").write_bytes(b"no image")
    shown = lines(said("data", "show", folder))
    assert shown["files"] == ["10, of 1 images"] and shown["modes"] == ["L 1 ####################"]
    assert shown["refused"][0] == "bad0.png: not an image, or its header is damaged"
    assert shown["refused"][6:] == ["and 3 more"] and len(shown["refused"]) == 7
    (why,) = shown["train refuses"]
    assert "has 1 usable images; at least 3 are needed" in why and "bad0.png was left out: not an image" in why
    np.save(tmp_path / "odd.npy", np.zeros((3, 5, 5)) * np.nan)
    shown = lines(said("data", "show", tmp_path / "odd.npy"))
    assert shown["array images"] == ["float64 (3, 5, 5), 75 values are not numbers"] and "could be one" in str(shown)


@pytest.mark.parametrize("source", ["nowhere", "empty", "broken.zip", "words.txt", "table.csv"])
def test_where_there_is_nothing_to_say_it_is_an_error(said: Said, tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("broken.zip", "words.txt"):
        (tmp_path / name).write_text("words")
    (tmp_path / "table.csv").write_text("a,b\n1,x\n")
    said("data", "show", tmp_path / source, status=1)


def test_streamed(said: Said, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = save(tmp_path / "photos", [Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)) for _ in range(20)])
    shown = lines(said("data", "show", folder, "--stream", "--out", tmp_path / "sheet.png"))
    assert shown["size on disk"] == ["0.0 MB decoded, of which none is kept: streamed"]
    assert shown["report"] == ["streamed, which means decoded when they are asked for: as asked"]
    assert "report" not in lines(said("data", "show", folder)), "there is room"
    run = tmp_path / "run"
    said("train", "vae", "--data", folder, "--stream", "--epochs", 1, "--device", "cpu", "--out", run)
    assert lines(said("show", run))["stream"] == ["true"]
