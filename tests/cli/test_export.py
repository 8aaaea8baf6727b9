"""export, as a person types it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas import export

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
Said = Callable[..., str]


def test_onnx_files_beside_the_run(home: Path, said: Said) -> None:
    lines = said("export", home / "vae", "--onnx").splitlines()
    out = home / "vae" / "onnx"
    assert lines[0].split(maxsplit=2) == ["checked", "with", "the test split of digits"]
    assert [line.split()[0] for line in lines[1:-1]] == ["encoder.onnx", "sampler.onnx", "decoder.onnx", "example.py"]
    assert all("largest difference" in line and float(line.split()[-1]) < 1e-4 for line in lines[1:-2])
    assert lines[-1] == str(out) and {path.name for path in out.iterdir()} == {line.split()[0] for line in lines[1:-1]}
    session = onnxruntime.InferenceSession(out / "decoder.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["run"], facts["recipe"], facts["data"]) == ("vae", "vae", "digits")
    codes = np.random.default_rng(0).standard_normal((4, 3), np.float32)
    expected = ganvas.load(home / "vae").decode(torch.from_numpy(codes))
    np.testing.assert_allclose(session.run(None, {"codes": codes})[0], expected, atol=1e-5)


def test_a_model_without_its_run_is_checked_with_random_numbers(home: Path, tmp_path: Path, said: Said) -> None:
    lines = said("export", home / "model", "--onnx", "--out", tmp_path / "out").splitlines()
    assert lines[0].split(maxsplit=2) == ["checked", "with", "random numbers"]
    assert lines[-1] == str(tmp_path / "out")


@pytest.mark.skipif(not export.BUILT.is_dir(), reason="the page is not built")
def test_a_page(home: Path, tmp_path: Path, said: Said) -> None:
    lines = said("export", home / "dae", "--html", "--out", tmp_path / "taken").splitlines()
    assert lines[-2:] == [
        str(tmp_path / "taken"),
        f"to see it: python -m http.server --directory {tmp_path / 'taken'}",
    ]
    space = json.loads((tmp_path / "taken" / "space.json").read_text())
    assert (space["name"], space["recipe"], space["data"]) == ("dae", "denoising-autoencoder", "digits")
    assert (tmp_path / "taken" / "index.html").is_file() and (tmp_path / "taken" / "denoiser.onnx").is_file()


@pytest.mark.skipif(not export.BUILT.is_dir(), reason="the page is not built")
def test_a_page_that_is_one_file(home: Path, said: Said) -> None:
    lines = said("export", home / "vae", "--html", "--one-file").splitlines()
    assert lines[-1] == str(home / "vae" / "page.html")
    text = (home / "vae" / "page.html").read_text()
    names = ("runtime.wasm", "encoder.onnx", "prior.onnx", "decoder.onnx", "space.json", "atlas.json", "atlas.png")
    assert all(text.count(f'data-file="{name}">data:') == 1 for name in names)
    assert 'src="./' not in text and 'href="./' not in text, "it asks for no other file"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("vae", "takes --onnx or --html, or both: ganvas export vae --onnx"),
        ("vae --one-file", "ganvas export vae --html --one-file"),
        ("vae --onnx --html --out here", "--out here is one place, and --onnx and --html make two"),
        ("nothing --onnx", "there is no folder nothing."),
        ("unfinished --onnx", "unfinished has no model and no checkpoint yet"),
        ("vae --onnx --out full", "full holds something else than an export"),
        ("vae --onnx --out full/mine.txt", "holds something else than an export"),
        ("vae --onnx --data nope", "unknown data set 'nope'"),
        ("points --html", "points of shape (2,), not of images"),
    ],
)
def test_refusals(words: str, says: str, home: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    shutil.copytree("vae", "unfinished", ignore=shutil.ignore_patterns("model", "checkpoints"), dirs_exist_ok=True)
    (home / "full").mkdir(exist_ok=True)
    (home / "full" / "mine.txt").write_text("mine")
    points(home / "points")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert says in said("export", *words.split(), status=1)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before, "nothing is written"


def points(folder: Path) -> None:
    """A model of points."""
    from ganvas.models.gan import GAN, GANModel
    from ganvas.parts.nets.mlp import MLP

    net = MLP(hidden=(4,))
    GANModel(GAN(latent_dim=2, generator=net, discriminator=net, output="linear"), (2,)).save(folder)
