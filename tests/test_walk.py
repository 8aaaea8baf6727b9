"""Every family, two of an outside plugin among them, under every verb and every metric: an answer, or a sentence.

What is asked of a family that has it not is refused in a line that says so; nothing ends in a traceback.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import plugins
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import ganvas
from ganvas import hub
from ganvas.cli import VERBS, main
from ganvas.data import load
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.networks import classifier
from ganvas.evaluate.subject import Subject
from ganvas.ground.errors import UserError
from ganvas.ground.registry import kind
from ganvas.models import MODELS
from ganvas.models import base as models
from ganvas.recipes import RECIPES, Facts
from ganvas.recipes.gan_encoder import encoder_of
from ganvas.studio.app import make_app
from ganvas.studio.shelf import Shelf

PLUGINS = ("quantised", "flowing")
FAMILIES = ("vae", "autoencoder", "denoising-autoencoder", "denoiser", "gan", "semisupervised-gan")
FAMILIES = (*FAMILIES, "vae-gan", "vq-vae", *PLUGINS)
MADE = "gan-encoder"  # what `fit-encoder` makes of a GAN
FITTED = {"fitted-autoencoder", MADE}  # what `fit-prior` makes of an autoencoder
TINY: dict[str, Any] = {"data": "digits", "epochs": 1, "limit": 300, "device": "cpu", "precision": "float32"}
# Each verb that asks a model, as it is typed; {} is the run.
ASKED = {
    "show": "show {} --nets",
    "diagnose": "diagnose {}",
    "sample": "sample {} -n 4",
    "sample an array": "sample {} -n 4 --out {}/some.npy",
    "reconstruct": "reconstruct {} -n 4",
    "denoise": "denoise {} {}/image.png --noise 0.1",
    "complete": "complete {} --mask left -n 2",
    "complete an image": "complete {} {}/image.png --mask box 1 1 4 4 -n 2 --out {}/completed.npy",
    "encode a data set": "encode {} --out {}/codes.npz",
    "fit-prior": "fit-prior {} --components 2 -n 60",
    "fit-encoder": "fit-encoder {} --epochs 1 --device cpu",
    "manifold": "manifold {} -n 3",
    "manifold of points": "manifold {} -n 3 --points test:0 test:1 test:2",
    "manifold of samples": "manifold {} -n 3 --points 0 1 2",
    "interpolate": "interpolate {} -n 2 --steps 3",
    "interpolate points": "interpolate {} --steps 3 --points test:0 test:1",
    "arithmetic": "arithmetic {} -a class=1 -b class=2 -c class=3 --examples 2",
    "arithmetic of samples": "arithmetic {} -a 0,1 -b 2 -c 3",
    "turn": "turn {} --attribute class --low 1 --high 2 --examples 2 -n 2 --steps 3",
    "neighbours": "neighbours {} -n 4",
    "similar": "similar {} test:0 {}/image.png -k 2",
    "duplicates": "duplicates {}",
    "cluster": "cluster {} -n 2",
    "evaluate": "evaluate {} -n 60 -k 4 --features pca",
    "compare": "compare {}",
    "score": "score {} -n 2 --out {}/scored",
    "export": "export {} --onnx",
    "train longer": "train --resume {} --epochs 2",
}
OTHER = {"recipes", "data list", "data show", "studio", "reproduce", "speedrun"}  # ask no model, or many
OTHER |= {"push", "pull"}  # ask a server, see test_hub.py


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, plugins.registered():
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        predict = SimpleNamespace(predict=lambda images: np.arange(len(images)) % 10)
        patch.setattr(classifier, "train_classifier", lambda dataset: predict)  # one that costs nothing
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ganvas.Run]:
    """A short run of a family, trained once."""
    folder, runs = tmp_path_factory.mktemp("runs"), {}

    def run(family: str) -> ganvas.Run:
        if family not in runs:
            if family == MADE:
                recipe: Any = encoder_of(run("gan").recipe, run("gan").path, Facts())
                runs[family] = ganvas.train(recipe, out=folder / family, epochs=1)
            else:
                runs[family] = ganvas.train(family, out=folder / family, **TINY)
            pixels = (load("digits").splits["test"].images[0, :, :, 0]).astype(np.uint8)
            Image.fromarray(pixels).save(folder / family / "image.png")
        return runs[family]

    return run


def test_all_are_walked() -> None:
    kinds = {kind(type(RECIPES[family]().model)) for family in FAMILIES}
    assert kinds | FITTED == {*MODELS}
    assert {name for name in VERBS if any(line.split()[0] == name for line in ASKED.values())} == {*VERBS} - OTHER


@pytest.mark.parametrize("family", [*FAMILIES, MADE])
def test_a_card_for_the_hub(family: str, trained: Callable[[str], ganvas.Run]) -> None:
    run = trained(family)
    text = hub.card(run.model, "me/it", run, False, None, None)
    assert ("model.encode(images)" in text) == ("encode" in run.model.verbs())
    assert "ganvas train" in text and str(run.path.parent) not in text


@pytest.mark.parametrize("family", [*FAMILIES, MADE])
@pytest.mark.parametrize("asked", ASKED)
def test_a_verb_answers_or_says_why_not(
    family: str, asked: str, trained: Callable[[str], ganvas.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    if asked == "export" and family not in PLUGINS:
        pytest.skip("slow, and done by test_export.py with every family")
    path = trained(family).path
    capsys.readouterr()
    status = main([word.replace("{}", str(path)) for word in ASKED[asked].split()])
    said = capsys.readouterr()
    if status:
        last = said.err.strip().splitlines()[-1]
        assert status in (1, 2) and last.startswith("ganvas: ") and len(last) < 400, said.err
        assert "Error" not in last and "object has no attribute" not in last
    else:
        assert said.out.strip()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("asked", METRICS)
def test_a_metric_gives_figures_or_says_why_not(family: str, asked: str, trained: Callable[[str], ganvas.Run]) -> None:
    subject = Subject(load("digits"), trained(family).model, n=60, draws=4, spaces=("pca",))
    try:
        figures = list(METRICS[asked](subject))
    except UserError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    assert figures and all(math.isfinite(it.value) and it.protocol for it in figures)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("asked", models.VERBS)
def test_a_model_has_a_verb_or_says_who_has(family: str, asked: str, trained: Callable[[str], ganvas.Run]) -> None:
    model: Any = trained(family).model
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    try:
        verb = getattr(model, asked)
    except models.UnsupportedError as error:
        assert f"has no {asked}" in str(error)
        return
    given = torch.zeros(5, model.latent_dim) if asked == "decode" else 5 if asked == "sample" else images
    answer = verb(images, "left", n=1)[:, 0] if asked == "complete" else verb(given)
    assert len(answer) == 5 and bool(torch.isfinite(answer.double()).all())
    assert asked in ("encode", "log_prob", "classify", "score_samples") or answer.shape == (5, 1, 8, 8)


@pytest.mark.parametrize("family", PLUGINS)
@pytest.mark.parametrize("asked", ["loss in words"])
def test_a_loss_is_called_what_it_is(
    family: str, asked: str, trained: Callable[[str], ganvas.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    """A plugin's is no squared error per image: of the one it holds more, of the other there is no image to err in."""
    run = trained(family)
    assert main(["show", str(run.path)]) == 0
    shown, test = capsys.readouterr().out, run.state["test"]
    if family == "quantised":
        assert re.search(rf"test reconstruction +{test['reconstruction']:.4g} squared error per image\n", shown)
    else:
        assert f"loss {test['loss']:.4g}" in shown and "squared error" not in shown


