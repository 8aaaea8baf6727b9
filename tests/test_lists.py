"""Lists that people read (guide, pages, help) name what the registries hold: no more, no less."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from ganvas.cli import HELP, OF_RECIPES, VERBS
from ganvas.cli import explore as exploring
from ganvas.cli.flags import Command, Flag, choices, flags
from ganvas.evaluate.anomaly.scores import SCORES
from ganvas.evaluate.compare import FORMATS
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.networks import features
from ganvas.evaluate.networks.features import FEATURES
from ganvas.evaluate.record import ASKED
from ganvas.ground.plots import FILMS
from ganvas.ground.registry import parameters
from ganvas.parts.likelihoods import LIKELIHOODS
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.nets import NETS
from ganvas.parts.priors import PRIORS
from ganvas.parts.techniques import TECHNIQUES
from ganvas.recipes import RECIPES
from ganvas.reproduce import lab
from ganvas.training.watch import FAULTS
from ganvas.version import __version__

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ganvas"
GUIDE, COMMANDS, LECTURE, HOUSE = (
    (ROOT / "docs" / name).read_text() for name in ("guide.md", "commands.md", "lecture.md", "architecture.md")
)
METRIC_PAGES = {page.stem: page.read_text() for page in (ROOT / "docs" / "metrics").glob("*.md")}


def between(text: str, start: str, end: str) -> str:
    """What stands between two texts, of which the first is there once."""
    _, rest = " ".join(text.split()).split(start)
    return rest.split(end, 1)[0]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def column(table: str) -> list[str]:
    """What is quoted in the first column."""
    return [name for line in re.findall(r"^\| (`.*?) \|", table, re.M) for name in quoted(line)]


def words(text: str) -> list[str]:
    """The items of "a, b and c"."""
    return re.split(r", | and ", text)


def flag(verb: str, name: str) -> Flag:
    return Command(verb, VERBS[verb]).words[name]


def technique_flags() -> list[str]:
    return [it.word for it in flags(RECIPES["gan"]) if it.name.replace("_", "-") in TECHNIQUES]


# ---- docs ----


def test_losses() -> None:
    assert quoted(between(GUIDE, "**A loss** is one of ", ".")) == list(GAN_LOSSES)


def test_techniques() -> None:
    table = between(GUIDE, "refused before anything is trained.", "### On a GPU")
    said = [name.split()[0] for name in re.findall(r"`(--[^`]+)`", table)]
    assert sorted(said) == sorted(technique_flags()) and len(said) == len(TECHNIQUES)


def made() -> list[lab.Row]:
    """Those of ganvas: other tests make some, too."""
    return [row for row in lab.rows() if row.make.__module__.startswith("ganvas")]


def lab_names() -> set[str]:
    return {row.name for row in made()}


def test_rows_of_the_lecture_and_of_papers() -> None:
    found: dict[str, set[str]] = {}
    for rows, names in re.findall(r"^\| ([LP]\d[^|]*) \|(.*)\|$", LECTURE, re.M):
        first, *last = re.findall(r"\d+", rows)
        for number in range(int(first), int((last or [first])[0]) + 1):
            found[f"{rows[0]}{number}"] = set(re.findall(r"results/README\.md#([\w-]+)", names))
    for row in made():
        for place in row.lecture:
            assert row.name in found[place], f"{row.name} is not in the page's row {place}"
    assert set().union(*found.values()) == lab_names()


def test_verbs() -> None:
    """In the page of commands, in the guide's "Explore", and in the help."""
    (commands,) = re.findall(r"```sh\n(.*?)```", COMMANDS, re.S)
    assert set(re.findall(r"ganvas (data \w+|[\w-]+)", commands)) == {*OF_RECIPES, *VERBS} - {"data list"}
    assert set(quoted(between(GUIDE, "The verbs ", " draw the same"))) == set(exploring.VERBS)
    assert set(re.findall(r"^  (data \w+|[a-z][\w-]*)", HELP, re.M)) == {*OF_RECIPES, *VERBS}


def test_faults() -> None:
    said = between(GUIDE, "It knows ", "Whether a model is underfit")
    for fault in FAULTS.values():
        assert all(word in said for word in re.findall(r"\w{4,}", fault.name)), f"the guide lacks {fault.name!r}"


def test_recipes_that_take_what() -> None:
    """The guide says which recipes have `--paper`, and which choose a likelihood."""
    paper = {name for name, recipe in RECIPES.items() if "paper" in parameters(recipe)}
    assert set(quoted(between(GUIDE, "where today's differ (", ")"))) == paper
    likely = {name for name, recipe in RECIPES.items() if "likelihood" in parameters(recipe)}
    assert set(quoted(between(GUIDE, "Adam's time; ", " take a Bernoulli"))) == likely


