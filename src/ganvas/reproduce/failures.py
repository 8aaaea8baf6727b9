"""The lecture's two ways of getting a VAE's loss wrong: made on purpose, named by the watch, mended as it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganvas.reproduce.gans import images_of
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.training.finding import Finding
    from ganvas.training.run import Run

SIDE = 20


def trained(lab: Lab, seed: int, beta: float) -> Run:
    """A VAE of MNIST whose KL has that weight."""
    return lab.train("vae", data="mnist", beta=beta, fit=0, epochs=lab.pick(quick=6, full=10), seed=seed)


def named(run: Run, names: tuple[str, ...]) -> tuple[int, Finding] | None:
    """The step at which the watch first said one of these names, and that finding as it stands at the end."""
    from ganvas.training.watch import examine, findings

    last = [finding for finding in examine(run)[0] if finding.name in names]
    rows = [row for row in run.metrics if row["split"] == "watch"]
    for n, row in enumerate(rows):
        if last and last[0].name in {it.name for it in findings(rows[: n + 1], run.recipe, run.data["shape"])}:
            return row["step"], last[0]
    return None


def spread(images: Tensor) -> float:
    """The mean distance between two of the images (N, C, H, W), which is 0 where all are the same."""
    import torch

    return float(torch.pdist(images.flatten(1)).mean())


@dataclass(frozen=True)
class Case:
    """A failure and its cure, of one training.

    Attributes:
        runs: broken, and trained with the remedy.
        step: at which the watch named the fault; infinite if it never did, and then there is no cure.
        remedy: the command that it proposed.
        left: what the watch says of the cured run at its end.
    """

    runs: list[Run]
    step: float
    remedy: str
    left: list[str]

    @property
    def mended(self) -> bool:
        """Named before the training's end, and no fault is left after the remedy."""
        return self.step < self.runs[0].state["step"] and not self.left


def case(lab: Lab, seed: int, beta: float, names: tuple[str, ...]) -> Case:
    """Break it, let the watch name it, do as it says."""
    from ganvas.training.watch import examine

    broken = trained(lab, seed, beta)
    found = named(broken, names)
    if found is None:
        return Case([broken], math.inf, "", [])
    step, finding = found
    cured = lab.train(**{"seed": seed, **finding.arguments})
    return Case([broken, cured], step, finding.remedy, [it.name for it in examine(cured)[0]])


def told(cases: list[Case], names: tuple[str, ...]) -> list[Measure]:
    """The numbers that both rows share."""
    steps = [one.step if math.isfinite(one.step) else one.runs[0].state["step"] for one in cases]
    end, n = cases[0].runs[0].state["step"], len(cases)
    count = float(sum(math.isfinite(one.step) for one in cases))
    return [
        Measure(f"trainings in which the watch names {' or '.join(names)}", [count], f"of {n}", f"{n}"),
        Measure("step at which it does", steps, f"of {end:,}", f"below {end:,}"),
        Measure("faults left after its remedy", [float(len(one.left)) for one in cases], "", "0"),
    ]


def draw(cases: list[Case], figure: str, title: str) -> Any:
    """Samples of the broken and of the cured run on a 20 x 20 grid, reconstructions, and what the watch saw."""
    from ganvas.ground import drawing

    first, x = cases[0], images_of("mnist", "test", 10)
    drawn = drawing.figure(13, 4.6)
    *grids, right = drawn.subplots(1, len(first.runs) + 1, width_ratios=[1] * len(first.runs) + [0.8])
    strips, weights = {"x": x}, []
    for letter, axes, run in zip("ab", grids, first.runs, strict=False):
        model: Any = run.model
        weights.append(f"beta {run.recipe.model.beta:g}")
        drawing.show(axes, model.sample(SIDE * SIDE), f"({letter}) samples, {weights[-1]}", columns=SIDE)
        strips[weights[-1]] = model.reconstruct(x)
    upper = right.inset_axes((0, 0.52, 1, 0.48))
    lower = right.inset_axes((0.08, 0.02, 0.92, 0.36))
    right.axis("off")
    drawing.strips(upper, strips)
    upper.set_title("reconstructions")
    for colour, one, label in zip(drawing.COLOURS[1::-1], first.runs, weights, strict=False):
        rows = [row for row in one.metrics if row["split"] == "watch"]
        lower.plot([row["step"] for row in rows], [row[figure] for row in rows], ".-", color=colour, label=label)
    if math.isfinite(first.step):
        lower.axvline(first.step, color=drawing.GREY, linestyle="--", label="named here")
    lower.set_yscale("symlog", linthresh=1)
    lower.set(xlabel="step", title=title)
    lower.legend(fontsize=7)
    return drawn


