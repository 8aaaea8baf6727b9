"""The command line as a whole: help, errors."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ganvas
from ganvas.cli import VERBS, main, training
from ganvas.cli.flags import Command, flags
from ganvas.ground.errors import UserError
from ganvas.recipes import RECIPES

Said = Callable[..., str]


# Help


def _helps() -> list[list[str]]:
    return [[], ["train"], *(["train", name] for name in RECIPES), *(verb.split() for verb in VERBS)]


@pytest.mark.parametrize("words", _helps(), ids=" ".join)
def test_help_fits_a_screen_and_has_an_example(words: list[str], said: Said) -> None:
    text = said(*words, "--help")
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("usage: ganvas ")
    assert re.search(r"^example: ganvas ", text, re.M)
    assert "None" not in text and "{" not in text


@pytest.mark.parametrize("words", [*_helps()[2:]], ids=" ".join)
def test_the_example_can_be_typed(words: list[str], said: Said) -> None:
    *_, last = said(*words, "--help").splitlines()
    name = " ".join(words)
    assert last.startswith(f"example: ganvas {name}")
    train = words[0] == "train"
    command = Command(name, RECIPES[words[1]], training._training) if train else Command(name, VERBS[name])
    command.parse(shlex.split(last.removeprefix(f"example: ganvas {name}")))


def test_a_flag_of_one_letter_has_two_forms() -> None:
    command = Command("train gan", RECIPES["gan"], training._training)
    assert command.parse(["-k", "3"])["k"] == command.parse(["--k", "3"])["k"] == command.parse(["--k=3"])["k"] == 3


def test_help_names_every_verb(said: Said) -> None:
    text = said("--help")
    assert all(re.search(rf"^  {verb}\b", text, re.M) for verb in ("train", *VERBS))


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_a_help_text(verb: str) -> None:
    assert all(flag.help for flag in Command(verb, VERBS[verb]).flags)


def test_a_flags_help_comes_from_the_docstring() -> None:
    def recipe(latent_dim: int = 20, batch_norm: bool = True, k: int | None = None) -> None:
        """A recipe.

        Args:
            latent_dim: size of z,
                at least 1
            batch_norm (bool): in both nets
            k: moves

        Returns:
            nothing: at all
        """

    found = {flag.word: str(flag).split() for flag in flags(recipe)}
    assert found["--latent-dim"] == ["--latent-dim", "INT", "size", "of", "z,", "at", "least", "1", "(default:", "20)"]
    assert found["--no-batch-norm"] == ["--no-batch-norm", "in", "both", "nets"]
    assert found["-k"] == ["-k", "INT", "moves"]


@pytest.mark.parametrize(
    ("words", "absent"), [(["--help"], ("torch", "tyro", "pydantic")), (["train", "vae", "--help"], ("torch",))]
)
def test_help_imports_nothing_heavy(words: list[str], absent: tuple[str, ...]) -> None:
    code = f"import sys; from ganvas.cli import main; main({words}); assert not {set(absent)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Errors


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("smaple", 1, "unknown verb 'smaple'. Did you mean 'sample'?"),
        ("data digits", 1, "takes list or show: ganvas data show digits"),
        ("train", 1, "takes a recipe: "),
        ("train vea", 1, "unknown recipe 'vea'. Did you mean 'vae'?"),
        ("train vae --epcohs 3", 2, "unknown flag '--epcohs'. Did you mean --epochs?"),
        ("train vae --epochs x", 2, "--epochs takes INT, not 'x'."),
        ("train vae --latent_dim=x", 2, "--latent-dim takes INT, not 'x'."),
        ("train vae --net mpl", 2, "--net takes mlp|dcgan|residual|spatial, not 'mpl'. Did you mean mlp?"),
        ("train vae --size 8 8 8", 2, "--size takes H [W], not '8 8 8'."),
        ("train vae --lr --epochs 3", 2, "--lr takes FLOAT, not nothing."),
        ("train vae again", 2, "'again' is one word too many."),
        ("train vae --data digits --batch-size 0", 1, "batch_size: 0 is refused"),
        ("train --resume", 2, "--resume takes RUN, not nothing."),
        ("train --resume nowhere", 1, "there is no folder nowhere."),
        ("train --resume nowhere --epcohs 3", 2, "unknown flag '--epcohs'. Did you mean --epochs?"),
        ("train --resume nowhere --lr 3", 2, "unknown flag '--lr'."),
        ("data show digits --channels 2", 2, "--channels takes 1|3|4, not '2'."),
        ("sample", 2, "`ganvas sample` takes RUN. For example: ganvas sample"),
        ("sample nowhere", 1, "there is no folder nowhere."),
        ("sample nowhere -n x", 2, "-n takes INT, not 'x'."),
        ("sample nowhere -n 0", 1, "-n 0: it takes at least 1."),
        ("show nowhere", 1, "there is no folder nowhere."),
    ],
)
def test_refusals(words: str, status: int, says: str, said: Said) -> None:
    assert says in said(*words.split(), status=status)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("denoise vae missing.png", "a model of kind vae has no denoise"),
        ("sample dae", "has no sample"),
        ("denoise dae", "takes image files"),
        ("denoise dae missing.png", "there is no 'missing.png'"),
        ("denoise dae vae/recipe.json", "cannot be read: not an image"),
        ("denoise dae dae/samples/../checkpoints", "holds no images"),
        ("denoise dae x.png --noise -1", "--noise -1"),
        ("reconstruct model", "say which images with --data"),
        ("encode vae --data nope", "unknown data set 'nope'"),
        ("train --resume vae --epochs 1", "--epochs 1: vae has done 1 epoch already; it takes more than that."),
        ("sample veae", "there is no folder veae. Did you mean vae?"),
        ("train dcgan --resume vae", "is a run of vae, not of dcgan"),
    ],
)
def test_refusals_of_a_run(words: str, says: str, home: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.chdir(home)
    (home / "dae" / "samples").mkdir(exist_ok=True)
    assert says in said(*words.split(), status=1)


def test_a_verb_that_the_model_lacks_is_refused_before_data_is_read(home: Path, said: Said) -> None:
    assert "has no denoise" in said("denoise", home / "vae", "no-such-file.png", status=1)


def test_debug_shows_the_traceback(home: Path) -> None:
    with pytest.raises(UserError, match="is a run of vae"):
        main(["train", "gan", "--debug", "--resume", str(home / "vae")])


def test_other_processes_than_the_first_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["recipes"]) == 0 and main(["smaple"]) == 1
    assert capsys.readouterr() == ("", "")


# Pipes


def test_version(said: Said) -> None:
    assert said("--version") == f"ganvas {ganvas.__version__}\n"


@pytest.mark.parametrize(
    "words",
    ["recipes", "--help", "data list", "diagnose {run}", "show {run}", "data show digits", "evaluate {run} -n 20",
     "compare {run}", "reproduce"],
)  # fmt: skip
def test_a_reader_that_is_gone_ends_a_verb_quietly(words: str, home: Path, tmp_path: Path) -> None:
    """`ganvas VERB | head -1`, where head has gone before anything is printed."""
    run = shutil.copytree(home / "vae", tmp_path / "vae")
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "ganvas", *words.format(run=run).split()]
    with os.fdopen(writes, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141, done.stderr
    assert "roken pipe" not in done.stderr and "Traceback" not in done.stderr
