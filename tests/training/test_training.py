import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ganvas
from ganvas.ground.errors import UserError
from ganvas.recipes import RECIPES, Data, Recipe
from ganvas.training.game import Game
from ganvas.training.run import Run

FAST = {"data": "digits", "epochs": 3, "batch_size": 64, "device": "cpu", "precision": "float32"}


@pytest.mark.parametrize("recipe", ["autoencoder", "denoising-autoencoder", "vae", "gan", "vq-vae"])
def test_every_recipe_trains_to_a_run_that_can_be_read(recipe: str, tmp_path: Path) -> None:
    run = ganvas.train(recipe, out=tmp_path / "run", **FAST)
    assert run.state["state"] == "finished"
    assert type(run.model) is type(ganvas.load(run.path)) and (run.path / "model" / "model.safetensors").is_file()
    assert (run.path / "recipe.json").read_text() == run.recipe.to_json()
    rows = run.metrics
    assert rows and all(np.isfinite(v) for row in rows for v in row.values() if isinstance(v, float))
    assert list((run.path / ("samples" if recipe in ("vae", "gan", "vq-vae") else "reconstructions")).glob("*.png"))


@pytest.mark.parametrize("channels", [2, 4, 7])
@pytest.mark.parametrize("recipe", ["autoencoder", "vae", "gan", "vae-gan", "vq-vae"])
def test_images_of_any_number_of_channels(recipe: str, channels: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8, channels), np.uint8)
    settings: dict[str, Any] = (
        {"hidden": (8,)} if recipe == "gan" else {"filters": 4} if recipe == "vq-vae" else {"net": "mlp"}
    )
    run = ganvas.train(recipe, out=tmp_path / "run", **FAST | {"data": images, "epochs": 1}, **settings)
    assert run.model.shape == (channels, 8, 8) and [*run.path.glob("*/epoch-0001.png")]


def test_a_recipe_object_and_a_data_set_are_taken_wherever_a_name_is(tmp_path: Path) -> None:
    from ganvas.data import load

    data = load("digits", limit=200)
    named = ganvas.train("vae", data=data, latent_dim=3, out=tmp_path / "named", epochs=2, batch_size=50, seed=4)
    again = ganvas.train(named.recipe, out=tmp_path / "again")
    assert again.recipe == named.recipe and again.dataset().fingerprint == data.fingerprint
    assert torch.equal(again.sample(4), named.sample(4))
    longer = ganvas.train(again.recipe, data="digits", epochs=3, out=tmp_path / "longer")
    assert longer.state["steps"] == 3 * (len(longer.dataset().splits["train"]) // 50)
    with pytest.raises(UserError, match=r"latent_dim: a Recipe has its settings; give the name 'vae'"):
        ganvas.train(named.recipe, latent_dim=4, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_a_gan_learns_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(3.0, 0.1, (600, 2)).astype(np.float32)
    run = ganvas.train("gan", data=points, epochs=60, batch_size=50, out=tmp_path / "run", lr=1e-3, hidden=(64, 64))
    assert run.model.sample(500).mean(0).numpy() == pytest.approx([3.0, 3.0], abs=0.5)


def test_training_lowers_the_loss_that_it_reports(tmp_path: Path) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", **{**FAST, "epochs": 12})
    elbos = [row["elbo"] for row in run.metrics if row["split"] == "validation"]
    assert len(elbos) == 12 and elbos[-1] > elbos[0] + 1


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [("vae", {"hidden": (16,)}), ("gan", {"hidden": (16,)}), ("dcgan", {"size": 16, "filters": 4})],
    ids=["vae", "gan", "dcgan"],
)
def test_a_run_killed_at_random_moments_ends_as_an_unbroken_one(recipe: str, settings: Any, tmp_path: Path) -> None:
    program = (
        "import sys, ganvas; from ganvas.training import loop; loop.CHECKPOINT_SECONDS = 0.05\n"
        "from pathlib import Path; out = Path(sys.argv[1])\n"
        "if (out / 'recipe.json').exists(): ganvas.resume(out)\n"
        "else: ganvas.train(data='digits', out=out, epochs=8, batch_size=64, device='cpu', "
        f"recipe={recipe!r}, **{settings!r})"
    )
    start = [sys.executable, "-c", program]
    subprocess.run([*start, str(tmp_path / "whole")], check=True)
    moments, kills, log = random.Random(5), 0, tmp_path / "broken" / "metrics.jsonl"
    while True:
        spawned = time.time()
        process = subprocess.Popen([*start, str(tmp_path / "broken")])
        while process.poll() is None and not (log.exists() and log.stat().st_mtime > spawned):
            time.sleep(0.005)
        try:
            process.wait(0.05 + 0.3 * moments.random() if kills < 3 else 300)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills >= 1

    def weights(name: str) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / name / "model" / "model.safetensors")

    def rows(name: str) -> list[dict[str, Any]]:
        # When the watch looks depends on the time that training takes.
        kept = [row for row in Run(tmp_path / name).metrics if row["split"] != "watch"]
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in kept]

    assert all(torch.equal(tensor, weights("broken")[key]) for key, tensor in weights("whole").items())
    assert rows("whole") == rows("broken")