def reason(cases: list[Case], worse: list[str]) -> str:
    """What the watch proposed, and what speaks against the claim."""
    unnamed = [f"{sum(not one.mended for one in cases)} of {len(cases)} not named or not mended"]
    said = [*(unnamed if not all(one.mended for one in cases) else []), *worse]
    return "; ".join([*said, f"the watch proposed: {cases[0].remedy or 'nothing'}"]) + "."


@FIGURES.register
def latent_loss(lab: Lab) -> Outcome:
    """L8: too high a latent loss: every sample is the same blurred digit.

    Claim: with the KL weighted 100 times a VAE's samples are one image (the mean distance between two of them is below
    a tenth of that between two test images), the watch names it before the training ends (posterior collapse, or
    latent loss too high), and the remedy that it proposes leaves no fault and gives samples of at least half the test
    images' spread, in every training.
    """
    names = ("posterior collapse", "latent loss too high")
    cases = [case(lab, seed, 100.0, names) for seed in lab.seeds]
    real = spread(images_of("mnist", "test", SIDE * SIDE))
    shares = [[spread(run.model.sample(SIDE * SIDE)) / real for run in one.runs] for one in cases]
    broken, cured = [share[0] for share in shares], [share[-1] for share in shares]
    measures = [
        *told(cases, names),
        Measure("spread of samples over that of test images, broken", broken, "", "below 0.1"),
        Measure("the same after the remedy", cured, "", "at least 0.5"),
        Measure("KL, broken", [one.runs[0].state["test"]["kl"] for one in cases], "nats"),
        Measure("KL after the remedy", [one.runs[-1].state["test"]["kl"] for one in cases], "nats"),
    ]
    worse = ["the samples are not one image"] * (max(broken) >= 0.1) + ["the cured samples are too alike"] * (
        min(cured) < 0.5
    )
    holds = all(one.mended for one in cases) and not worse
    drawn = draw(cases, "kl", "KL, nats")
    return Outcome(measures, holds, reason(cases, worse), drawn)


@FIGURES.register
def reconstruction_loss(lab: Lab) -> Outcome:
    """L9: too high a reconstruction loss: good reconstructions, broken samples.

    Claim: with the KL weighted a thousandth a VAE reconstructs test images with less squared error than with weight 1,
    but its samples are further from them (Frechet distance over a digit classifier's features; the quick version: 64
    principal components), the watch names it before the training ends, and the remedy that it proposes leaves no fault
    and at least halves that distance, in every training.
    """
    from ganvas.data import load
    from ganvas.evaluate import frechet_distance
    from ganvas.evaluate.networks.features import features
    from ganvas.parts.losses import squared_error

    names = ("reconstruction loss weighted too high",)
    cases = [case(lab, seed, 0.001, names) for seed in lab.seeds]
    n = lab.pick(quick=2000, full=10_000)
    represent, test = features(lab.pick(quick="pca", full="classifier"), load("mnist")), images_of("mnist", "test", n)
    real = represent(test)
    errors: list[list[float]] = []
    distances: list[list[float]] = []
    for one in cases:
        models: list[Any] = [run.model for run in one.runs]
        errors.append([float(squared_error(test, model.reconstruct(test)).mean()) for model in models])
        distances.append([frechet_distance(real, represent(model.sample(n, seed=1))) for model in models])
    measures = [
        *told(cases, names),
        Measure("squared error per test image, broken", [of[0] for of in errors], "", "below that after the remedy"),
        Measure("the same after the remedy", [of[-1] for of in errors]),
        Measure("Frechet distance of samples to test images, broken", [of[0] for of in distances]),
        Measure("the same after the remedy", [of[-1] for of in distances], "", "at most half of it"),
    ]
    worse = ["reconstructions are not better"] * any(of[0] >= of[-1] for of in errors)
    worse += ["the cured samples are not twice as near"] * any(of[-1] > of[0] / 2 for of in distances)
    holds = all(one.mended for one in cases) and not worse
    drawn = draw(cases, "aggregate_kl", "KL(Q(z) || P(z)), nats a dimension")
    return Outcome(measures, holds, reason(cases, worse), drawn)
