import asyncio
import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.applications import Starlette

from ganvas.data import Dataset, load
from ganvas.models import Model
from ganvas.models.base import FAMILIES
from ganvas.recipes import RECIPES, Data
from ganvas.studio import safety, studied
from ganvas.studio.studied import CannotError, Held, Studied
from ganvas.studio.workers import SlowError
from ganvas.training import checkpoint

PATIENCE = 30.0


@pytest.fixture(scope="module", autouse=True)
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load("digits", progress=False)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at each time."""
    monkeypatch.setattr(studied, "FRESH", 0.0)


class Folder:
    """Runs below a folder, by their names."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def find(self, run: str) -> Path:
        return self.path / run

    def make(self, run: str, seed: int = 0, recipe: str = "vae", **settings: Any) -> Model:
        """A run without a model, and the model that it might have."""
        folder = self.path / run
        folder.mkdir(parents=True, exist_ok=True)
        it = dataclasses.replace(RECIPES[recipe](**{"latent_dim": 3, **settings}), data=Data(source="digits"))
        (folder / "recipe.json").write_text(it.to_json())
        facts = {"fingerprint": self.fingerprint, "shape": (1, 8, 8), "preparation": "", "versions": {}}
        (folder / "data.json").write_text(json.dumps(facts))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return FAMILIES[type(it.model)](it.model, (1, 8, 8)).eval()

    def finish(self, run: str, seed: int = 0, **settings: Any) -> Model:
        model = self.make(run, seed, **settings)
        model.save(self.path / run / "model")
        return model

    def check(self, run: str, step: int, seed: int) -> Model:
        """A run with a checkpoint."""
        model = self.make(run, seed)
        place = self.path / run / "checkpoints"
        place.mkdir(parents=True, exist_ok=True)
        tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
        checkpoint.save(place, {**tensors, "vae/0/step": torch.zeros(())}, checkpoint.Facts(step=step, seconds=0.0))
        return model


@pytest.fixture
def folder(tmp_path: Path, digits: Dataset) -> Folder:
    return Folder(tmp_path, digits.fingerprint)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


def same(held: Held, model: Model) -> bool:
    z = torch.ones(1, 3)
    return torch.allclose(held.model.decode(z), model.decode(z), atol=1e-5)


def counted(monkeypatch: pytest.MonkeyPatch, wait: Callable[[], Any] = lambda: None) -> list[str]:
    """The runs that are loaded, each after `wait`."""
    loads: list[str] = []
    original = studied.load

    def count(run: str, *more: Any) -> Held:
        loads.append(run)
        wait()
        return original(run, *more)

    monkeypatch.setattr(studied, "load", count)
    return loads


def test_a_finished_model_and_what_it_was_trained_on(folder: Folder, digits: Dataset) -> None:
    model = folder.finish("some/vae")
    held = run(Studied(folder).held("some/vae"))
    assert same(held, model) and not held.model.training
    assert (held.id, held.name, held.recipe, held.data) == ("some/vae", "vae", "vae", "digits")
    assert held.dataset is not None
    for name, split in digits.splits.items():
        assert (held.dataset.splits[name].images == split.images).all()
        assert (held.dataset.splits[name].labels == split.labels).all()
    for field in ("name", "source", "shape", "classes", "attributes", "fingerprint", "preparation"):
        assert getattr(held.dataset, field) == getattr(digits, field)


@pytest.mark.parametrize("facts", ["gone", "{}", "damaged", '{"fingerprint": 3}'])
def test_data_that_is_gone_is_not_fetched(folder: Folder, facts: str) -> None:
    folder.fingerprint = "0" * 64
    folder.finish("vae")
    if facts == "damaged":
        (folder.path / "vae" / "data.json").write_text("{")
    elif facts != "gone":
        (folder.path / "vae" / "data.json").write_text(facts)
    held = run(Studied(folder).held("vae"))
    assert held.dataset is None
    assert json.loads(held.space())["by"] == "change of the image"
    assert json.loads(held.atlas())["of"] == "samples"


def test_a_training_shows_its_newest_checkpoint_until_it_has_a_model(folder: Folder) -> None:
    models = Studied(folder)
    folder.make("vae")
    with pytest.raises(CannotError, match="no model yet") as error:
        run(models.held("vae"))
    assert error.value.code == 409
    for step in (10, 200):
        model = folder.check("vae", step, seed=step)
        assert same(run(models.held("vae")), model)
    model = folder.finish("vae", seed=1)
    assert same(run(models.held("vae")), model)


