"""What a run suffers from: named by the rows of its metrics alone, with the numbers, the step and the remedy.

A fault is one decorated function: its name is the fault's, its docstring the explanation; the decorator has the figures
and where they are healthy, the result is what to change.
"""

from __future__ import annotations

import inspect
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Registry, flagged, parameters
from ganvas.recipes import RECIPES
from ganvas.recipes.base import Data, Recipe, Training, make
from ganvas.recipes.facts import Facts
from ganvas.training.finding import Evidence, Finding

FAULTS = Registry("fault")
# Every model begins with faults that pass: nothing is named in this share of the steps, at least and at most these.
WARM_UP, FEWEST, MOST = 0.2, 200, 3000
HELD = 0.2  # share of the steps so far over which a fault must have held without a break, in two rows at least
SLOW = 1e-4  # a rate that no net diverges at
LATE = 1 / 3  # share of the steps before which nobody says how well a model has learned: it still learns
LEARNED = ("error_over_pca", "detail")  # the figures of that
TOO_SHORT = 20  # a run is too short that is so many times shorter than its recipe's own length
SHORT = "Every model is poor at first: nothing else can be said of one that has hardly been trained."
DIVERGED = "divergence: "  # how the message of a run begins that stopped at a number that is not finite

FAR = -3.0  # below it, what is explained of the images is no longer a collapsed decoder's
COLLAPSED = {"posterior collapse", "latent loss too high"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """Where a figure is healthy."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"at least {self.low:g}" if self.high == math.inf else f"at most {self.high:g}"


def at_least(low: float) -> Range:
    """A figure that is healthy from `low` on."""
    return Range(low=low)


def at_most(high: float) -> Range:
    """A figure that is healthy up to `high`."""
    return Range(high=high)


# What each figure says, in words for a person; `ganvas.training.watch.measure` computes them.
VITALS = {
    "active_units": "latent dimensions whose posterior mean varies over the data (variance over 0.01)",
    "kl": "mean of KL(Q(z given x) || P(z)), nats",
    "unused_dimensions": "share of latent dimensions with under 0.01 nats of it",
    "mutual_information": "I(x; z), nats, at most the logarithm of the number of images looked at",
    "aggregate_kl": "KL(Q(z) || P(z)) of the aggregate posterior, nats per latent dimension",
    "beta": "weight of the KL",
    "explained_train": "share of the variance of training images that reconstructions explain",
    "explained_since": "how much more of it than at the first look",
    "explained_held_out": "the same of held-out images",
    "generalisation_gap": "the former less the latter",
    "error_over_pca": "squared error of held-out reconstructions over that of PCA with as many numbers (active units)",
    "detail": "squared differences of neighbouring pixels in held-out reconstructions, over those in the images",
    "black_and_white": "share of pixels that are nearly black or white, as a Bernoulli likelihood expects",
    "scale_over_error": "the fixed scale of a Gaussian likelihood over the error of reconstructions",
    "steps": "of the whole training",
    "perplexity": "of tokens: how many codes of the codebook are in use, each as often as it is",
    "codes_in_use": "share of the codes that this is, or of those that so few images can show",
    "told_from_reconstructions": "how often a nearest neighbour tells samples from reconstructions; 0.5 is chance",
    "spread": "spread of samples over that of training images",
    "sample_distance": "distance from a sample to the nearest training image, over that from held-out images",
    "recall": "share of held-out images within the reach of samples",
    "coverage": "share of held-out images with a sample in reach",
    "missing_classes": "share of the classes that samples lack",
    "told_heard": "how often samples are nearest to images of what was told, above chance, over the same of images",
    "told_spread": "spread of the samples of what is told over that of its training images, the least of all values",
    "told_least": "which value that is, numbered over all attributes that are told",
    "separation": "probability that D finds a held-out image more real than a fake; 0.5 is chance",
    "overfitting": "probability that D finds a training image more real than a held-out one; 0.5 is chance",
    "discriminator_held_out": "mean D(x) of held-out images",
    "discriminator_fake": "mean D(G(z))",
    "generator_gradient": "norm of the gradient of G's loss by one fake image",
    "slope": "norm of the gradient of D's logit by one fake image",
    "gradient_share": "share of D's slope that G's loss passes on",
    "clipped_share": "share of the critic's weights at the clip",
    "logit_scale": "median size of D's logits of held-out images and fakes",
}


Changes = Mapping[str, Any]
Remedies = Callable[[Recipe], Sequence[Changes] | None]


@dataclass(frozen=True)
class Fault:
    """A fault, named when all the figures of one of its `signs` stay outside their healthy ranges.

    Attributes:
        name: in the field's words.
        signs: alternatives, each a range by figure.
        explanation: what it means, a sentence.
        remedies: from a recipe to changes of its flags, the best first, "recipe" for another recipe; None where the
            fault can't be.
    """

    name: str
    signs: tuple[dict[str, Range], ...]
    explanation: str
    remedies: Remedies

    def __call__(self, history: Sequence[Row], recipe: Recipe, facts: Facts, ended: bool = False) -> Finding | None:
        """The finding, where one of the signs has held."""
        for sign in self.signs:
            since = held(history, sign, ended)
            if since is not None and self.remedies(recipe) is not None:
                evidence = {key: Evidence(float(history[-1][key]), str(good)) for key, good in sign.items()}
                return self.found(since, evidence, recipe, facts)
        return None

    def found(self, since: int, evidence: dict[str, Evidence], recipe: Recipe, facts: Facts) -> Finding:
        """The finding, with a remedy; a smaller learning rate is one for every run."""
        remedies = [*(self.remedies(recipe) or ()), {"lr": _rate(recipe, 3)}]
        taken = remedy(recipe, facts, remedies)
        return Finding(self.name, since, evidence, self.explanation, command(taken), taken)


def fault(*signs: dict[str, Range]) -> Callable[[Remedies], Fault]:
    """Decorator: a fault of the function's name."""

    def register(function: Remedies) -> Fault:
        name = function.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, signs, " ".join((inspect.getdoc(function) or "").split()), function)
        return FAULTS[name]  # type: ignore[no-any-return]

    return register


