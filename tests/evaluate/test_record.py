import json
from pathlib import Path

import numpy as np
import pytest

from ganvas.data import Dataset, load
from ganvas.evaluate import record
from ganvas.evaluate.figures import Figure, mean
from ganvas.evaluate.record import Record, evaluate, read, write
from ganvas.evaluate.subject import Subject
from ganvas.ground.errors import UserError

EACH = np.random.default_rng(0).standard_normal(20)


def made(metric: str = "nll", protocol: str = "K = 5", value: float = 0.0, **data: str) -> Record:
    figures = (mean("NLL", EACH + value, unit="nats", better="lower", protocol=protocol), Figure("x", 1.0, None, 3))
    where = {"name": "digits", "shape": "1 x 8 x 8", "fingerprint": "a" * 64, "split": "test", **data}
    return Record(metric, figures, where, {"seed": 0, "command": "ganvas evaluate it", "seconds": 1.0})


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path, made())
    (again,) = read(tmp_path)
    assert again == made() and np.array_equal(again.figures[0].each, EACH) and again.figures[1].each is None
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert rows[0]["figures"][0]["value"] == pytest.approx(EACH.mean()) and "each" not in rows[0]["figures"][0]


def test_the_same_figure_is_replaced_and_another_protocol_or_data_is_kept(tmp_path: Path) -> None:
    for one in (made(), made(protocol="K = 50"), made(split="validation"), made("elbo"), made(value=1.0)):
        write(tmp_path, one)
    found = read(tmp_path)
    assert len(found) == 4
    assert found[-1].figures[0].value == pytest.approx(EACH.mean() + 1)
    assert np.array_equal(found[-1].figures[0].each, EACH + 1)
    other = next(one for one in found if one.data["split"] == "validation")
    assert np.array_equal(other.figures[0].each, EACH), "each has a file of its own"


def test_figures_of_one_name_in_two_units(tmp_path: Path) -> None:
    one = made()
    bits = mean("NLL", EACH / 2, unit="bits per dimension", protocol=one.figures[0].protocol)
    write(tmp_path, Record("nll", (one.figures[0], bits), one.data, one.facts))
    for figure, each in zip(read(tmp_path)[0].figures, (EACH, EACH / 2), strict=True):
        assert figure.each is not None and np.array_equal(figure.each, each), figure.unit


def test_values_of_images_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, made())
    (file,) = tmp_path.glob("*.npy")
    np.save(file, EACH[:-1])
    assert read(tmp_path)[0].figures[0].each is None
    file.unlink()
    assert read(tmp_path)[0] == made()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "damaged"), ("[1]", "damaged"), ('[{"metric": "nll", "figures": []}]', "damaged"), ("null", "damaged")],
)
def test_damaged_folders(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "figures.json").write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has not been evaluated: ganvas evaluate {tmp_path}"):
        read(tmp_path)
    write(tmp_path / "evaluation", made())
    assert read(tmp_path) == [made()], "a run is found by its folder"


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    points: Dataset = load("ring")
    return Subject(points, samples=points.splits["train"].images, n=200)


def test_what_can_be_had_and_why_not_the_rest(subject: Subject) -> None:
    told: list[Record] = []
    records, left_out = evaluate(subject, command="ganvas evaluate it", done=told.append)
    assert told == records
    assert {"frechet", "precision", "modes", "memorising"} <= {one.metric for one in records}
    assert set(left_out) == {"conditions", "elbo", "nll", "posteriors", "probes"} and "takes a VAE" in left_out["nll"]
    assert records[0].data["fingerprint"] == subject.dataset.fingerprint
    assert {"seed", "command", "ganvas", "commit", "machine", "date", "seconds"} <= records[0].facts.keys()


def test_what_is_asked_for_and_can_t_be_had_is_an_error(subject: Subject) -> None:
    with pytest.raises(UserError, match=r"nll: a folder of images has no P\(x given z\)"):
        evaluate(subject, ["nll"])
    with pytest.raises(UserError, match="unknown metric 'fid'"):
        evaluate(subject, ["modes", "fid"])
    assert set(record.ASKED) >= {"parzen"}
