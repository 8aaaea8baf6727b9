"""Writes docs/reference/ from the code: `python docs/make_reference.py`. A test holds that the pages are current."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ganvas.cli import VERBS, training, tune
from ganvas.cli.flags import Command, Flag, flags
from ganvas.evaluate.anomaly.scores import SCORES
from ganvas.evaluate.metrics import METRICS
from ganvas.ground.registry import parameters
from ganvas.parts.likelihoods import LIKELIHOODS
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.nets import NETS
from ganvas.parts.priors import PRIORS
from ganvas.recipes import RECIPES
from ganvas.recipes.techniques import Techniques
from ganvas.training.finding import say
from ganvas.training.watch.faults import FAULTS, SHORT, VITALS, Fault

HERE = Path(__file__).resolve().parent / "reference"
WRITTEN = "<!-- Written by `python docs/make_reference.py`. -->\n"


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(given: Iterable[Flag]) -> Iterator[str]:
    """A row for each flag."""
    yield from (row("flag", "value", "what it does"), "|---|---|---|")
    for flag in given:
        plain = isinstance(flag.default, str | int | float) and not isinstance(flag.default, bool)
        default = f" (default: {flag.default:g})" if isinstance(flag.default, float) else f" (default: {flag.default})"
        word = flag.metavar if flag.positional else flag.word
        yield row(f"`{word}`", f"`{flag.metavar}`" * bool(flag.metavar), flag.help + default * plain)


def paragraphs(function: Callable[..., Any]) -> list[str]:
    """A docstring's text before its sections."""
    text = re.split(r"^(?:Args|Examples?|Raises|Returns):", inspect.getdoc(function) or "", maxsplit=1, flags=re.M)[0]
    return [" ".join(part.split()) for part in text.strip().split("\n\n")]


def marked(text: str) -> str:
    """Flags in prose as code."""
    return re.sub(r"(?<![`\w-])(--[a-z][\w-]*)", r"`\1`", text)


def recipes() -> Iterator[str]:
    yield "# Recipes\n"
    yield (
        "A recipe is a model with the settings of a paper, or with what has steadied training since. Which one to\n"
        "take is in [choosing a model](../choosing.md). Beside its own flags each takes those of\n"
        "[every training](#every-training), and a GAN the [techniques](#techniques-of-gans).\n"
    )
    techniques = set(Techniques.__annotations__)
    for name, recipe in RECIPES.items():
        yield f"## {name}\n"
        yield from (marked(part) + "\n" for part in paragraphs(recipe))
        yield f"```sh\n{Command(f'train {name}', recipe).example}\n```\n"
        own = flags(recipe)
        yield from table(flag for flag in own if flag.name not in techniques)
        has = [flag.name.replace("_", "-") for flag in own if flag.name in techniques]
        if has and len(has) < len(techniques):
            yield f"\nTechniques: {', '.join(f'`--{technique}`' for technique in has)}."
        elif has:
            yield "\nAll techniques."
        yield ""
    yield "## Techniques of GANs\n"
    yield from table(flag for flag in flags(RECIPES["gan"]) if flag.name in techniques)
    yield "\nThe [guide](../guide.md) has their papers.\n"
    yield "## Every training\n"
    yield from table(flags(training.FLAGS))


def verbs() -> Iterator[str]:
    yield "# Verbs and their flags\n"
    yield "[Commands](../commands.md) shows them by what they are for. `ganvas VERB --help` says the same as here.\n"
    functions = {"tune": tune.FLAGS, **VERBS}
    for name, function in sorted(functions.items()):
        command = Command(name, function)
        yield f"## {name}\n"
        yield f"`ganvas {' '.join(filter(None, [name, command.takes]))}`\n"
        yield from (marked(part) + "\n" for part in paragraphs(function))
        if command.flags:
            yield from table(command.flags)
            yield ""
        yield f"```sh\n{command.example}\n```\n"