def test_nan_stops_at_once_and_names_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Game.play

    def poisoned(game: Game) -> dict[str, torch.Tensor]:
        parts = step(game)
        return {**parts, "kl": parts["kl"] * float("nan")} if game.step == 7 else parts

    monkeypatch.setattr(Game, "play", poisoned)
    with pytest.raises(UserError, match=r"kl became nan at step 7; there is no checkpoint"):
        ganvas.train("vae", out=tmp_path / "run", **FAST)
    assert Run(tmp_path / "run").state["state"] == "failed"


def test_interrupt_finishes_the_step_saves_and_goes_on(tmp_path: Path) -> None:
    def interrupt(step: int, *_: Any) -> None:
        if step == 48:
            os.kill(os.getpid(), signal.SIGINT)

    data = np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8)
    run = ganvas.train("vae", data=data, epochs=12, out=tmp_path / "run", report=interrupt)
    assert run.state["state"] == "interrupted" and run.state["step"] == 48
    assert ganvas.resume(run.path).state["state"] == "finished"


@pytest.mark.parametrize(
    ("recipe", "settings", "says"),
    [
        ("vea", {}, "unknown recipe 'vea'. Did you mean 'vae'?"),
        ("vae", {"latent_dims": 3}, "unknown setting of vae 'latent_dims'. Did you mean 'latent_dim'?"),
        ("vae", {"latent_dim": 0}, "latent_dim: 0 is refused"),
        ("vae", {"batch_size": 5000}, "--batch-size 5000 is larger than the 1297"),
        ("vae", {"data": "ring", "likelihood": "bernoulli"}, "take --likelihood gaussian"),
        ("dcgan", {"data": "ring"}, "the DCGAN net needs images"),
        ("vae", {"device": "cuda:7"}, "--device cuda:7 can't be used here"),
        ("vae", {"epochs": 0}, "epochs: 0 is refused"),
        ("vae", {"data": "no-such-set"}, "no-such-set"),
    ],
)
def test_wrong_settings_fail_before_training(recipe: str, settings: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        ganvas.train(recipe, out=tmp_path / "run", **{**FAST, **settings})
    assert says in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_one_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    refused: list[str] = []

    def again(step: int, *_: Any) -> None:
        with pytest.raises(UserError, match="is being trained by another process") as error:
            ganvas.resume(tmp_path / "run")
        refused.append(str(error.value))

    data = np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8)
    run = ganvas.train("vae", data=data, epochs=5, out=tmp_path / "run", report=again)
    assert refused and run.state["state"] == "finished"


def test_tensorboard_and_patience_and_schedule(tmp_path: Path) -> None:
    long: Any = {**FAST, "epochs": 400, "lr": 0.01, "patience": 1, "schedule": "constant", "track": ("tensorboard",)}
    run = ganvas.train("vae", out=tmp_path / "run", **long)
    validated = [row["loss"] for row in run.metrics if row["split"] == "validation"]
    assert len(validated) < 400 and validated[-1] >= min(validated) and run.recipe.training.schedule == "constant"
    assert list((run.path / "tensorboard").glob("events.*"))


