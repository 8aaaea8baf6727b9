"""Tab: what is found, and what is installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ganvas.cli import VERBS
from ganvas.cli.completion import complete
from ganvas.recipes import RECIPES

Said = Callable[..., str]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("sam", ["sample"]),
        ("dat", ["data"]),
        ("--v", ["--version"]),
        ("train v", ["vae", "vae-gan", "vampprior", "vq-vae"]),
        ("train --r", ["--resume"]),
        ("train vae --la", ["--labels", "--latent-dim"]),
        ("train vae --schedule ", ["constant", "cosine"]),
        ("train vae --net r", ["residual"]),
        ("train --resume runs/first --e", ["--epochs"]),
        ("data ", ["list", "show"]),
        ("data show digits --ch", ["--channels"]),
        ("data show digits --channels ", ["1", "3", "4"]),
        ("sample runs/first --se", ["--seed"]),
        ("--install-completion ", ["bash", "zsh"]),
        ("sample ", []),  # files
        ("train vae --data ", []),
        ("train vea --", []),
        ("smaple --", []),
    ],
)
def test_what_may_be_typed(typed: str, found: list[str]) -> None:
    assert complete(typed.split(" "), VERBS) == found


def test_every_verb_and_recipe_is_found() -> None:
    assert complete([""], VERBS) == sorted({"train", "tune", *(verb.split()[0] for verb in VERBS)})
    assert complete(["train", ""], VERBS) == sorted(RECIPES)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/usr/bin/bash")
    return tmp_path


@pytest.mark.parametrize(("words", "shell"), [([], "bash"), (["bash"], "bash"), (["zsh"], "zsh")])
@pytest.mark.parametrize("before", [None, "alias l=ls\n", "alias l=ls"], ids=["none", "some", "half a line"])
def test_it_is_installed_once_and_says_where(
    words: list[str], shell: str, before: str | None, home: Path, said: Said
) -> None:
    settings, file = home / f".{shell}rc", home / ".local" / "share" / "ganvas" / f"completion.{shell}"
    if before:
        settings.write_text(before)
    line = f"[ -f {file} ] && source {file}  # ganvas"
    for _ in range(2):
        printed = said("--install-completion", *words)
        assert f"written: {file}\nin {settings}: {line}\n" in printed and "To undo it" in printed
    assert settings.read_text().splitlines() == [*([before.strip()] if before else []), line]


@pytest.mark.parametrize(("words", "says"), [(["fish"], "not fish"), (["bash", "zsh"], "not bash zsh")])
def test_other_shells_are_refused(words: list[str], says: str, home: Path, said: Said) -> None:
    assert f"--install-completion takes bash or zsh, {says}" in said("--install-completion", *words, status=1)
    assert not list(home.iterdir())


def test_of_an_unknown_shell_it_asks(home: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "not nothing, and $SHELL is fish" in said("--install-completion", status=1)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "found"), [("train v", "vae vae-gan vampprior vq-vae"), ("sample ", ""), ("sh", "show")]
)
def test_bash_completes(typed: str, found: str, home: Path, said: Said) -> None:
    said("--install-completion", "bash")
    command = home / "ganvas"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ganvas "$@"\n')
    command.chmod(0o755)
    words = ["ganvas", *typed.split(" ")]
    array = " ".join(f"'{word}'" for word in words)
    script = f'source ~/.bashrc; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _ganvas; echo "${{COMPREPLY[*]}}"'
    path = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{found}\n", "")
