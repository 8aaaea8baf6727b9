"""What callbacks are told, and that each tracker's own library reads back what was written."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas.ground.errors import UserError
from ganvas.training import callbacks
from ganvas.training.callbacks import TRACKERS, Callback

FAST: Any = {"data": "digits", "limit": 200, "hidden": (32,), "epochs": 3, "latent_dim": 2, "device": "cpu"}


class Kept(Callback):
    """What it was told, in its order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def on_begin(self, run: ganvas.Run, step: int) -> None:
        self.told.append(("begin", step))

    def on_step(self, step: int, figures: dict[str, float]) -> None:
        self.told.append(("step", (step, figures)))

    def on_epoch(self, step: int, epoch: float, figures: dict[str, float]) -> None:
        self.told.append(("epoch", (epoch, figures)))

    def on_test(self, step: int, figures: dict[str, float]) -> None:
        self.told.append(("test", figures))

    def on_pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        self.told.append(("pictures", pictures))

    def on_finding(self, step: int, finding: Any) -> None:
        self.told.append(("finding", finding.name))

    def on_end(self, state: str) -> None:
        self.told.append(("end", state))

    def of(self, what: str) -> list[Any]:
        return [value for name, value in self.told if name == what]


def test_a_callback_is_told_what_is_written(tmp_path: Path) -> None:
    seen = Kept()
    run = ganvas.train("vae", out=tmp_path / "run", callbacks=[seen], **FAST)
    rows = {split: [row for row in run.metrics if row["split"] == split] for split in ("train", "validation")}
    assert [figures["loss"] for _, figures in seen.of("step")] == [row["loss"] for row in rows["train"]]
    assert [epoch for epoch, _ in seen.of("epoch")] == [row["epoch"] for row in rows["validation"]]
    assert all({"samples", "reconstructions"} <= shown.keys() for shown in seen.of("pictures"))
    assert seen.of("test") == [run.state["test"]]
    assert seen.told[0] == ("begin", 0) and seen.told[-1] == ("end", "finished")


def test_a_callback_is_told_a_fault_once(tmp_path: Path) -> None:
    seen = Kept()
    run = ganvas.train(
        "vae", out=tmp_path / "run", callbacks=[seen], beta=100.0, **{**FAST, "limit": 600, "epochs": 80}
    )
    names = [finding.name for finding in run.findings]
    assert names and set(names) <= set(seen.of("finding"))
    assert len(seen.of("finding")) == len(set(seen.of("finding")))


def test_an_error_of_a_callback_ends_the_training_and_it_goes_on(tmp_path: Path) -> None:
    class Failing(Kept):
        def on_epoch(self, step: int, epoch: float, figures: dict[str, float]) -> None:
            raise RuntimeError("the disk of my own")

    seen = Failing()
    with pytest.raises(RuntimeError, match="of my own"):
        ganvas.train("vae", out=tmp_path / "run", callbacks=[seen], **FAST)
    assert seen.told[-1] == ("end", "failed") and ganvas.Run(tmp_path / "run").state["state"] == "failed"
    again = Kept()
    assert ganvas.resume(tmp_path / "run", callbacks=[again]).state["state"] == "finished"
    assert again.told[-1] == ("end", "finished")


def test_an_unknown_tracker_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown tracker 'neptun'"):
        ganvas.train("vae", out=tmp_path / "run", track=("neptun",), **FAST)
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--track mlflow needs mlflow: pip install 'ganvas\[mlflow\]'"):
        ganvas.train("vae", out=tmp_path / "run", track=("mlflow",), **FAST)
    assert not (tmp_path / "run").exists()


def longer(path: Path, tracker: str) -> ganvas.Run:
    """A run that was tracked for three epochs, and then for a fourth."""
    ganvas.train("vae", out=path, track=(tracker,), **FAST)
    return ganvas.resume(path, epochs=4)


def test_csv(tmp_path: Path) -> None:
    import pandas

    run = longer(tmp_path / "run", "csv")
    seen = pandas.read_csv(run.path / "metrics.csv")
    assert list(seen.columns) == ["step", "epoch", "split", "name", "value"]
    told = {(row.split, row.step, row.name): row.value for row in seen.itertuples(name="Row", index=False)}
    written = {
        (row["split"], row["step"], name): value
        for row in run.metrics
        for name, value in row.items()
        if name not in ("step", "epoch", "split")
    }
    assert {key: value for key, value in told.items() if key[0] != "test"} == pytest.approx(written)
    assert len(told) == len(seen), "no line is there twice"
    assert told["test", run.state["step"], "loss"] == pytest.approx(run.state["test"]["loss"])


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = longer(tmp_path / "run", "tensorboard")
    seen = EventAccumulator(str(run.path / "tensorboard"), {"images": 0, "scalars": 0})
    seen.Reload()
    rows = [row for row in run.metrics if row["split"] == "validation"]
    assert [event.step for event in seen.Scalars("validation/loss")] == [row["step"] for row in rows]
    assert [event.value for event in seen.Scalars("validation/loss")] == pytest.approx([row["loss"] for row in rows])
    assert {event.step for event in seen.Images("samples")} == {row["step"] for row in rows}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_mlflow(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run = longer(tmp_path / "run", "mlflow")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = (it for it in client.search_experiments() if it.name == "ganvas")
    (seen,) = client.search_runs([experiment.experiment_id])
    rows = [row for row in run.metrics if row["split"] == "validation"]
    kept = client.get_metric_history(seen.info.run_id, "validation/loss")
    assert {it.step: it.value for it in kept} == {row["step"]: row["loss"] for row in rows}
    assert seen.data.params["model.latent_dim"] == "2" and seen.info.status == "FINISHED"
    assert len(client.list_artifacts(seen.info.run_id, "samples")) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, so nothing is asked of the network; both parts are of one run."""
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    run = longer(tmp_path / "run", "wandb")
    files = sorted((run.path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2 and len({file.name for file in files}) == 1
    losses: dict[int, float] = {}
    for record in (Record.FromString(data) for file in files for data in kept_by_wandb(file.read_bytes())):
        row = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if "validation/loss" in row:
            losses[record.history.step.num] = float(row["validation/loss"])
    assert losses == {row["step"]: row["loss"] for row in run.metrics if row["split"] == "validation"}


def kept_by_wandb(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format, blocks of 32 KiB after a header of 7 bytes."""
    place, record = 7, b""
    while place + 7 <= len(data):
        left = -place % 32768
        if 0 < left < 7:  # no room for a chunk's header: zeros
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_every_tracker_is_tested_on_its_library() -> None:
    assert set(TRACKERS) == {"csv", "tensorboard", "mlflow", "wandb"}


def test_flat() -> None:
    assert callbacks.flat({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": "1", "a.c": "[2]", "d": "None"}