@fault(
    {"explained_train": at_least(-0.5), "explained_since": at_least(0.02)},
    {"aggregate_kl": at_most(1000)},
    {"logit_scale": at_most(100)},
)
def divergence(recipe: Recipe) -> Sequence[Changes] | None:
    """The losses grow without bound."""
    if _rate(recipe, 1) < SLOW:
        return None  # the nets are as bad as at first: they have not moved
    return [{"lr": _rate(recipe, 10)}]


@fault({"clipped_share": at_most(0.8)}, {"clipped_share": at_most(0.4), "slope": at_least(1e-3)})
def critic_weights_stuck_at_the_clip(recipe: Recipe) -> Sequence[Changes]:
    """The critic can only be a crude function of the image, and its slope, from which the generator learns, is gone."""
    return [{"gradient_penalty": 10.0, "clip": None}]


@fault({"active_units": at_least(1), "kl": at_least(0.5), "mutual_information": at_least(1)})
def posterior_collapse(recipe: Recipe) -> Sequence[Changes]:
    """The posterior is the prior whatever the image: the decoder ignores z, and every sample is the same blur."""
    beta = getattr(recipe.model, "beta", 1.0)
    return [{"beta": 1.0 if beta > 1 else beta / 4}, {"warmup": 20_000}]


@fault({"mutual_information": at_least(1), "beta": at_most(1)})
def latent_loss_too_high(recipe: Recipe) -> Sequence[Changes]:
    """The KL outweighs the reconstruction: z may say too little of the image."""
    return [{"beta": 1.0}]