def test_a_model_is_loaded_once_for_all_who_ask(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.finish("vae")
    models, inside, go_on = Studied(folder), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    loads = counted(monkeypatch, wait)

    async def main() -> list[Held]:
        asked = [asyncio.create_task(models.held("vae")) for _ in range(20)]
        while not inside.is_set():
            await asyncio.sleep(0)  # the loop is not blocked by the load
        asked[0].cancel()  # and what was asked for goes on without the first who asked
        go_on.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        return [it for it in found[1:] if isinstance(it, Held)] + [await models.held("vae")]

    found = run(main())
    assert len(found) == 20 and all(it is found[0] for it in found) and loads == ["vae"]


def test_a_file_that_changes_is_loaded_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Studied(folder)
    loads = counted(monkeypatch)
    for seed in (1, 2):
        model = folder.finish("vae", seed)
        assert same(run(models.held("vae")), model)
        assert same(run(models.held("vae")), model)
    assert loads == ["vae", "vae"]


def test_a_file_is_not_looked_at_for_each_picture(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studied, "FRESH", 1000.0)
    folder.finish("vae")
    models = Studied(folder)
    first = run(models.held("vae"))
    monkeypatch.setattr(folder, "find", None)
    assert run(models.held("vae")) is first


def test_those_not_asked_for_the_longest_are_dropped(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = counted(monkeypatch)
    models = Studied(folder, models=2)
    for name in "abc":
        folder.finish(name)

    async def main() -> None:
        for name in "abacabcb":
            await models.held(name)

    run(main())
    assert "".join(loads) == "abcbc"
    assert list(models._held) == ["c", "b"]


def test_bytes_are_bounded(folder: Folder) -> None:
    for name in "abc":
        folder.finish(name)
    size = run(Studied(folder).held("a")).bytes
    parameters = folder.make("a").state_dict().values()
    assert size == sum(tensor.numel() * 4 for tensor in parameters)

    async def main(models: Studied) -> list[str]:
        for name in "abc":
            await models.held(name)
        return list(models._held)

    assert run(main(Studied(folder, size=3 * size))) == ["a", "b", "c"]
    assert run(main(Studied(folder, size=3 * size - 1))) == ["b", "c"]
    assert run(main(Studied(folder, size=1))) == ["c"], "the last one stays whatever it takes"


def test_answers_count_among_the_bytes(folder: Folder) -> None:
    folder.finish("a")
    held = run(Studied(folder).held("a"))
    before = held.bytes
    answer = held.atlas()
    chart, codes = held._chart().thumbnails, 250 * 3 * 8
    assert held.bytes == before + len(answer) + chart.nbytes + 2 * codes + 250 * 8


@pytest.mark.parametrize("damage", ["weights", "settings", "recipe", "checkpoint"])
def test_a_damaged_model_is_said_so_and_may_be_repaired(folder: Folder, damage: str) -> None:
    model = folder.check("vae", 5, seed=0) if damage == "checkpoint" else folder.finish("vae")
    path = {
        "weights": "model/model.safetensors",
        "settings": "model/config.json",
        "recipe": "recipe.json",
        "checkpoint": "checkpoints/step-000000005.safetensors",
    }[damage]
    file = folder.path / "vae" / path
    whole = file.read_bytes()
    models = Studied(folder)
    file.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        with pytest.raises(CannotError, match="the model of vae can't be read: "):
            run(models.held("vae"))
    file.write_bytes(whole)
    assert same(run(models.held("vae")), model)


CHECKPOINTS = ["checkpoints/step-000000005.safetensors", "checkpoints/best/model.safetensors"]


@pytest.mark.parametrize("file", ["recipe.json", "data.json", "model/model.safetensors", *CHECKPOINTS])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link out", "folder's link out"])
def test_a_model_is_loaded_from_files_of_its_run_alone(folder: Folder, file: str, kind: str) -> None:
    folder.check("vae", 5, seed=0) if file in CHECKPOINTS else folder.finish("vae")
    path = folder.path / "vae" / file
    if path.parent.name == "best":
        path.parent.mkdir()
        (path.parent / "config.json").write_text("{}")
    outside = folder.path / "outside" / path.name
    outside.parent.mkdir()
    path.rename(outside) if path.exists() else outside.write_text("{}")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "folder's link out" and path.parent.name != "vae":
        for other in path.parent.iterdir():
            other.rename(outside.parent / other.name)
        path.parent.rmdir()
        path.parent.symlink_to(outside.parent)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else outside)
    with pytest.raises(
        safety.RefusedError, match=f"^'{file}' is a link that leads out|^{path.name} is no regular file"
    ):
        run(Studied(folder).held("vae"))


@pytest.mark.parametrize("part", ["model", "checkpoints/best"])
def test_settings_that_are_no_file_are_none(part: str, folder: Folder) -> None:
    model = folder.check("vae", 5, seed=0)
    (folder.path / "vae" / part).mkdir()
    os.mkfifo(folder.path / "vae" / part / "config.json")
    assert same(run(Studied(folder).held("vae")), model)


def test_settings_that_are_a_link_out_are_refused(folder: Folder) -> None:
    folder.finish("vae")
    config = folder.path / "vae" / "model" / "config.json"
    config.rename(folder.path / "config.json")
    config.symlink_to(folder.path / "config.json")
    with pytest.raises(safety.RefusedError, match=r"'model/config\.json' is a link that leads out"):
        run(Studied(folder).held("vae"))


def test_of_several_checkpoints_the_first_that_can_be_read(folder: Folder) -> None:
    model = folder.check("vae", 5, seed=0)
    folder.check("vae", 6, seed=1)
    (folder.path / "vae" / "checkpoints" / "step-000000006.safetensors").write_bytes(b"damaged")
    assert same(run(Studied(folder).held("vae")), model)


def test_a_link_within_the_run_is_followed(folder: Folder) -> None:
    model = folder.finish("vae")
    (folder.path / "vae" / "model").rename(folder.path / "vae" / "kept")
    (folder.path / "vae" / "model").symlink_to("kept")
    assert same(run(Studied(folder).held("vae")), model)


@pytest.mark.parametrize("way", ["a pipe", "an event"])
def test_a_model_that_hangs_keeps_no_other_from_being_loaded(
    way: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studied, "LOADING", 0.5)
    hangs = [f"hangs {n}" for n in range(studied.WORKERS + 1)]  # more than there are threads at a time
    for name in (*hangs, "vae"):
        folder.finish(name)
        os.mkfifo(folder.path / name / "pipe")
    go_on, original = threading.Event(), studied.load

    def load(name: str, path: Path) -> Held:
        if name == "vae":
            return original(name, path)
        if way == "an event":
            assert go_on.wait(PATIENCE)
        with (path / "pipe").open("rb") as file:  # it waits for who writes, and holds no lock of Python's
            assert not file.read()
        return original(name, path)

    monkeypatch.setattr(studied, "load", load)
    original("vae", folder.path / "vae")  # what is imported with the first takes long
    models = Studied(folder)

    async def main() -> None:
        found = await asyncio.gather(*(models.held(name) for name in [*hangs] * 20), return_exceptions=True)
        assert all(isinstance(it, SlowError) and "loading the model of hangs" in str(it) for it in found)
        assert isinstance(await models.held("vae"), Held)
        began = time.monotonic()
        with pytest.raises(SlowError):  # remembered
            await models.held(hangs[0])
        assert time.monotonic() - began < 0.5

    try:
        run(main())
    finally:
        go_on.set()
        for name in hangs:
            with contextlib.suppress(OSError):  # nobody waits
                os.close(os.open(folder.path / name / "pipe", os.O_WRONLY | os.O_NONBLOCK))


def test_an_answer_is_computed_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.latent import atlas

    folder.finish("vae")
    models, calls, inside, go_on = Studied(folder), [], threading.Event(), threading.Event()
    original = atlas.chart

    def chart(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        inside.set()
        assert go_on.wait(PATIENCE)
        return original(*arguments, **named)

    monkeypatch.setattr(atlas, "chart", chart)

    async def main() -> None:
        held = await models.held("vae")
        asked = [asyncio.create_task(models.ask(ask)) for ask in (held.atlas, held.thumbnails, held.atlas)]
        while not inside.is_set():
            await asyncio.sleep(0)
        # While that goes on, pictures are decoded and other models loaded.
        assert (await held.decoder.decode(np.zeros((1, 3), np.float32))).shape == (1, 8, 8, 1)
        folder.finish("other")
        assert await models.held("other") is not held
        go_on.set()
        first, picture, second = await asyncio.gather(*asked)
        assert first is second and json.loads(first)["columns"] == 16
        assert picture.startswith(b"\x89PNG") and held.thumbnails() is picture

    run(main())
    assert calls == [1]


def test_test_images_are_encoded_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.latent import atlas

    folder.finish("vae")
    held = run(Studied(folder).held("vae"))
    calls, original = [], atlas.encoded
    monkeypatch.setattr(atlas, "encoded", lambda *arguments: (calls.append(1), original(*arguments))[1])
    held.space(), held.atlas(), held.thumbnails()
    assert calls == [1]


def test_what_a_model_can_not_is_said_each_time_and_a_fault_may_pass(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvas.latent import atlas

    folder.fingerprint = "0" * 64
    folder.finish("ae", recipe="autoencoder")
    held = run(Studied(folder).held("ae"))
    for ask in (held.atlas, held.thumbnails, held.atlas):
        with pytest.raises(CannotError, match=r"no P\(z\)"):
            ask()
    with monkeypatch.context() as patch:
        patch.setattr(atlas, "space", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            held.space()
    assert json.loads(held.space())["name"] == "ae"


def test_the_answers_are_those_of_the_atlas(folder: Folder, digits: Dataset) -> None:
    from ganvas.latent import atlas

    model = folder.finish("vae")
    held = run(Studied(folder).held("vae"))
    expected = atlas.space(model, digits, id="vae", name="vae", recipe="vae", data="digits")
    found = json.loads(held.space())
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["weight"], expected["weight"], rtol=1e-3)
    chart = atlas.chart(model, digits)
    assert json.loads(held.atlas())["rows"] == chart.atlas["rows"]
    with Image.open(io.BytesIO(held.thumbnails())) as picture:
        assert (np.asarray(picture) == chart.thumbnails[..., 0]).all()


def test_an_app_has_one(folder: Folder) -> None:
    app = Starlette()
    app.state.shelf = folder
    assert studied.of(app) is studied.of(app) and studied.of(app).shelf is folder


def test_the_server_starts_without_torch() -> None:
    code = "import sys, ganvas.studio.asks, ganvas.studio.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