def test_tensorboard_has_the_pictures_of_each_epoch(tmp_path: Path) -> None:
    import io

    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = ganvas.train("vae", out=tmp_path / "run", track=("tensorboard",), fit=0, **FAST)
    seen = EventAccumulator(str(run.path / "tensorboard"), {"images": 0})
    seen.Reload()
    assert sorted(seen.Tags()["images"]) == ["reconstructions", "samples"]
    for name in seen.Tags()["images"]:
        files = sorted((run.path / name).glob("*.png"))
        shown = seen.Images(name)
        assert [event.step for event in shown] == [20, 40, 60]
        for event, file in zip(shown, files, strict=True):
            picture = Image.open(io.BytesIO(event.encoded_image_string)).convert("L")
            assert np.array_equal(np.asarray(picture), np.asarray(Image.open(file).convert("L")))


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (2, 2)])
def test_a_warm_up_is_not_carried_over(before: int, after: int, tmp_path: Path) -> None:
    first = ganvas.train("iwae", warmup=before, out=tmp_path / "first", **{**FAST, "epochs": 1})
    second = ganvas.train("iwae", warmup=after, init=first.path, out=tmp_path / "second", **{**FAST, "epochs": 1})
    assert ("moves" in second.model.state_dict()) == bool(after)
    if after:
        assert second.model.moves == second.state["steps"], "it counts from 0"


def test_snapshots_are_models_evenly_spaced_and_the_last_at_the_end(tmp_path: Path) -> None:
    run = ganvas.train("gan", snapshots=4, out=tmp_path / "run", **FAST)
    steps = run.state["steps"]
    assert list(run.snapshots) == [-(-steps * i // 4) for i in (1, 2, 3, 4)]
    first, *_, last = (ganvas.load(folder).sample(9) for folder in run.snapshots.values())
    assert torch.equal(last, run.model.sample(9)) and not torch.allclose(first, last, atol=1e-2)
    assert not ganvas.train("gan", out=tmp_path / "other", **FAST).snapshots


def test_it_begins_with_the_weights_of_another_run(tmp_path: Path) -> None:
    first = ganvas.train("vae", out=tmp_path / "first", **FAST)
    still = {**FAST, "lr": 1e-12, "epochs": 1}
    second = ganvas.train("vae", beta=0.5, init=first.path, out=tmp_path / "second", **still)
    begun_with = {name: w for name, w in first.model.state_dict().items() if not name.startswith("prior.")}
    assert len(begun_with) < len(first.model.state_dict()), "P(z) was fitted"
    for name, weight in begun_with.items():
        torch.testing.assert_close(second.model.state_dict()[name], weight, rtol=0, atol=1e-6)
    assert second.recipe.training.init == str(first.path.absolute())
    # A run that was killed before its first checkpoint begins with them, too; with one it does not need them.
    shutil.rmtree(second.path / "checkpoints")
    second.note(state="interrupted", step=0)
    assert torch.equal(ganvas.resume(second.path).model.sample(4), second.model.sample(4))
    shutil.rmtree(first.path)
    second.note(state="interrupted", step=0)
    ganvas.resume(second.path)
    with pytest.raises(UserError, match=r"first"):
        ganvas.train("vae", init=first.path, out=tmp_path / "third", **still)
    with pytest.raises(UserError, match=r"--init .*second: its .* is \(.*\), and \(.*\) in the model"):
        ganvas.train("vae", latent_dim=3, init=second.path, out=tmp_path / "third", **still)
    assert not (tmp_path / "third").exists()


def test_an_average_begins_at_the_generator_of_a_run_that_kept_none(tmp_path: Path) -> None:
    first = ganvas.train("gan", out=tmp_path / "first", **FAST)
    still = {**FAST, "lr": 1e-12, "epochs": 1}
    second = ganvas.train("gan", ema=0.9, init=first.path, out=tmp_path / "second", **still)
    before, after = first.model.state_dict(), second.model.state_dict()
    assert after["average.moves"] == second.state["steps"]
    for name, weight in second.model.average.net.named_parameters():
        torch.testing.assert_close(weight, before[f"generator.net.{name}"], rtol=0, atol=1e-6)
    third = ganvas.train("gan", ema=0.9, init=second.path, out=tmp_path / "third", **still)
    assert third.model.average.moves == 2 * second.state["steps"], "an average that was kept goes on"


def test_a_recipe_that_needs_labels_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def labelled() -> Recipe:
        made: Recipe = RECIPES["vae"]()
        return dataclasses.replace(made, data=Data(labelled=True))

    monkeypatch.setitem(RECIPES, "labelled", labelled)
    with pytest.raises(UserError, match=r"needs labels and .* has none: sort the images into a subfolder"):
        ganvas.train("labelled", data=np.zeros((200, 8, 8), np.uint8), out=tmp_path / "run")
    assert ganvas.train("labelled", out=tmp_path / "run", **{**FAST, "epochs": 1}).state["state"] == "finished"


def test_minutes_set_the_length_and_the_schedule(tmp_path: Path) -> None:
    """About the time that was asked, on a shared machine; the recipe holds the epochs that came of it."""
    began = time.monotonic()
    run = ganvas.train("vae", data="digits", minutes=0.1, out=tmp_path / "run")
    assert 0.3 * 6 < time.monotonic() - began < 3 * 6 + 3
    training = run.recipe.training
    assert training.schedule == "cosine" and run.state["step"] == run.state["steps"] and training.epochs > 5
    assert any(line.startswith("length: ") and line.endswith("(0.1 min)") for line in run.data["chosen"])
    with pytest.raises(UserError, match="minutes: 0 is refused: it takes a number above 0"):
        ganvas.train("vae", data="digits", minutes=0, out=tmp_path / "other")
    with pytest.raises(UserError, match="--minutes 1 and --epochs 3 both say how long"):
        ganvas.train("vae", data="digits", minutes=1, epochs=3, out=tmp_path / "other")


def test_fewer_minutes_than_an_epoch_are_steps(tmp_path: Path) -> None:
    made = dataclasses.replace(RECIPES["vae"]().training, epochs=3, steps=25)
    assert made.steps == 25
    run = ganvas.train("vae", data="mnist", minutes=0.002, out=tmp_path / "run")
    assert run.recipe.training.steps == run.state["steps"] < 390
    assert [row["step"] for row in run.metrics if row["split"] == "validation"] == [run.state["steps"]]


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"semisupervised-gan", "clustered-gan"}))
@pytest.mark.parametrize("n", [4, 12, 46])
def test_few_images_are_enough(recipe: str, n: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)
    settings = {"filters": 2} if recipe in ("dcgan", "wgan") else {}
    settings |= {"components": 2} if recipe == "vampprior" else {}
    run = ganvas.train(recipe, data=images, epochs=2, out=tmp_path / "run", **settings)
    assert run.state["state"] == "finished"
    assert run.recipe.training.batch_size <= n - 2