@fault({"codes_in_use": at_least(0.1)})
def codebook_collapse(recipe: Recipe) -> Sequence[Changes] | None:
    """Nearly all tokens are of a few codes: the others are dead, and a code says little of its place."""
    quantiser = getattr(recipe.model, "quantiser", None)
    if quantiser is None or not hasattr(quantiser, "size"):
        return None  # of levels none is dead
    return [{"revive": 0.03}, {"codebook": max(2, quantiser.size // 4)}, {"levels": (8, 5, 5, 5)}]


@fault({"aggregate_kl": at_most(1.5), "told_from_reconstructions": at_most(0.85)})
def reconstruction_loss_weighted_too_high(recipe: Recipe) -> Sequence[Changes] | None:
    """The codes lie where the prior does not: images are reconstructed well, but samples are broken."""
    beta = getattr(recipe.model, "beta", 1.0)
    if beta >= 1 and getattr(recipe.model, "fit", 0):
        return None  # P(z) is fitted to the codes at the end, wherever they lie
    return [{"beta": 1.0 if beta < 1 else beta * 4}, {"prior": "vamp"}]


@fault(
    {
        "separation": at_most(0.998),
        "discriminator_held_out": at_most(0.98),
        "discriminator_fake": at_least(0.02),
    }
)
def discriminator_saturated(recipe: Recipe) -> Sequence[Changes]:
    """The discriminator is sure of every image, so its answers hardly change with what the generator does."""
    return [*_non_saturating(recipe), {"label_smoothing": 0.9}, _wgan(recipe)]


@fault({"gradient_share": at_least(0.01)})
def vanishing_generator_gradient(recipe: Recipe) -> Sequence[Changes]:
    """The minimax loss is flat where D(G(z)) is near 0: the generator is told almost nothing."""
    return [*_non_saturating(recipe), _wgan(recipe)]


@fault({"spread": at_least(0.15), "recall": at_least(0.05)}, {"missing_classes": at_most(0.35)})
def mode_collapse(recipe: Recipe) -> Sequence[Changes] | None:
    """The generator makes few kinds of images, whatever z is."""
    if "generator" not in recipe.training.turns:
        return None
    penalty = [{"gradient_penalty": 10.0, "clip": None}] if recipe.name == "wgan" else []
    return [*_non_saturating(recipe), *penalty, {"minibatch_discrimination": 100}, _wgan(recipe)]


@fault({"told_heard": at_least(0.62)})
def condition_unheard(recipe: Recipe) -> Sequence[Changes]:
    """Samples are hardly of what the model was told: it makes them from z alone."""
    if "generator" in recipe.training.turns:
        return [{"epochs": 4 * recipe.training.epochs}]
    smaller = [{"latent_dim": max(1, recipe.model.latent_dim // 2)}] if hasattr(recipe.model, "latent_dim") else []
    return [{"fit": 100}, *smaller, {"epochs": 4 * recipe.training.epochs}]


@fault({"told_spread": at_least(0.3)})
def collapse_of_a_class(recipe: Recipe) -> Sequence[Changes]:
    """What is told has one kind of image, whatever z is."""
    return FAULTS["mode collapse"].remedies(recipe) or [{"epochs": 4 * recipe.training.epochs}]


@fault({"black_and_white": at_least(0.6)}, {"scale_over_error": at_most(3)})
def wrong_likelihood(recipe: Recipe) -> Sequence[Changes]:
    """P(x given z) can't describe these data: grey levels are no black and white, or reconstructions could be more
    exact than its scale asks for."""
    return [{"likelihood": "gaussian", "scale": None}]


@fault({"error_over_pca": at_most(2.2)})
def underfit(recipe: Recipe) -> Sequence[Changes]:
    """Reconstructions are worse than those of principal components, with as many numbers: the nets have not learned."""
    return [{"epochs": 4 * recipe.training.epochs}, {"net": "residual"}]


@fault({"detail": at_least(0.15)}, {"detail": at_least(0.3), "explained_held_out": at_least(0.45)})
def blurred(recipe: Recipe) -> Sequence[Changes]:
    """Reconstructions lack the detail of the images: edges and texture are averaged away."""
    wider = {"latent_dim": 4 * recipe.model.latent_dim} if hasattr(recipe.model, "latent_dim") else {}
    return [wider, {"epochs": 4 * recipe.training.epochs}]


@fault({"recall": at_least(0.02), "coverage": at_least(0.1)})
def samples_unlike_the_data(recipe: Recipe) -> Sequence[Changes] | None:
    """No image has a sample near it: the generator has not learned the data yet, or has lost them."""
    if "generator" not in recipe.training.turns:
        return None
    return [*_non_saturating(recipe), {"epochs": 4 * recipe.training.epochs}]


@fault({"generalisation_gap": at_most(0.25)}, {"overfitting": at_most(0.85)})
def memorising(recipe: Recipe) -> Sequence[Changes]:
    """The model, or its discriminator, knows the training images by heart and does much worse on others."""
    if "generator" in recipe.training.turns:
        return [{"augment": True}, {"epochs": max(1, recipe.training.epochs // 4)}]
    augmented = [{"augment": True}] if "discriminator" in recipe.training.turns else []
    smaller = [{"latent_dim": max(1, recipe.model.latent_dim // 4)}] if hasattr(recipe.model, "latent_dim") else []
    return [*augmented, {"patience": 3}, *smaller]


def _rate(recipe: Recipe, smaller: float) -> float:
    """The learning rate, so many times smaller, to a digit."""
    return float(f"{max(turn.optimizer.lr for turn in recipe.training.turns.values()) / smaller:.1g}")


def _wgan(recipe: Recipe) -> Changes:
    # Nets of convolutions do not fit every image; where the run has them, they fit.
    nets = {} if recipe.name in ("dcgan", "wgan") else {"generator": "mlp", "critic": "mlp"}
    return {"recipe": "wgan", "gradient_penalty": 10.0, **nets}


def _non_saturating(recipe: Recipe) -> list[Changes]:
    return [{"loss": "non-saturating"}] if getattr(recipe.model, "loss", "") == "minimax" else []


def held(history: Sequence[Row], sign: Mapping[str, Range], ended: bool = False) -> int | None:
    """Since which step all figures of a sign have been outside their ranges, up to the last row; None if they have not.

    It takes two rows after the warm-up, and a fifth of the steps so far; where there is one row alone, that one. Of a
    training that has ended, all rows will do, however near they lie.
    """
    outside = [all(key in row and row[key] not in good for key, good in sign.items()) for row in history]
    rows = next((n for n, out in enumerate(reversed(outside)) if not out), len(outside))
    old = sum(not row["warm_up"] for row in history)
    if not rows or not old or sum(not row["warm_up"] for row in history[-rows:]) < min(2, old):
        return None
    since, now = int(history[-rows]["step"]), int(history[-1]["step"])
    always = rows == len(history) and (ended or rows == 1)
    return since if always or now - since >= HELD * now else None


def looks(rows: Sequence[Row], recipe: Recipe) -> list[dict[str, Any]]:
    """The watch's rows, with what follows from them and from the recipe, and whether each is of the warm-up."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row["split"] == "watch":
            more: dict[str, Any] = {"warm_up": row["step"] < warm_up(row, recipe)}
            if hasattr(recipe.model, "beta"):
                more["beta"] = recipe.model.beta
            if "explained_train" in row and "explained_held_out" in row:
                first = found[0] if found else row
                more["explained_since"] = row["explained_train"] - first.get("explained_train", 0)
                more["generalisation_gap"] = row["explained_train"] - row["explained_held_out"]
            early = row["step"] < LATE * _steps(row, recipe)
            found.append({key: value for key, value in row.items() if not (early and key in LEARNED)} | more)
    return found


def warm_up(row: Row, recipe: Recipe) -> float:
    """The step before which nothing is named."""
    return max(FEWEST, min(WARM_UP * _steps(row, recipe), MOST))


def _steps(row: Row, recipe: Recipe) -> float:
    """Of the whole training."""
    steps: float = row["step"] / row["epoch"] * recipe.training.epochs
    return steps


def findings(
    rows: Sequence[Row], recipe: Recipe, shape: Sequence[int], state: Mapping[str, Any] | None = None
) -> list[Finding]:
    """The faults that a run has now, the causes before what comes of them.

    Args:
        rows: of metrics.jsonl; those of split "watch" count.
        recipe: of the run.
        shape: of one example.
        state: what state.json says: a run that stopped at a number that is not finite says so there.
    """
    history = looks(rows, recipe)
    facts = Facts(tuple(shape))
    if history:  # what an epoch's steps say of the number of images
        n = history[-1]["step"] / history[-1]["epoch"] * recipe.training.batch_size
        facts = replace(facts, n=max(1, round(n)))
    if state and str(state.get("message", "")).startswith(DIVERGED):
        return [FAULTS["divergence"].found(int(state["step"]), {}, recipe, facts)]
    ended = bool(state and state.get("state") == "finished")
    found = [finding for fault in FAULTS.values() if (finding := fault(history, recipe, facts, ended))]
    if ended and history:
        found += too_short(history[-1], recipe, facts)
    found = [_of_value(finding, history[-1], recipe) for finding in found]
    names = {finding.name for finding in found}
    if names & COLLAPSED:  # such a decoder gives one image, which of course is blurred
        found = [finding for finding in found if finding.name not in ("underfit", "blurred")]
        # Its images at the codes' mean, where no draw of z lies, may be far from any.
        if history[-1].get("explained_train", 0.0) > FAR:
            found = [finding for finding in found if finding.name != "divergence"]
    # Of a model that has diverged nothing else can be said.
    return [finding for finding in found if finding.name == "divergence"] or found


def _of_value(finding: Finding, row: Row, recipe: Recipe) -> Finding:
    """A finding about a value that is told names it."""
    if "told_spread" not in finding.evidence or "told_least" not in row:
        return finding
    values = [(it.name, value) for it in recipe.model.condition for value in it.values if not it.number]
    name, value = values[int(row["told_least"])]
    return replace(finding, explanation=f"{name} {value}: {finding.explanation[0].lower()}{finding.explanation[1:]}")


def too_short(row: Row, recipe: Recipe, facts: Facts) -> list[Finding]:
    """The finding that a finished run is under a twentieth of what its recipe trains by itself, or `FEWEST` steps."""
    epoch_steps = row["step"] / row["epoch"]
    own = _plain(recipe, facts)
    enough = max(FEWEST, math.ceil(own.training.epochs * epoch_steps / TOO_SHORT))
    if row["step"] >= enough:
        return []
    taken = changed(recipe, {"epochs": max(own.training.epochs, math.ceil(5 * enough / epoch_steps))}, facts)
    evidence = {"steps": Evidence(row["step"], str(at_least(enough)))}
    return [Finding("trained too shortly", 0, evidence, SHORT, command(taken), taken)]


def remedy(recipe: Recipe, facts: Facts, remedies: Sequence[Changes]) -> dict[str, Any]:
    """The run's arguments after the first remedy that can be taken and that it has not taken already."""
    from ganvas.parts.techniques import in_order

    if recipe.name not in RECIPES:  # made by hand: what fits is not known
        return changed(recipe, remedies[0], facts)
    for changes in remedies:
        name = changes.get("recipe", recipe.name)
        now = _flags(recipe, facts) if name == recipe.name else {}
        own = parameters(RECIPES[name])
        fits = changes.keys() <= {"recipe", "lr", "epochs", "patience", *own}
        new = any(now.get(flag) != value for flag, value in changes.items() if flag != "recipe")
        if fits and new and ("augment" not in changes or facts.images):
            known = {*own, *recipe.arguments}
            made = make(name, {flag: value for flag, value in {**now, **changes}.items() if flag in known})
            with suppress(UserError):  # techniques that can't stand together
                in_order(getattr(made.model, "techniques", ()))
                return changed(recipe, changes, facts)
    raise AssertionError(f"no remedy of {remedies} fits {recipe.name}")  # each list ends with one that always does


def changed(recipe: Recipe, changes: Changes, facts: Facts | None = None) -> dict[str, Any]:
    """The arguments of `ganvas.train`, "recipe" among them, that train the same again with other values of some.

    Where `changes` name another "recipe", it has that one's own settings, and of this one's those that say what to
    train on.
    """
    name = changes.get("recipe", recipe.name)
    flags = {**_flags(recipe, facts), **changes}
    if name != recipe.name:
        kept = {*changes, "data", "condition", *flagged(Data), "seed", "device"}
        flags = {flag: value for flag, value in flags.items() if flag in kept}
    return {**flags, "recipe": name}


def command(arguments: Mapping[str, Any]) -> str:
    """`ganvas train ...`: the command line of such arguments; None is a flag that is not given."""
    name = arguments["recipe"]
    words = ["ganvas", "train", name]
    for flag, value in arguments.items():
        word = f"-{flag}" if len(flag) == 1 else "--" + flag.replace("_", "-")
        if isinstance(value, dict):  # a technique with more settings, which flags can't say: the first one
            value = next(iter(value.values()), True)
        if flag == "recipe" or value is None:
            continue
        if value is False:
            words += [f"--no-{word[2:]}"] * (parameters(RECIPES[name])[flag].default is True)
        else:
            several = value if isinstance(value, list | tuple) else [] if value is True else [value]
            words += [word, *(f"{one:.12g}" if isinstance(one, float) else str(one) for one in several)]
    return shlex.join(words)


def _flags(recipe: Recipe, facts: Facts | None = None) -> dict[str, Any]:
    """The flags that the run was started with: those that differ from what the recipe's function gives by itself.

    Not --init: a remedy begins anew, for other nets may not fit those weights, and what is wrong may be in them.
    """
    known = parameters(RECIPES[recipe.name]) if recipe.name in RECIPES else {}
    made = _plain(recipe, facts)
    flags = {
        flag: value for flag, value in recipe.arguments.items() if flag not in known or value != known[flag].default
    }
    flags["data"] = recipe.data.source
    if told := getattr(recipe.model, "condition", ()):
        flags["condition"] = [attribute.name for attribute in told]
    for cls, now, before in ((Data, recipe.data, made.data), (Training, recipe.training, made.training)):
        values = {name: getattr(now, name) for name in flagged(cls)}
        flags |= {name: value for name, value in values.items() if name != "init" and value != getattr(before, name)}
    if not recipe.data.stream:  # there was room, and there will be
        flags.pop("stream", None)
    rates = {turn.optimizer.lr for turn in recipe.training.turns.values()}
    if rates != {turn.optimizer.lr for turn in made.training.turns.values()}:
        flags["lr"] = max(rates)
    return flags


def _plain(recipe: Recipe, facts: Facts | None = None) -> Recipe:
    """The run's recipe as its function makes it by itself; one that was made by hand is that itself."""
    return make(recipe.name, recipe.arguments, facts) if recipe.name in RECIPES else recipe
