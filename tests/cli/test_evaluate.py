"""evaluate, compare."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.cli import main
from ganvas.data import load

Said = Callable[..., str]
QUICK = ["-n", 40, "-k", 3, "--features", "pca"]


@pytest.fixture
def vae(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "vae", tmp_path / "vae"))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Images that another program made: test digits."""
    folder = tmp_path / "made"
    folder.mkdir()
    for i, image in enumerate(load("digits").splits["test"].images[:60]):
        Image.fromarray(image[..., 0]).save(folder / f"{i:03d}.png")
    return folder


def test_a_run_is_measured_and_kept(vae: Path, said: Said) -> None:
    text = said("evaluate", vae, *QUICK)
    assert "40 test images of digits" in text and "without modes: " in text and str(vae / "evaluation") in text
    rows = json.loads((vae / "evaluation" / "figures.json").read_text())
    assert {"elbo", "nll", "frechet", "probes"} <= {row["metric"] for row in rows}
    assert "parzen" not in {row["metric"] for row in rows}, "only if it is asked for"
    for row in rows:
        for figure in row["figures"]:
            assert f"    {figure['name']} " in text
    assert (vae / "evaluation" / "samples.png").is_file()
    command = shlex.split(rows[0]["facts"]["command"])
    assert command == ["ganvas", "evaluate", str(vae), "--features", "pca", "-n", "40", "-k", "3"]


def test_the_kept_command_gives_the_same_again(vae: Path, said: Said) -> None:
    said("evaluate", vae, *QUICK, "--metrics", "nll", "frechet", "--binarise", "--seed", 3)
    before = json.loads((vae / "evaluation" / "figures.json").read_text())
    said(*shlex.split(before[0]["facts"]["command"])[1:])
    after = json.loads((vae / "evaluation" / "figures.json").read_text())
    assert [row["figures"] for row in after] == [row["figures"] for row in before]
    assert "static binarisation" in after[0]["figures"][0]["protocol"]


def test_images_of_another_program_beside_a_run(vae: Path, made: Path, said: Said, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    text = said("evaluate", vae, made, "--data", "digits", "--metrics", "frechet", "precision", *QUICK)
    assert "digits, test, 1 x 8 x 8; pca features; 40 samples, 40 real" in text
    said("evaluate", vae, "--metrics", "nll", *QUICK)
    for suffix in (".md", ".html", ".csv", ".json"):
        said("compare", vae, "evaluated/made", "--out", f"table{suffix}")
        assert "Frechet distance" in Path(f"table{suffix}").read_text()
    assert Path("table.html").read_text().count("<img") == 2
    table = Path("table.md").read_text()
    assert "| Frechet distance | " in table and "| NLL (nats per image) | " in table


def test_images_of_other_sizes_and_colours(made: Path, said: Said, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    few = ["--metrics", "frechet", *QUICK]
    colour, large = tmp_path / "colour", tmp_path / "large"
    for folder, change in ((colour, lambda it: it.convert("RGB")), (large, lambda it: it.resize((16, 16)))):
        folder.mkdir()
        for path in made.iterdir():
            change(Image.open(path)).save(folder / path.name)
    assert "samples of shape (3, 8, 8), real images of (1, 8, 8)" in said(
        "evaluate", colour, "--data", "digits", *few, status=1
    )
    assert "--size" in said("evaluate", large, "--data", "digits", *few, status=1)
    assert "Frechet" in said("evaluate", colour, "--data", "digits", "--channels", 1, *few)
    assert "Frechet" in said("evaluate", large, "--data", "digits", "--size", 8, *few)
    np.save(tmp_path / "array.npy", load("digits").splits["test"].images)
    assert "Frechet" in said("evaluate", tmp_path / "array.npy", "--data", "digits", *few)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "takes runs, or folders of images"),
        (["nowhere"], "there is no 'nowhere'"),
        (["{made}"], "say with --data beside which real ones"),
        (["{empty}", "--data", "digits"], "no images"),
        (["{vae}", "--metrics", "fid"], "unknown metric 'fid'"),
        (["{vae}", "--features", "vgg"], "unknown kind of features 'vgg'"),
        (["{vae}", "--split", "tests"], "no split 'tests'"),
        (["{vae}", "-k", "0", "--metrics", "nll"], "-k 0"),
        (["{vae}", "-n", "0"], "-n 0"),
        (["{vae}", "{made}", "--out", "x"], "--out is one folder"),
    ],
)
def test_refusals(vae: Path, made: Path, said: Said, tmp_path: Path, words: list[str], text: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"vae": vae, "made": made, "empty": tmp_path / "empty"}
    assert text in said("evaluate", *(word.format(**places) for word in words), status=1)
    assert not (vae / "evaluation").exists()


def test_a_pipe_is_told_what_goes_on_and_each_note_once(vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = ["precision", "density", "frechet", "kernel"]
    assert main(["evaluate", str(vae), *map(str, QUICK), "--metrics", *metrics]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"measuring {name}" for name in metrics]
    assert out.count("take at least 1,000 samples") == 1
    assert "  * precision, recall, density, coverage: depends on their number: take at least 1,000" in out
    assert re.search(r"^    coverage +\S+ ± \S+ \* ", out, re.M)
    sentence = " ".join(out[out.index("In short: ") :].split())
    assert re.search(r"further from the real images than .* \(kernel distance \S+, of training images \S+\);", sentence)


def test_compare_evaluates_what_is_not_evaluated(
    vae: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dae = Path(shutil.copytree(home / "dae", tmp_path / "dae"))
    assert main(["evaluate", str(vae), *map(str, QUICK), "--metrics", "elbo"]) == 0
    before = (vae / "evaluation" / "figures.json").read_bytes()
    capsys.readouterr()
    assert main(["compare", str(vae), str(dae)]) == 0
    out, err = capsys.readouterr()
    assert f"{dae} is not evaluated yet: ganvas evaluate {dae}\n" in err and "measuring probes" in err
    assert "ELBO" in out and "linear probe of codes" in out and "In short" not in out
    assert (vae / "evaluation" / "figures.json").read_bytes() == before
    main(["compare", str(vae), str(dae)])
    assert capsys.readouterr() == (out, "")
    later = (vae / "evaluation" / "figures.json").stat().st_mtime + 1
    os.utime(vae / "model" / "model.safetensors", (later, later))  # it was trained on
    main(["compare", str(vae), str(dae)])
    said = f"{vae} has another model since it was evaluated: ganvas evaluate {vae}\n"
    assert capsys.readouterr() == (out, said)


def test_a_metric_that_can_t_be_had_is_refused(vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(vae), "--metrics", "modes"]) == 1
    said = "ganvas: modes: the modes of 'digits' are not known: it takes ring, grid or stacked-mnist."
    assert capsys.readouterr() == ("", f"measuring modes\n{said}\n")
    assert not (vae / "evaluation").exists()


def test_refusals_of_compare(vae: Path, made: Path, said: Said) -> None:
    assert f"{made} has not been evaluated: ganvas evaluate {made}" in said("compare", vae, made, status=1)
    assert "there is no folder" in said("compare", vae, vae / "nowhere", status=1)
    assert not (vae / "evaluation").exists(), "what can't be is refused before there is any work"
    assert "takes runs" in said("compare", status=1)
    assert ".md, .html, .csv, .json" in said("compare", vae, "--out", "x.xlsx", status=1)