def faults() -> Iterator[str]:
    yield "# Faults that the watch names\n"
    yield (
        "A fault is named once a sign of it has held for a fifth of the training so far. A sign is one figure outside\n"
        "its healthy range, or several at a time. `ganvas diagnose RUN` prints them, with the command that helps.\n"
        "How often the watch is right is in [watch.md](../../results/watch.md).\n"
    )
    for fault in FAULTS.values():
        yield f"## {fault.name.capitalize()}\n"
        yield f"{fault.explanation}\n"
        yield from (row("sign", "figure", "healthy"), "|---|---|---|")
        for number, sign in enumerate(fault.signs, 1):
            for figure, healthy in sign.items():
                yield row(str(number), f"{say(figure)}: {VITALS[figure]}", str(healthy))
        yield ""
        yield f"What is tried: {remedies(fault)}.\n"
    yield "## Trained too shortly\n"
    yield f"{SHORT} It is said at the end of a training, and alone.\n"
    yield "What is tried: another `--epochs`.\n"


def pieces() -> Iterator[str]:
    yield "# Losses, likelihoods, priors, nets, metrics\n"
    yield "Each is one function or one class; [adding one](../adding.md) takes one file and its test.\n"
    for title, note, registry in PIECES:
        yield f"## {title}\n"
        yield f"{note}\n"
        yield from (row("name", "what it is"), "|---|---|")
        yield from (row(f"`{name}`", first(item)) for name, item in registry.items())
        yield ""


def first(item: Any) -> str:
    """The first paragraph of what it says of itself."""
    return " ".join((inspect.getdoc(item) or "").split("\n\n")[0].split())


def remedies(fault: Fault) -> str:
    """The flags that a fault's remedies set, by the recipes that take them."""
    found: dict[str, None] = {}
    for recipe in RECIPES.values():
        fits = {"recipe", "lr", "epochs", "patience", *parameters(recipe)}
        for broken in [{"loss": "minimax"}, {}, {"beta": 0.5}]:
            if not broken.keys() <= fits:
                continue
            made = recipe(**broken)
            several = [it for it in fault.remedies(made) or () if it and ("recipe" in it or it.keys() <= fits)]
            for changes in several:
                found.setdefault("`wgan` instead" if "recipe" in changes else words(changes))
    return "; ".join(found) or "a smaller rate"


def words(changes: dict[str, Any]) -> str:
    """`--beta 1`, without a value that depends on the run."""
    depends = ("lr", "epochs", "latent_dim", "beta")
    said = []
    for flag, value in changes.items():
        name = "--" + flag.replace("_", "-")
        if isinstance(value, tuple):
            value = " ".join(map(str, value))
        if value is None:
            said.append(f"no `{name}`")
        elif flag in depends:
            said.append(f"another `{name}`")
        else:
            said.append(
                f"`{name}`"
                if value is True
                else f"`{name} {value:g}`"
                if isinstance(value, float)
                else f"`{name} {value}`"
            )
    return " with ".join(said)


PIECES: list[tuple[str, str, Any]] = [
    ("Losses of GANs", "`--loss NAME`, and in Python `loss=`.", GAN_LOSSES),
    ("Likelihoods", "P(x given z): `--likelihood NAME` of recipes that have it.", LIKELIHOODS),
    ("Priors", "P(z): `prior=` in Python, `--prior NAME` of recipes that have it.", PRIORS),
    ("Nets", "`--net NAME` of recipes that have it, and `net=` in Python.", NETS),
    ("Metrics", "`ganvas evaluate RUN --metrics NAME`; [a page each](../metrics/README.md).", METRICS),
    ("Scores", "`ganvas score RUN --by NAME`; [how they compare](../scores.md).", SCORES),
]

PAGES: dict[str, Callable[[], Iterator[str]]] = {"recipes": recipes, "verbs": verbs, "faults": faults, "pieces": pieces}


def text(page: str) -> str:
    return WRITTEN + "\n" + "\n".join(PAGES[page]()).rstrip() + "\n"


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for page in PAGES:
        (HERE / f"{page}.md").write_text(text(page), encoding="utf-8")
