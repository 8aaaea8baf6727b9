"""An entry of a small track: trained in processes of its own, measured, written down."""

from pathlib import Path

import pytest

from ganvas.cli import main
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json
from ganvas.reproduce import speedrun
from ganvas.reproduce.speedrun import Track, enter, record


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("vae", "--data", "digits", "--epochs", "1")
    nets = {"latent_dim": 20, "net": {"kind": "mlp", "hidden": [500, 500]}}
    track = Track("VAE, digits", words, nets, "test ELBO in nats", speedrun._elbo, -60.0, 1)
    monkeypatch.setitem(speedrun.TRACKS, "tiny", track)


def test_an_entry_is_measured_and_added_to_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    entry = enter("tiny", ["--lr", "2e-3"], 2, "somebody", said.append)
    assert len(said) == 2 and said[0].startswith("seed 1000: ") and "(target -60)" in said[0]
    assert entry.command == "ganvas train vae --data digits --epochs 1 --lr 2e-3"
    assert all(1 < seconds < 100 for seconds in entry.seconds) and entry.figures[0] != entry.figures[1]
    assert entry.reached == (min(entry.figures) >= -60) and entry.by == "somebody"
    page = record(entry, tmp_path)
    assert main(["speedrun", "tiny", "--flags=--batch-size 64", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    first, second = read_json(tmp_path / speedrun.FILE)
    assert first["seconds"] == entry.seconds and second["command"].endswith("--batch-size 64")
    rows = [line for line in page.read_text().splitlines() if "| `ganvas train" in line]
    assert len(rows) == 2 and sum("somebody" in row for row in rows) == 1


def test_what_reaches_the_target_stands_above_what_is_faster() -> None:
    machine = {"gpu": None, "processor": "some", "cores": 2, "torch": "2"}
    own = {"track": "vae", "machine": machine, "commit": "c", "day": "d", "figures": [1.0], "by": ""}
    times = [("slow", 9.0, True), ("fast", 3.0, True), ("wrong", 1.0, False)]
    page = speedrun.table([{**own, "command": c, "seconds": [s], "reached": r} for c, s, r in times])
    places = [page.index(f"`{name}`") for name in ("fast", "slow", "wrong")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--latent-dim", "10"], "the track tiny is of VAE, digits: latent_dim is 20, and here 10"),
        (["--hidden", "5"], r"net\.hidden is \[500, 500\], and here \[5\]"),
        (["--lr", "fast"], "the training of seed 1000 failed: .*--lr"),
    ],
)
def test_what_is_no_entry_is_refused(flags: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        enter("tiny", flags, 1)


def test_an_unknown_track_and_no_seed_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown track 'vea'\. Did you mean 'vae'"):
        enter("vea", [], 1)
    with pytest.raises(UserError, match="--seeds 0: it takes at least 1"):
        enter("tiny", [], 0)


def test_the_tracks_are_of_the_recipes_nets_as_they_are() -> None:
    from ganvas.ground.registry import dump
    from ganvas.recipes import make

    made = {"vae": make("vae", {}), "dcgan": make("dcgan", {"filters": 64})}
    for name, recipe in made.items():
        assert not list(speedrun._broken(speedrun.TRACKS[name].nets, dump(recipe.model)))
