"""train, resume, recipes, show."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganvas.cli import main
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.recipes import RECIPES
from ganvas.training.run import Run

Said = Callable[..., str]

TINY = ["--data", "digits", "--epochs", "1", "--latent-dim", "3", "--device", "cpu", "--out"]


def test_recipes(said: Said) -> None:
    assert all(name in said("recipes") for name in RECIPES)


def test_train_says_how_good_it_is_and_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    run = tmp_path / "run"
    flags = "--binarise --strict --schedule constant --patience 3 --seed 4 --lr 1e-3 --precision float32 --size 6 4"
    printed = said("train", "vae", *TINY, run, *flags.split(), "--channels", 3, "--batch-size", 64)
    test = Run(run).state["test"]
    parts = f"(reconstruction {test['reconstruction']:.4g}, KL {test['kl']:.4g})"
    assert f"test ELBO        {test['elbo']:.4g} nats per image {parts}" in printed
    assert str(run / "samples" / "epoch-0001.png") in printed
    assert f"ganvas encode {run} --out features.npz" in printed
    assert printed.count("\n") <= 8
    recipe = Run(run).recipe
    assert (recipe.data.size, recipe.data.channels, recipe.data.binarise) == ((6, 4), 3, True)
    assert (recipe.training.schedule, recipe.training.patience, recipe.training.seed) == ("constant", 3, 4)
    # Without --data: the run's own, prepared as it was.
    monkeypatch.chdir(tmp_path)
    said("encode", run)
    images = load("digits", size=(6, 4), channels=3, binarise=True).splits["test"].images
    assert np.array_equal(np.load("features.npz")["test"], Run(run).model.encode(to_tensor(images)))


def test_progress_without_a_terminal_is_a_line_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    flags = ["--epochs", "5", "--batch-size", "32", "--latent-dim", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "autoencoder", "--data", "digits", *flags]) == 0
    chosen, *lines = capsys.readouterr().err.splitlines()
    assert chosen == "net: mlp (8 x 8, grey)"
    assert 1 <= len(lines) <= 10
    assert all(re.fullmatch(r"step [\d,]+ of 200  loss \S+  [\d,]+ images/s", line) for line in lines)


def test_show(home: Path, said: Said) -> None:
    shown = said("show", home / "vae")
    for line in (
        "recipe           vae",
        "  latent_dim     3",
        "digits, 1 x 8 x 8",
        "test ELBO",
        "finished at step 10 of 10",
    ):
        assert line in shown
    assert "(" not in shown.replace("(reconstruction", "")  # no repr
    assert "validation " in shown and str(home / "vae" / "model") in shown


def test_show_as_a_file_to_mail(home: Path, said: Said, tmp_path: Path) -> None:
    """It holds its pictures and a curve of every figure, and asks for nothing from elsewhere."""
    assert said("show", home / "vae", "--html") == f"{home / 'vae' / 'show.html'}\n"
    text = (home / "vae" / "show.html").read_text()
    assert text.count("data:image/png;base64,") == 2 and "<th>recipe</th><td>vae</td>" in text
    assert "http" not in text.replace("http-equiv", "") and str(home) not in text
    said("show", home / "vae", "--html", "--out", tmp_path / "it.html")
    assert (tmp_path / "it.html").read_text() == text
    (home / "vae" / "show.html").unlink()


def test_show_s_out_is_of_html(home: Path, said: Said) -> None:
    assert "--out x.html is of --html" in said("show", home / "vae", "--out", "x.html", status=1)


def test_show_nets(home: Path, said: Said) -> None:
    shown = said("show", home / "vae", "--nets")
    assert shown.startswith(said("show", home / "vae")) and "\nvae\nlayer " in shown
    weights = sum(weight.numel() for weight in Run(home / "vae").model.parameters())
    assert shown.splitlines()[-1].split() == ["sum", f"{weights:,}"]
