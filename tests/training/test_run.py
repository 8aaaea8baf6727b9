import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ganvas.ground.errors import UserError
from ganvas.recipes import RECIPES
from ganvas.training.run import Run, create

RECIPE = dataclasses.replace(RECIPES["vae"](beta=2.0), arguments={"beta": 2.0})
ROWS = [f'{{"step": {step}, "epoch": 1.0, "split": "train", "loss": 2.0}}\n' for step in (50, 100)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = create(tmp_path / "run", RECIPE, {"fingerprint": "0", "shape": [1, 28, 28]})
    made.leave()
    return made


def test_a_half_written_row_is_left_out(run: Run) -> None:
    (run.path / "metrics.jsonl").write_text("".join(ROWS) + '{"step": 15')
    assert [row["step"] for row in run.metrics] == [50, 100]
    run.truncate_metrics(50)
    assert (run.path / "metrics.jsonl").read_text() == ROWS[0]


def test_a_run_is_not_overwritten(run: Run) -> None:
    with pytest.raises(UserError, match=r"holds a run already: continue it with `ganvas train --resume"):
        create(run.path, RECIPES["gan"](), {})
    assert run.recipe == RECIPE


def test_a_process_that_has_imported_nothing_else_reads_the_recipe(run: Run) -> None:
    code = f"from ganvas.training.run import Run; print(Run({str(run.path)!r}).recipe.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "vae\n"


@pytest.mark.parametrize("name", ["recipe.json", "state.json"])
def test_a_damaged_file_is_named(run: Run, name: str) -> None:
    (run.path / name).write_text('{"state')
    with pytest.raises(UserError, match=rf"{name}.* is damaged"):
        assert run.state and run.recipe


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run: it has no recipe\.json"):
        Run(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"step": 75}',
        b'{"step": 75.0, "epoch": 1.0, "split": "train"}',
        b'{"step": 75, "epoch": 1.0, "split": 3}',
        b'{"step": 75, "epoch": 1.0, "split": "train", "loss": "x"}',
        b'{"step": 75, "epoch": 1.0, "split": "train", "loss": null}',
    ],
)
def test_a_damaged_row_is_left_out_and_said(line: bytes, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    (run.path / "metrics.jsonl").write_bytes(ROWS[0].encode() + line + b"\n" + ROWS[1].encode())
    assert [row["step"] for row in run.metrics] == [50, 100]
    assert caplog.messages == [f"{run.path / 'metrics.jsonl'}: 1 damaged line is left out."]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("state.json", '{"state": "resting", "step": 3}'),
        ("state.json", '{"state": "running", "step": -3}'),
        ("state.json", '{"state": "finished", "step": 3, "test": {"elbo": "much"}}'),
        ("data.json", '{"fingerprint": 3, "shape": [1, 8, 8]}'),
        ("data.json", '{"fingerprint": "0", "shape": [1, 0, 8]}'),
        ("data.json", '{"fingerprint": "0", "shape": "1 8 8"}'),
        ("recipe.json", '{"name": "vae"}'),
        ("recipe.json", "[" * 100_000),
    ],
)
def test_a_file_of_another_kind_is_named(name: str, text: str, run: Run) -> None:
    (run.path / name).write_text(text)
    with pytest.raises(UserError, match=rf"run/{name}.* (is damaged|can't be used): ") as error:
        assert run.state and run.data and run.recipe
    assert len(str(error.value)) < 500