@pytest.mark.parametrize("family", PLUGINS)
@pytest.mark.parametrize("asked", ["/api/space", "/api/atlas", "/api/samples", "/api/encode", "/api/denoise"])
def test_the_studio_answers_or_says_why_not(family: str, asked: str, trained: Callable[[str], ganvas.Run]) -> None:
    path = trained(family).path
    with TestClient(make_app(path.parent, host="127.0.0.1", port=8765), base_url="http://127.0.0.1:8765") as client:
        whole = {"content": (path / "image.png").read_bytes()} if asked in ("/api/encode", "/api/denoise") else {}
        answer = client.request("POST" if whole else "GET", asked, params={"run": family}, **whole)
    assert answer.status_code in (200, 400, 409), answer.text
    assert answer.status_code == 200 or answer.json()["error"].endswith(".")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("asked", ["verbs on the page"])
def test_the_studio_s_list_has_the_verbs_of_the_model(
    family: str, asked: str, trained: Callable[[str], ganvas.Run]
) -> None:
    run = trained(family)
    assert Shelf(run.path.parent).summaries()[family]["verbs"] == [
        verb for verb in models.VERBS if hasattr(run.model, verb)
    ]


@pytest.mark.parametrize("family", PLUGINS)
def test_a_plugin_trains_and_is_read_again(family: str, trained: Callable[[str], ganvas.Run], tmp_path: Path) -> None:
    run = trained(family)
    assert run.state["state"] == "finished"
    model = run.model
    again = ganvas.load(model.save(tmp_path / "model"))
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))