def test_one_image_is_too_few_for_batch_norm(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"batch norm compares .* \(there is 1 to train on\): give more images"):
        ganvas.train("dcgan", data=np.zeros((3, 8, 8, 1), np.uint8), filters=2, out=tmp_path / "run")
    assert ganvas.train("vae", data=np.zeros((3, 8, 8, 1), np.uint8), epochs=1, out=tmp_path / "vae").model


def test_a_batch_size_that_is_given_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--batch-size 128 is larger than the 36 training images: take .* 32 or less"):
        ganvas.train("vae", data=np.zeros((46, 8, 8), np.uint8), batch_size=128, out=tmp_path / "run")


def test_the_prior_is_fitted_at_the_end(tmp_path: Path) -> None:
    """What is stored is the model with the mixture; the rows of validation are of N(0, I), the test figures its own."""
    run = ganvas.train("vae", data="digits", fit=20, epochs=40, out=tmp_path / "run")
    assert run.recipe.model.fit == 20
    model = run.model
    assert len(model.prior.mean) == 20 and model.config.fit == 0
    assert model.sample(5).shape == (5, 1, 8, 8)
    plain = ganvas.train("vae", data="digits", epochs=40, out=tmp_path / "plain")
    assert run.state["test"]["kl"] < plain.state["test"]["kl"]
    assert run.state["test"]["reconstruction"] == pytest.approx(plain.state["test"]["reconstruction"], abs=2.0)


def test_what_is_frozen_was_learned_before(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--freeze keeps what a model has learned: say of which one, with --init RUN"):
        ganvas.train("gan", data="digits", freeze=1, epochs=1, device="cpu", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    first = ganvas.train("gan", data="digits", epochs=1, device="cpu", out=tmp_path / "first")
    more = ganvas.train("gan", data="digits", freeze=1, init=first.path, epochs=2, device="cpu", out=tmp_path / "more")
    before, after = (dict(run.model.discriminator.state_dict()) for run in (first, more))
    weights = [name for name, tensor in after.items() if tensor.dim() > 1]
    assert [name for name in weights if torch.equal(after[name], before[name])] == weights[:1]
