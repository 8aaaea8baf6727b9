import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.ground.errors import UserError
from ganvas.notebook import show

FAST = {"data": "digits", "epochs": 2, "batch_size": 64, "device": "cpu", "precision": "float32"}


@pytest.mark.parametrize(
    "images",
    [
        np.full((4, 3, 64, 60), 0.5, np.float32),
        torch.full((4, 64, 60, 3), 128, dtype=torch.uint8),
        [Image.new("RGB", (60, 64), (128, 128, 128))] * 4,
    ],
    ids=["floats", "bytes", "pictures"],
)
def test_images_of_any_kind_become_the_same_picture(images: object) -> None:
    picture = show(images)
    assert picture.size == (2 * 62 + 2, 2 * 66 + 2) and picture.mode == "RGB"
    assert abs(picture.getpixel((30, 30))[0] - 128) <= 1  # type: ignore[index]


def test_single_images_and_points_and_files(tmp_path: Path) -> None:
    assert show(np.zeros((70, 60), np.uint8)).size == (64, 74)
    assert show(np.zeros((1, 70, 60), np.uint8)).mode == "L"
    assert show(torch.randn(50, 2)).size == (256, 256)
    Image.new("RGB", (60, 70), "red").save(tmp_path / "a.png")
    assert show(tmp_path / "a.png").getpixel((30, 30)) == (255, 0, 0)
    assert show(np.zeros((6, 70, 60)), columns=6).size == (6 * 62 + 2, 74)
    for wrong in (np.zeros((5, 9, 60, 60)), [], np.zeros(3), torch.zeros(0, 1, 8, 8)):
        with pytest.raises(UserError, match="images"):
            show(wrong)


def test_a_run_and_a_model_say_what_they_are(tmp_path: Path) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", **FAST)  # type: ignore[arg-type]
    assert re.fullmatch(r"<Run .*run: vae on digits, finished at step 40 of 40, test elbo \S+>", repr(run))
    assert re.fullmatch(r"<VAE of 1 x 8 x 8: latent_dim 20, [\d,]+ parameters>", repr(run.model))
    page = run._repr_html_()
    assert page.count("data:image/png;base64,") == 2 and "test elbo" in page and "polyline" in page
    assert "data:image/png" in run.model._repr_html_()
    assert torch.equal(run.sample(3, seed=1), run.model.sample(3, 1))
    assert set(run.history["split"]) >= {"train", "validation"} and len(run.history) == len(run.metrics)
    assert isinstance(run.findings, list)
    with pytest.raises(UserError, match=r"asked by its verbs: sample, .*encode"):
        run.model(torch.zeros(2, 1, 8, 8))


def test_an_autoencoder_has_no_samples_to_show(tmp_path: Path) -> None:
    model = ganvas.train("autoencoder", out=tmp_path / "run", **FAST).model  # type: ignore[arg-type]
    assert "img" not in model._repr_html_()


def test_the_public_names_can_be_completed() -> None:
    program = (
        "import sys, ganvas; print(*dir(ganvas)); assert 'torch' not in sys.modules\n"
        "assert ganvas.data.load and ganvas.explore.neighbours\n"
        "assert not {'Any', 'Mapping', 'BLOCK'} & set(dir(ganvas.explore)), dir(ganvas.explore)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == [
        "Run",
        "__version__",
        "data",
        "explore",
        "load",
        "resume",
        "show",
        "train",
        "tune",
    ], done
    assert not done.returncode, done.stderr
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; it has Run, .* train"):
        ganvas.trian  # noqa: B018


def test_in_a_notebook_a_training_shows_its_bar_and_the_run_its_pictures(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    out = str(tmp_path / "run")
    cells = [
        f"import ganvas\nrun = ganvas.train('vae', data='digits', epochs=2, batch_size=64, out={out!r})",
        "run",
        "run.model",
        "ganvas.show(run.sample(4))",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=120).execute()
    shown = [[output["data"] for output in cell.outputs if "data" in output] for cell in book.cells]
    assert any("<progress" in data["text/html"] for data in shown[0])
    assert all("data:image/png" in shown[i][-1]["text/html"] for i in (1, 2))
    assert "image/png" in shown[3][-1]
