"""score: the table, the page, the threshold's normal images, labels, and what is refused."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas.cli import main
from ganvas.evaluate import score

Said = Callable[..., str]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder as MVTec AD has it: good digits, and noise."""
    split, random = ganvas.data.load("digits").splits["test"], np.random.default_rng(0)
    for name, pictures in (
        ("good", split.images[:30, :, :, 0]),
        ("noise", random.integers(0, 256, (6, 8, 8))),
        ("black", np.zeros((3, 8, 8))),
    ):
        (tmp_path / "parts" / name).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(np.asarray(picture).astype(np.uint8)).save(tmp_path / "parts" / name / f"{i:02d}.png")
    return tmp_path / "parts"


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_good_and_strange_images(home: Path, parts: Path, tmp_path: Path, said: Said) -> None:
    text = said("score", home / "vae", "--data", parts, "--false-alarms", 0.1, "--out", tmp_path / "out", "-n", 5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "scores.csv"]
    found = lines(tmp_path / "out")
    assert list(found[0]) == ["file", "label", "order", "score", "p_value", "alarm"]
    assert [row["file"] for row in found] == sorted(str(p.relative_to(parts)) for p in parts.rglob("*.png"))
    assert all(row["file"].startswith(f"{row['label']}/") for row in found)
    assert all((float(row["p_value"]) <= 0.1) == (row["alarm"] == "1") for row in found)
    alarms = sum(row["alarm"] == "1" for row in found)
    assert re.search(rf"alarms +{alarms}; if all were normal, 3\.\d+ would be", text)
    assert re.search(r"AUROC +\d\.\d{3} \(", text) and re.search(r"noise +\d of 6 alarm, AUROC", text)
    assert re.search(r"normal images +500 of digits that it was not trained on", text)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<figure>") == 5 == page.count("data:image/png;base64") and "http" not in page
    strangest = max(found, key=lambda row: float(row["score"]))
    assert re.search(r"<figcaption>([^,]+),", page)[1] == strangest["file"]  # type: ignore[index]


def test_images_without_a_label_are_neither_normal_nor_strange(
    home: Path, parts: Path, tmp_path: Path, said: Said
) -> None:
    splits = ganvas.data.load(parts).splits
    known = {file: file.split("/")[0] for split in splits.values() for file in split.names.tolist()}
    first, second, *others = splits["test"].names.tolist()
    known |= {first: "", second: "good"} | dict.fromkeys(others, "noise")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(f"{file},{label}" for file, label in known.items()))
    ganvas.train("vae", data=parts, labels=table, epochs=1, out=tmp_path / "run")
    text = said("score", tmp_path / "run", "--out", tmp_path / "out", "--false-alarms", 0.5)
    assert {row["file"]: row["label"] for row in lines(tmp_path / "out")} == {
        file: known[file] for file in splits["test"].names.tolist()
    }
    assert re.search(r"normal +\d of 1 alarm", text) and re.search(rf"strange +\d of {len(others)} alarm", text)


def test_the_run_s_own_images_are_its_test_images(home: Path, said: Said) -> None:
    text = said("score", home / "vae", "--by", "elbo")
    folder = home / "vae" / "scores" / "digits"
    assert re.search(r"images +250 of digits", text) and "(validation)" in text and len(lines(folder)) == 250
    model, splits = ganvas.load(home / "vae"), ganvas.data.load("digits").splits
    expected = score(model, splits["test"], splits["validation"], by="elbo")
    np.testing.assert_allclose([float(row["score"]) for row in lines(folder)], expected.scores, rtol=1e-4)
    said("score", home / "vae", "--by", "elbo")
    assert (home / "vae" / "scores" / "digits-2").is_dir(), "the one before is left as it is"


def test_images_of_another_size_and_colour_are_fitted(home: Path, photos: Path, tmp_path: Path, said: Said) -> None:
    said("score", home / "dae", "--data", photos, "--out", tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 12


def test_a_model_without_its_run_takes_normal_images(home: Path, parts: Path, tmp_path: Path, said: Said) -> None:
    words: list[Any] = ["score", home / "model", "--data", parts, "--out", tmp_path / "out"]
    assert "say with --normal" in said(*words, status=1)
    assert "it takes 19" in said(*words, "--normal", parts / "good", status=1)
    text = said(*words, "--normal", "digits", "--by", "reconstruction", "--strange-class", "noise")
    assert re.search(r"normal images +1,797 of digits\n", text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--false-alarms", "0.001"], "500 normal images are too few for a false-alarm rate of 0.001: it takes 999."),
        (["--false-alarms", "0"], "above 0 and below 1"),
        (["--by", "beauty"], "unknown score 'beauty'"),
        (["--by", "elbo"], "has no score 'elbo'; it has relative, reconstruction, worst, codes, neighbours."),
        (["--normal-class", "bad"], "unknown class 'bad'"),
        (["--normal-class", "good", "--strange-class", "noise"], "not both"),
        (["--data", "{}/empty"], "holds no images"),
        (["--out", "{}/parts"], "not empty"),
        (["-n", "0"], "at least 1"),
    ],
)
def test_what_can_t_be_is_refused(
    words: list[str], says: str, home: Path, parts: Path, tmp_path: Path, said: Said
) -> None:
    (tmp_path / "empty").mkdir()
    given = [word.replace("{}", str(tmp_path)) for word in words]
    data = [] if "--data" in words else ["--data", parts]
    out = [] if "--out" in words else ["--out", tmp_path / "out"]
    assert says in said("score", home / "dae", *data, *out, *given, status=1)
    assert not (tmp_path / "out").exists()


def test_rows_of_numbers_with_nan(tmp_path: Path, said: Said) -> None:
    random = np.random.default_rng(0)
    table = "\n".join(",".join(f"{x:.4f}" for x in row) for row in random.normal(size=(300, 4)))
    (tmp_path / "rows.csv").write_text(f"a,b,c,d\n{table}\n")
    assert main(["train", "autoencoder", "--data", str(tmp_path / "rows.csv"), "--epochs", "1", "--latent-dim", "2",
                 "--device", "cpu", "--out", str(tmp_path / "run")]) == 0  # fmt: skip
    said("score", tmp_path / "run", "--out", tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 30
    (tmp_path / "bad.csv").write_text("a,b,c,d\n1,2,,4\n")
    assert "bad.csv" in said("score", tmp_path / "run", "--data", tmp_path / "bad.csv", status=1)
