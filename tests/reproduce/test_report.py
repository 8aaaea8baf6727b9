import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas.ground.errors import UserError
from ganvas.reproduce import report
from ganvas.reproduce.lab import FIGURES, Lab, Outcome, find, row


@pytest.fixture(scope="module")
def made(tiny: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the JSON of the row "tiny", made with two seeds."""
    folder = tmp_path_factory.mktemp("made")
    report.make(row("tiny"), Lab(quick=True, seeds=(0, 1), runs=folder / "runs"), folder / "out")
    return folder / "out", json.loads((folder / "out" / "tiny.json").read_text())


def test_the_json_says_all_that_is_needed_to_judge_and_to_repeat(made: tuple[Path, dict[str, Any]]) -> None:
    out, facts = made
    assert (facts["name"], facts["lecture"], facts["title"]) == ("tiny", ["L3", "L26"], "a tiny | row")
    assert facts["claim"].startswith("the loss") and facts["holds"] is True and facts["reason"] == "a reason"
    loss, limit = facts["measures"]
    assert len(loss["values"]) == 2 and loss["values"][0] != loss["values"][1]
    assert loss["mean"] == pytest.approx(np.mean(loss["values"]))
    assert loss["sd"] == pytest.approx(np.std(loss["values"], ddof=1)) and loss["expected"] == "below 100"
    assert (limit["values"], limit["sd"], limit["error"], limit["unit"]) == ([100.0], None, 0.5, "units")
    assert facts["command"] == f"ganvas reproduce tiny --quick --seeds 2 --out {out}"
    assert facts["quick"] is True and facts["seeds"] == [0, 1] and facts["ganvas"] == ganvas.__version__
    assert facts["machine"]["processor"] and facts["machine"]["cores"] >= 1 and facts["machine"]["torch"]
    assert facts["trained"] == [facts["machine"]], "both runs, here"
    assert facts["seconds"] > 0 == facts["seconds_reused"] and len(facts["runs"]) == 2
    with Image.open(out / "tiny.png") as picture:
        assert picture.size == (6, 4)


def test_reused_runs_are_in_the_time(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    lab = Lab(quick=True, seeds=(0, 1), runs=made[0].parent / "runs")
    facts = report.make(row("tiny"), lab, tmp_path / "again")
    assert facts["seconds"] >= facts["seconds_reused"] > 0
    assert facts["measures"] == made[1]["measures"] and facts["runs"] == made[1]["runs"]


def test_the_gallery_is_made_of_the_json_files_alone(made: tuple[Path, dict[str, Any]]) -> None:
    out, facts = made
    second = facts | {
        "name": "earlier",
        "lecture": ["L1"],
        "holds": False,
        "quick": False,
        "seeds": [0],
        "reason": "no",
    }
    second["trained"] = [facts["machine"], facts["machine"] | {"gpu": "a GPU", "cores": 64}]
    (out / "earlier.json").write_text(json.dumps(second))
    (out / "paper.json").write_text(json.dumps(second | {"name": "paper", "lecture": ["P1"], "reason": "too short"}))
    (out / "other.json").write_text('{"not": "a row"}')
    lines = report.gallery(out).read_text().splitlines()
    assert lines[0] == report.MARK
    assert lines.index("| L1 | [a tiny \\| row](#earlier) | **does not hold** |") < (
        lines.index("| L3, L26 | [a tiny \\| row](#tiny) | holds (quick version) |")
    )
    assert lines.count(f"Claim: {facts['claim']}") == 3
    glance = lines[lines.index("# At a glance") + 4]
    cells = [cell.strip() for cell in glance.strip("|").split(" | ")]
    assert [cell.rpartition("<br>")[2] for cell in cells] == [
        "**does not hold**",
        "holds (quick version)",
        "**does not hold**",
        "",
    ]
    assert [f'src="{name}.png"' in cell for name, cell in zip(("earlier", "tiny", "paper"), cells, strict=False)] == (
        [True] * 3
    ), "the lecture's rows, then those of papers"
    papers = [line for line in lines if "](#paper): " in line]
    assert papers and papers[0].endswith("| 1 | does not hold: too short |")
    assert all(line.endswith("| 1 |  |") for line in papers[1:]), "the verdict stands once"
    assert "![tiny](tiny.png)" in lines and "![earlier](earlier.png)" in lines
    loss = facts["measures"][0]
    assert f"| test \\| loss | {loss['mean']:.4g} ± {loss['sd']:.2g} | below 100 |" in lines
    assert "| limit | 100 ± 0.5 units (standard error) |  |" in lines
    assert "**holds** in this quick version: a reason" in lines and "**does not hold**: no" in lines
    assert any(line.startswith(f"`{facts['command']}` (quick version): seeds 0, 1;") for line in lines)
    assert f"; {facts['machine']['processor']}, " in lines[-1], "trained and put together on one machine"
    named = f"{facts['machine']['processor']}, {facts['machine']['cores']} cores"
    assert sum(f"; trained on {named}" in line and " and on a GPU, " in line for line in lines) == 2
    assert sum(f", put together on {named}" in line for line in lines) == 2
    assert not list(out.glob(".*")), "nothing is left aside"


def test_what_is_printed_shows_spread_expectation_and_verdict(made: tuple[Path, dict[str, Any]]) -> None:
    lines = report.text(made[1]).splitlines()
    assert lines[0].split() == ["mean", "±", "sd,", "2", "seeds", "expected"]
    assert lines[1].startswith("test | loss") and " ± " in lines[1] and lines[1].endswith("below 100")
    assert lines[2].startswith("limit") and lines[2].endswith("100 ± 0.5 units")
    assert lines[-1] == "**holds** in this quick version: a reason"
    assert report.verdict({"holds": False, "quick": False, "reason": ""}) == "**does not hold**."


def test_a_row_that_fails_does_not_stop_the_others(
    tiny: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(lab: Lab) -> Outcome:
        """L2: broken.

        Claim: none.
        """
        raise UserError("the data is gone.")

    def mistaken(lab: Lab) -> Outcome:
        """L2: mistaken.

        Claim: none.
        """
        raise ZeroDivisionError

    monkeypatch.setitem(FIGURES, "broken", broken)
    monkeypatch.setitem(FIGURES, "mistaken", mistaken)
    chosen = find(["broken", "mistaken", "tiny"])
    out = tmp_path / "out"
    failed = report.reproduce(chosen, quick=True, seeds=[0], out=out, runs=tmp_path / "runs")
    assert failed == {"broken": "the data is gone.", "mistaken": "ZeroDivisionError"}
    assert (out / "tiny.json").is_file() and not (out / "broken.json").exists()
    said = capsys.readouterr()
    assert "Claim: the loss is below the limit. It is measured." in said.out and "**holds**" in said.out
    assert str(out / "tiny.png") in said.out and str(out / "README.md") in said.out
    assert "ganvas: broken: the data is gone." in said.err
    assert said.err.count("Traceback") == 1, "only of what is our mistake"


def test_ctrl_c_stops_all_of_it(tiny: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(lab: Lab) -> Outcome:
        """L2: stopped.

        Claim: none.
        """
        raise KeyboardInterrupt

    monkeypatch.setitem(FIGURES, "stopped", stopped)
    with pytest.raises(KeyboardInterrupt):
        report.reproduce(find(["stopped", "tiny"]), quick=True, seeds=[0], out=tmp_path / "out", runs=tmp_path)
    assert not (tmp_path / "out" / "tiny.json").exists()


def test_somebody_elses_readme_is_not_written_over(tiny: object, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(UserError, match="is not a gallery"):
        report.reproduce(find(["tiny"]), quick=True, seeds=[0], out=tmp_path, runs=tmp_path / "runs")
    assert (tmp_path / "README.md").read_text() == "# My project\n" and not (tmp_path / "runs").exists()


def test_a_missing_extra_is_said_before_anything_is_trained(
    tiny: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None if name in ("pywt", "matplotlib") else object())
    with pytest.raises(UserError, match=r"needs matplotlib, PyWavelets: pip install 'ganvas\[reproduce\]'"):
        report.reproduce(find(["tiny"]), quick=True, seeds=[0], out=tmp_path / "out", runs=tmp_path / "runs")
    assert not list(tmp_path.iterdir())
