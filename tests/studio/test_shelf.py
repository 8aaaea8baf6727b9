"""The runs of a folder: what is said of each, what a bad one spoils, and what is read."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import ganvas
from ganvas.studio import safety, shelf
from ganvas.studio.shelf import BadRunError, Shelf, Summary
from ganvas.training.run import Run

MakeRun = Callable[..., Run]


def line(step: int, split: str = "train", **figures: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "split": split, **figures}


def one(folder: Path) -> Summary:
    (summary,) = Shelf(folder).summaries().values()
    return summary


# What is said


def test_a_real_training(tmp_path: Path) -> None:
    run = ganvas.train("vae", data="digits", epochs=2, latent_dim=3, seed=7, device="cpu", out=tmp_path / "a" / "b")
    summary = one(tmp_path)
    assert (summary["id"], summary["ok"], summary["state"]) == ("a/b", True, "finished")
    assert (summary["recipe"], summary["data"], summary["shape"]) == ("vae", "digits", [1, 8, 8])
    assert (summary["latent"], summary["seed"], summary["epochs"], summary["epoch"]) == (3, 7, 2, 2.0)
    assert summary["step"] == summary["steps"] == run.state["steps"]
    assert summary["seconds"] == run.state["seconds"] and summary["remaining"] is None
    last = [row for row in run.metrics if row["split"] == "validation"][-1]
    assert summary["figures"] == {name: last[name] for name in ("loss", "elbo", "reconstruction", "kl")}
    detail = Shelf(tmp_path).detail("a/b")
    assert detail["recipe"] == json.loads((run.path / "recipe.json").read_text())
    assert detail["data"] == run.data and detail["summary"] == summary
    assert [it["epoch"] for it in detail["pictures"]["samples"]] == [1, 2]
    for picture in [*detail["pictures"]["samples"], *detail["pictures"]["reconstructions"]]:
        safety.picture(run.path, picture["file"])
    assert detail["findings"] == json.loads((run.path / "findings.json").read_text())


def test_snapshots_and_findings(make_run: MakeRun, runs: Path) -> None:
    run = make_run(state={"state": "finished"})
    for name in ("step-000000100", "step-000000050", "other"):
        (run.path / "snapshots" / name).mkdir(parents=True)
    finding = {"name": "mode collapse", "since": 3, "evidence": {}, "explanation": "", "remedy": ""}
    (run.path / "findings.json").write_text(json.dumps([finding]))
    assert one(runs)["findings"] == ["mode collapse"]
    detail = Shelf(runs).detail("first")
    assert detail["snapshots"] == [50, 100] and detail["findings"] == [finding]


@pytest.mark.parametrize("state", ["interrupted", "failed", "finished"])
def test_states(state: str, make_run: MakeRun, runs: Path) -> None:
    make_run(state={"state": state, "step": 40, "message": "out of memory"}, rows=[line(50)])
    summary = one(runs)
    assert (summary["state"], summary["step"], summary["remaining"]) == (state, 40, None)
    assert summary.get("error") == ("out of memory" if state == "failed" else None)


def test_a_new_run(make_run: MakeRun, runs: Path) -> None:
    make_run(recipe="gan")
    summary = one(runs)
    assert (summary["state"], summary["step"], summary["steps"], summary["figures"]) == ("new", 0, None, {})
    assert summary["started"] == pytest.approx(time.time(), abs=60)


def test_a_running_one_counts_on_from_what_was_noted(make_run: MakeRun, runs: Path) -> None:
    run = make_run(state={"state": "running", "step": 20, "seconds": 10.0}, rows=[line(20), line(30)])
    now = time.time()
    os.utime(run.path / "state.json", (now, now - 5))
    os.utime(run.path / "metrics.jsonl", (now, now))
    summary = one(runs)
    assert (summary["state"], summary["step"], summary["epoch"]) == ("running", 30, 3.0)
    assert summary["seconds"] == pytest.approx(15, abs=0.1)
    assert summary["remaining"] == pytest.approx(15 / 30 * 70, abs=0.5)


def test_figures_of_validation_before_those_of_training(make_run: MakeRun, runs: Path) -> None:
    rows = [line(10, loss=3.0), line(10, "validation", loss=2.0), line(20, loss=1.0), line(20, "watch", recall=0.5)]
    make_run("a", rows=rows)
    make_run("b", rows=[rows[0], rows[2], rows[3]])
    a, b = Shelf(runs).summaries().values()
    assert a["figures"] == {"loss": 2.0} and b["figures"] == {"loss": 1.0}


def test_the_last_validation_is_found_far_from_the_end(make_run: MakeRun, runs: Path) -> None:
    rows = [line(10, "validation", loss=2.0), *(line(step, loss=1.0) for step in range(20, 40_000, 10))]
    run = make_run(rows=rows)
    assert (run.path / "metrics.jsonl").stat().st_size > 3 * shelf.TAIL
    assert one(runs)["figures"] == {"loss": 2.0}
    assert one(runs)["epoch"] == rows[-1]["epoch"]


def test_figures_that_javascript_lacks_are_left_out(make_run: MakeRun, runs: Path) -> None:
    make_run(rows=[line(10, loss=math.nan, kl=math.inf, elbo=1.5, name="x", on=True)])
    assert one(runs)["figures"] == {"elbo": 1.5}


def test_a_half_written_row_is_none(make_run: MakeRun, runs: Path) -> None:
    run = make_run(rows=[line(10, loss=1.0)])
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "ep')
    assert one(runs)["epoch"] == 1.0


# Whether it still trains


@pytest.fixture
def silent(make_run: MakeRun) -> Path:
    """A run that says it is running, and has written nothing for long."""
    run = make_run(state={"state": "running", "step": 20}, rows=[line(20)])
    (run.path / ".lock").touch()
    for file in run.path.iterdir():
        os.utime(file, (0, time.time() - 2 * shelf.SILENT))
    return run.path


def test_a_killed_training_is_interrupted(silent: Path, runs: Path) -> None:
    assert one(runs)["state"] == "interrupted" and one(runs)["remaining"] is None


def test_one_that_holds_its_lock_is_running(silent: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Shelf(runs)
    with FileLock(silent / ".lock"):
        assert it.summaries()["first"]["state"] == "running"
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 2 * shelf.LOOK_AGAIN)
    assert it.summaries(thorough=False)["first"]["state"] == "interrupted"  # nothing was written, and yet it is seen


def test_the_lock_is_left_as_it_was(silent: Path, runs: Path, tmp_path: Path) -> None:
    one(runs)
    with FileLock(silent / ".lock", timeout=0):
        pass
    (silent / ".lock").unlink()
    assert one(runs)["state"] == "interrupted"
    assert not (silent / ".lock").exists()
    (tmp_path / "other").write_text("kept")
    (silent / ".lock").symlink_to(tmp_path / "other")
    assert one(runs)["state"] == "interrupted" and (tmp_path / "other").read_text() == "kept"


# Where runs are found


def test_nested_folders_and_none_inside_a_run(make_run: MakeRun, runs: Path) -> None:
    for name in ("a", "b/c", "b/d/e", "a/inside", "x y/ä"):
        make_run(name)
    assert list(Shelf(runs).summaries()) == ["a", "b/c", "b/d/e", "x y/ä"]
    assert list(Shelf(runs / "b" / "c").summaries()) == ["."]
    assert Shelf(runs / "b" / "c").detail(".")["summary"]["id"] == "."


def test_what_is_too_deep_hidden_or_a_link_is_not_shown(make_run: MakeRun, runs: Path, tmp_path: Path) -> None:
    deep = "/".join("abcdef"[: shelf.DEPTH])
    for name in (".hidden/a", deep, f"{deep}x/y", "back\\slash"):
        make_run(name)
    make_run("../elsewhere/secret")
    (runs / "out").symlink_to(tmp_path / "elsewhere")
    (runs / "circle").symlink_to(runs)
    it = Shelf(runs)
    assert list(it.summaries()) == [deep]
    for run in ("out/secret", "../elsewhere/secret", ".hidden/a", "back\\slash"):
        with pytest.raises(safety.RefusedError):
            it.find(run)


def test_runs_come_and_go(make_run: MakeRun, runs: Path) -> None:
    it = Shelf(runs)
    assert it.summaries() == {}
    run = make_run("later/a")
    assert list(it.summaries()) == ["later/a"]
    make_run("later/b")
    assert list(it.summaries()) == ["later/a", "later/b"]
    run.path.rename(runs / "later" / "c")
    assert list(it.summaries()) == ["later/b", "later/c"]


def test_a_folder_is_listed_again_only_when_it_has_changed(
    make_run: MakeRun, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("group/a")
    for folder in (runs / "group", runs):
        os.utime(folder, (0, time.time() - 100))
    it = Shelf(runs)
    before = it.summaries()
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    assert it.summaries() == before and not listed
    make_run("group/b")
    listed.clear()
    assert list(it.summaries()) == ["group/a", "group/b"] and [Path(path).name for path in listed] == ["group"]


def test_an_unknown_run(runs: Path) -> None:
    (runs / "empty").mkdir()
    for run in ("nothing", "empty"):
        with pytest.raises(safety.NotFoundError):
            Shelf(runs).find(run)


# What is read


def test_nothing_is_read_twice(make_run: MakeRun, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        make_run(name, state={"state": "finished"}, rows=[line(10, loss=1.0)])
    it = Shelf(runs)
    before = it.summaries()
    opened: list[str] = []
    real = safety.opened
    monkeypatch.setattr(safety, "opened", lambda path: opened.append(str(path)) or real(path))
    assert all(summary is before[run] for run, summary in it.summaries().items()) and not opened
    with (runs / "b" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line(20, loss=0.5)) + "\n")
    after = it.summaries()
    assert after["b"]["figures"] == {"loss": 0.5} and after["a"] is before["a"]
    assert {Path(path).parent.name for path in opened} == {"b"}


def test_a_state_that_is_replaced_by_one_of_the_same_size_is_seen(make_run: MakeRun, runs: Path) -> None:
    run = make_run(state={"state": "finished", "step": 41})
    facts = (run.path / "state.json").stat()
    it = Shelf(runs)
    assert it.summaries()["first"]["step"] == 41
    run.note(state="finished", step=42, steps=100, seconds=1.0)
    os.utime(run.path / "state.json", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert it.summaries()["first"]["step"] == 42


# Bad runs


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _edit(**changes: Any) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes)) and None


BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "cut": ("recipe.json", lambda path: os.truncate(path, 100), "recipe.json is damaged"),
    "empty": ("recipe.json", lambda path: os.truncate(path, 0), "recipe.json is damaged"),
    "list": ("recipe.json", lambda path: path.write_text("[]"), "it holds no dict"),
    "deep": ("recipe.json", lambda path: path.write_text("[" * 100_000), "recipe.json is damaged"),
    "bytes": ("recipe.json", lambda path: path.write_bytes(b"\xff\xfe\0"), "recipe.json is damaged"),
    "digits": ("recipe.json", lambda path: path.write_text("9" * 10_000), "recipe.json is damaged"),
    "link": ("recipe.json", _link, "recipe.json is a link"),
    "folder": ("recipe.json", _folder, "recipe.json"),
    "pipe": ("recipe.json", _pipe, "recipe.json is no regular file"),
    "huge": ("recipe.json", lambda path: os.truncate(path, 2**40), "more than"),
    "no name": ("recipe.json", _edit(name=None), "no name that is of type str"),
    "no model": ("recipe.json", _edit(model=[]), "no model that is of type dict"),
    "no epochs": ("recipe.json", _edit(training={"seed": 0}), "no training.epochs"),
    "large seed": ("recipe.json", _edit(training={"seed": 10**400, "epochs": 1}), "training.seed that is a number"),
    "no data": ("data.json", Path.unlink, "it has no data.json"),
    "shape": ("data.json", _edit(shape=["a"]), "the shape ['a']"),
    "state": ("state.json", _edit(state="lost"), "the state 'lost'"),
    "step": ("state.json", _edit(step="many"), "no step that is a number"),
    "findings": ("findings.json", lambda path: path.write_text('[{"name": 1}]'), "no name"),
    "garbage": ("metrics.jsonl", lambda path: path.write_bytes(os.urandom(999) + b"\n"), "is no row"),
    "no row": ("metrics.jsonl", lambda path: path.write_text('{"step": 1}\n'), "is no row"),
    "zeros": ("metrics.jsonl", lambda path: os.truncate(path, 2**33), "over 1,048,576 bytes"),
    "metrics pipe": ("metrics.jsonl", _pipe, "metrics.jsonl is no regular file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_run_says_why_and_spoils_no_other(name: str, make_run: MakeRun, runs: Path) -> None:
    for run in ("a", "bad", "c"):
        make_run(run, state={"state": "finished"}, rows=[line(10, loss=1.0)])
    good = Shelf(runs).summaries()["c"]
    file, spoil, says = BAD[name]
    spoil(runs / "bad" / file)
    it = Shelf(runs)
    a, bad, c = it.summaries().values()
    assert a["ok"] and c == good
    assert bad.keys() == {"id", "ok", "error"} and bad["id"] == "bad" and bad["ok"] is False
    assert says in bad["error"]
    with pytest.raises((BadRunError, safety.NotFoundError)):
        it.detail("bad")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_run_that_may_not_be_read(make_run: MakeRun, runs: Path) -> None:
    (make_run().path / "recipe.json").chmod(0)
    assert "cannot be read: Permission denied" in one(runs)["error"]


def test_half_a_surrogate_pair_in_a_recipe_does_not_stop_the_answer(client: Any, make_run: MakeRun, runs: Path) -> None:
    make_run("a")
    _edit(name="\ud800")(make_run("b").path / "recipe.json")
    answer = client.get("/api/runs").json()
    assert [run["id"] for run in answer["runs"]] == ["a", "b"] and answer["runs"][1]["recipe"] == "\ud800"
    assert client.get("/api/run?run=b").json()["recipe"]["name"] == "\ud800"


def test_numbers_that_json_lacks_are_null(client: Any, make_run: MakeRun) -> None:
    run = make_run(state={"state": "finished"})
    evidence = {"slope": {"value": math.nan, "healthy": "at least 1"}}
    (run.path / "findings.json").write_text(json.dumps([{"name": "x", "evidence": evidence}]).replace("NaN", "1e999"))
    assert client.get("/api/run?run=first").json()["findings"][0]["evidence"]["slope"]["value"] is None
