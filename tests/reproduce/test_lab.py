import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ganvas.ground.errors import UserError
from ganvas.reproduce.lab import FIGURES, Lab, Measure, find, row, rows
from ganvas.training import progress
from ganvas.training.run import Run

Train = Callable[..., Run]


def test_a_finished_run_is_used_again_whoever_asks(train: Train, lab: Lab) -> None:
    first = train(lab)
    written = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    assert first.path.parent == lab.runs and first.path.name.startswith("autoencoder-digits-")
    other = Lab(quick=False, seeds=(0, 1), runs=lab.runs)
    assert train(other).path == first.path
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == written
    assert lab.reused == 0 < other.reused == first.state["seconds"]
    train(other)
    assert other.used == [first.path] and other.reused == first.state["seconds"], "a run counts once"


def test_any_other_setting_is_another_run(train: Train, lab: Lab) -> None:
    assert len({train(lab).path, train(lab, seed=1).path, train(lab, epochs=1).path}) == 3


def test_a_recipe_that_changes_is_trained_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from ganvas.recipes import RECIPES

    before, old = lab._folder("autoencoder", 0, "digits", {"latent_dim": 2}), RECIPES["autoencoder"]

    def changed(latent_dim: int = 32):
        made = old(latent_dim)
        return dataclasses.replace(made, training=dataclasses.replace(made.training, batch_size=99))

    monkeypatch.setitem(RECIPES, "autoencoder", changed)
    assert lab._folder("autoencoder", 0, "digits", {"latent_dim": 2}) != before


def test_arrays_are_known_by_their_content(lab: Lab) -> None:
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    names = [lab._folder("autoencoder", 0, data, {}) for data in (points, points.copy(), points + 1)]
    assert names[0] == names[1] != names[2] and names[0].startswith("autoencoder-array-")


def interrupt(start: Any) -> Run:
    """As `progress.with_progress`, with Ctrl-C at the first report."""
    return start(lambda step, steps, figures: signal.raise_signal(signal.SIGINT))


def test_a_stopped_run_goes_on_where_it_was(
    train: Train, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(progress, "with_progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(lab)
    (folder,) = lab.runs.iterdir()
    assert Run(folder).state["state"] == "interrupted" and 0 < Run(folder).state["step"] < Run(folder).state["steps"]
    resumed = train(lab)
    assert resumed.path == folder and resumed.state["state"] == "finished"
    whole = train(Lab(runs=tmp_path / "whole"))
    broken, unbroken = (load_file(run.path / "model" / "model.safetensors") for run in (resumed, whole))
    assert all(torch.equal(broken[name], unbroken[name]) for name in unbroken)


def test_a_run_that_was_killed_before_its_first_step_is_trained(lab: Lab) -> None:
    folder = lab.runs / lab._folder("autoencoder", 0, "digits", {"latent_dim": 2, "epochs": 1, "device": "cpu"})
    folder.mkdir(parents=True)
    run = lab.train("autoencoder", data="digits", seed=0, latent_dim=2, epochs=1, device="cpu")
    assert run.path == folder and run.state["state"] == "finished"


def test_results_are_computed_once(lab: Lab) -> None:
    calls: list[int] = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"value": [1.5, None]}

    assert [lab.cache("thing", {"a": 1}, compute) for _ in range(2)] == [{"value": [1.5, None]}] * 2
    assert len(calls) == 1
    lab.cache("thing", {"a": 2}, compute)
    lab.cache("other", {"a": 1}, compute)
    assert len(calls) == 3
    kept = json.loads(next((lab.runs / "cache").glob("other-*")).read_text())
    assert kept["settings"] == {"a": 1} and kept["seconds"] >= 0


def test_what_is_kept_of_a_run_stands_for_it(lab: Lab, tmp_path: Path) -> None:
    settings = {"data": "digits", "latent_dim": 2, "epochs": 1, "batch_size": 64, "device": "cpu"}
    asked: list[Path] = []

    def loss(run: Run) -> float:
        asked.append(run.path)
        return run.state["test"]["loss"]

    first = Lab(runs=lab.runs, kept=tmp_path / "kept")
    told = [first.summary(loss, "autoencoder", seed=0, **settings) for _ in range(2)]
    assert told[0] == told[1] > 0 and len(asked) == 1 and first.reused == 0
    (kept,) = (tmp_path / "kept").iterdir()
    elsewhere = Lab(runs=tmp_path / "other", kept=tmp_path / "kept")
    assert elsewhere.summary(loss, "autoencoder", seed=0, **settings) == told[0]
    about = json.loads(kept.read_text())
    assert len(asked) == 1 and elsewhere.reused == about["seconds"] > 0 and not elsewhere.used
    assert elsewhere.summaries == [{name: value for name, value in about.items() if name != "value"}]
    assert about["run"] == kept.stem and about["machine"]["cores"] and about["date"]
    elsewhere.summary(loss, "autoencoder", seed=1, **settings)
    assert len(asked) == 2 and len(list((tmp_path / "kept").iterdir())) == 2


def test_pick_goes_by_the_size() -> None:
    assert Lab(quick=True).pick(quick=1, full=2) == 1 and Lab(quick=False).pick(quick=1, full=2) == 2


def test_a_measure_has_the_mean_and_spread_of_its_values() -> None:
    measure = Measure("loss", [1.0, 2.0, 4.0])
    assert measure.mean == pytest.approx(7 / 3) and measure.sd == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert Measure("loss", [3.0]).sd is None


@pytest.mark.parametrize(("values", "error"), [([], None), ([1.0, float("nan")], None), ([1.0], float("inf"))])
def test_a_measure_without_a_number_is_refused(values: list[float], error: float | None) -> None:
    with pytest.raises(UserError, match="'loss' is"):
        Measure("loss", values, error=error)


def test_a_docstring_gives_rows_title_and_claim(tiny: object) -> None:
    it = row("tiny")
    assert (it.lecture, it.title) == (("L3", "L26"), "a tiny | row")
    assert it.claim == "the loss is below the limit. It is measured." and it.make is tiny


@pytest.mark.parametrize("doc", [None, "A title.\n\nClaim: this.", "L3: a title.\n\nNothing is claimed."])
def test_a_row_without_a_claim_is_a_mistake(doc: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(lab: Lab) -> None: ...

    make.__doc__ = doc
    monkeypatch.setitem(FIGURES, "bad", make)
    with pytest.raises(TypeError, match="the docstring of bad"):
        row("bad")


@pytest.mark.parametrize("words", [["tiny"], ["L26"], ["l26", "tiny"]])
def test_rows_are_found_by_name_and_by_the_lectures_row(words: list[str], tiny: object) -> None:
    assert [it.name for it in find(words)] == ["tiny"]


def test_all_rows_come_in_the_order_of_the_lecture(tiny: object) -> None:
    numbers = [int(it.lecture[0][1:]) for it in find(["all"])]
    papers = find(["papers"])
    assert numbers == sorted(numbers) and len(numbers) + len(papers) == len(FIGURES) == len(rows())
    assert [it.lecture[0] for it in papers] == [f"P{number}" for number in range(1, len(papers) + 1)]
    assert find(["p1", "papers"]) == papers == rows()[-len(papers) :]
    assert "tiny" in [it.name for it in find(["L3"])], "a row of the lecture may have several figures"


def test_an_unknown_row_is_refused_with_the_nearest(tiny: object) -> None:
    with pytest.raises(UserError, match=r"unknown figure 'tinny'. Did you mean 'tiny'\?"):
        find(["tiny", "tinny"])