# ---- pages of metrics ----


def test_features() -> None:
    known = [name.split(":")[0] for name in column(METRIC_PAGES["features"])]
    assert {*known} - {"PATH"} == {*FEATURES}
    doc = inspect.getdoc(features.features) or ""
    assert {name.split(":")[0] for name in re.findall(r'^ +- "([\w:]+)"', doc, re.M)} - {"PATH"} == {*FEATURES}
    assert {*words(flag("neighbours", "--features").help.split(", or an ONNX")[0])} == {*FEATURES}


def test_metrics() -> None:
    assert between(flag("evaluate", "--metrics").help, "which of ", " (") == ", ".join(METRICS)
    assert words(between(flag("evaluate", "--metrics").help, "all but ", ")")) == list(ASKED)
    assert {*ASKED} < {*METRICS}


# ---- help ----


def test_scores() -> None:
    """The first that a model has is its default: their order counts, too."""
    assert flag("score", "--by").help.split(" (")[0] == ", ".join(SCORES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_s_choices_are_known(name: str) -> None:
    """Flags that choose a net, a prior or a likelihood name some that are registered."""
    known = {"net": NETS, "prior": PRIORS, "likelihood": LIKELIHOODS}
    for it in flags(RECIPES[name]):
        if it.name in known and choices(it.kind):
            assert {*choices(it.kind)} <= {*known[it.name]}


def test_every_net_prior_and_likelihood_can_be_had_by_a_flag() -> None:
    offered: dict[str, set[str]] = {"net": set(), "prior": set(), "likelihood": set()}
    for recipe in RECIPES.values():
        for it in flags(recipe):
            offered.get(it.name, set()).update(choices(it.kind))
    assert offered["net"] == {*NETS} and offered["likelihood"] == {*LIKELIHOODS}
    assert offered["prior"] | {"flow", "bimodal", "uniform", "truncated-normal", "stochastic-layer"} == {*PRIORS}


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if "loss" in parameters(recipe)])
def test_losses_in_the_help(name: str) -> None:
    (loss,) = (it for it in flags(RECIPES[name]) if it.name == "loss")
    named = re.match(r"([\w, -]+)\.\.\.", loss.help)
    assert named and {*filter(None, re.split(r", ", named[1]))} <= {*GAN_LOSSES}


def test_formats() -> None:
    said = flag("compare", "--out").help
    assert sorted(re.findall(r"\.\w+", said)) == sorted(FORMATS)
    assert sorted(re.findall(r"\.\w+", flag("interpolate", "--out").help.split("(")[0])) == sorted([".png", *FILMS])
    assert re.search(r"PNG, GIF, MP4", GUIDE)


# ---- files ----


def test_what_registers_is_read_with_its_package() -> None:
    """Else nobody would know what it holds."""
    texts = {file: file.read_text() for file in SOURCE.rglob("*.py")}
    found = [file for file, text in texts.items() if ".register\n" in text and not re.search(r"Registry\b[()]", text)]
    assert len(found) > 20
    for file in found:
        assert re.search(rf"\b{file.stem}\b", texts[file.with_name("__init__.py")]), file


def test_the_house_names_files_that_are_there() -> None:
    named = set(re.findall(r"\b(\w+)\.py\b", HOUSE))
    files = {path.stem for folder in (SOURCE, ROOT / "lock", ROOT / "docs") for path in folder.rglob("*.py")}
    assert named <= files and len(named) > 80


def test_a_release_has_one_version_and_one_day() -> None:
    (release,) = re.findall(r"^version: (.*)\ndate-released: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    first = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first is not None and first.groups() == release and release[0] == __version__


# ---- docs/reference ----


@pytest.mark.parametrize("page", ["recipes", "verbs", "faults", "pieces"])
def test_pages_that_are_written_from_the_code_are_current(page: str) -> None:
    file = ROOT / "docs" / "make_reference.py"
    spec = importlib.util.spec_from_file_location("make_reference", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert page in module.PAGES and len(module.PAGES) == 4
    written = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert written == module.text(page), "run: python docs/make_reference.py"


def test_every_recipe_is_among_those_to_choose_from() -> None:
    page = (ROOT / "docs" / "choosing.md").read_text()
    headings = " ".join(re.findall(r"^## (.*)$", page, re.M))
    assert not [name for name in RECIPES if name not in headings]
