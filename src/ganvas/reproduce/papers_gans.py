"""The figures of papers' tables about GANs, with our own beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganvas.reproduce.fixes import PUBLISHED_ERRORS
from ganvas.reproduce.gans import PUBLISHED_PARZEN, images_of, published, unaveraged
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from ganvas.training.run import Run

STACKED, MODES, PUBLISHED_KL = "stacked-mnist", 1000, 0.06
RING_R1, GRID_R1 = 0.005, 0.03  # in units of squared lengths: the ring is smaller


@FIGURES.register
def ring_and_grid(lab: Lab) -> Outcome:
    """P5: every mode of a ring and of a grid.

    Claim: a GAN reaches all 8 modes of the ring and all 25 of the grid in every training, and over 98 % of its samples
    lie within 3 standard deviations of one, on average over trainings (of the data itself 98.9 %). PacGAN, whose
    protocol this is (Lin et al. 2018, section 4.1; 2,500 samples, 10 trainings), has at best 7.9 modes and 95.6 % on
    the ring, 24.8 modes and 93.6 % on the grid. The recipe is `clustered-gan`, tuned on seeds 100 to 102.
    """
    from ganvas.data.sources import GAUSSIANS
    from ganvas.ground import drawing

    epochs = lab.pick(quick=3, full=50)
    drawn = drawing.figure(10, 3.6)
    *maps, shares = drawn.subplots(1, 3)
    measures, missed = [], []
    for place, (data, weight, axes) in enumerate(zip(GAUSSIANS, (RING_R1, GRID_R1), maps, strict=True)):
        runs = [lab.train("clustered-gan", data=data, seed=seed, epochs=epochs, r1=weight) for seed in lab.seeds]
        found = [coverage(lab, run) for run in runs]
        modes, good, kl = ([part[name] for part in found] for name in ("modes", "good samples", "KL of the modes"))
        centres, _ = GAUSSIANS[data]
        measures += [
            Measure(f"{data}: modes", modes, f"of {len(centres)}", f"{len(centres)} in each training"),
            Measure(f"{data}: share within 3 sigma of one", good, "", "above 0.98"),
            Measure(f"{data}: KL to equal shares", kl, "nats"),
        ]
        if short := sum(value < len(centres) for value in modes):
            missed.append(f"on the {data} {short} of {len(modes)} trainings miss a mode")
        if measures[-2].mean <= 0.98:
            missed.append(f"on the {data} {measures[-2].mean:.1%} are good")
        model: Any = runs[0].model
        axes.plot(*centres.T, "o", color=drawing.COLOURS[4], markersize=9, alpha=0.6)
        axes.plot(*model.sample(2500).T, ".", color=drawing.COLOURS[0], markersize=1)
        axes.set(title=f"{data}, 2,500 samples", aspect="equal")
        shares.plot(lab.seeds, good, "o", color=drawing.COLOURS[place], label=data)
    shares.axhline(0.98, color=drawing.GREY, linewidth=1)
    shares.set(xlabel="seed", title="share within 3 sigma of a mode")
    shares.legend()
    return Outcome(measures, not missed, "; ".join(missed), drawn)


def coverage(lab: Lab, run: Run, step: int | None = None) -> dict[str, float]:
    """The modes that samples reach, by the name of each figure, as `ganvas evaluate` has them.

    Args:
        lab: that keeps them.
        run: of a set whose modes are known.
        step: of one of its snapshots; the run's model by default.
    """
    from ganvas.evaluate.metrics import METRICS
    from ganvas.evaluate.subject import Subject

    def measure() -> dict[str, float]:
        return {it.name: it.value for it in METRICS["modes"](Subject(run.dataset(), lab.model(run, step)))}

    return lab.cache("modes", {"run": run.path.name} | ({} if step is None else {"step": step}), measure)


@FIGURES.register
def hundred_labels(lab: Lab) -> Outcome:
    """P6: digits from 100 labels.

    Claim: a classifier of MNIST that is told 100 labels, by a GAN with feature matching, errs on at most 93 of the
    10,000 test images, on average over splits (Salimans et al. 2016, table 1: 93 +- 6.5 of 10 splits). The paper trains
    for 300 epochs; here it is 40, with the same nets, batches and noise, and a learning rate that falls by a cosine.
    Another seed is another choice of labels, too.
    """
    from ganvas.ground import drawing

    epochs = lab.pick(quick=2, full=40)
    runs = [lab.train("semisupervised-gan", data="mnist", seed=seed, epochs=epochs) for seed in lab.seeds]
    errors = Measure(
        "errors in 10,000", [10_000 * run.state["test"]["error"] for run in runs], "", f"at most {PUBLISHED_ERRORS:g}"
    )
    holds = errors.mean <= PUBLISHED_ERRORS
    reason = "" if holds else f"{errors.mean - PUBLISHED_ERRORS:.0f} errors more after {epochs} of 300 epochs"
    drawn = drawing.figure(10, 3.6)
    course, picture = drawn.subplots(1, 2, width_ratios=(1.4, 1))
    for run in runs:
        rows = [row for row in run.metrics if row["split"] == "validation"]
        course.plot([row["epoch"] for row in rows], [100 * row["error"] for row in rows], color=drawing.COLOURS[0])
    course.axhline(PUBLISHED_ERRORS / 100, color=drawing.GREY, linestyle="--", label="the paper, test error")
    course.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title=f"{len(runs)} splits of 100 labels")
    course.legend()
    model: Any = runs[0].model
    drawing.show(picture, model.sample(64), "samples, made to match features")
    return Outcome([errors], holds, reason, drawn)


@FIGURES.register
def parzen_window(lab: Lab) -> Outcome:
    """P7: the Parzen window figure of a GAN.

    Claim: 10,000 samples of a GAN of two MLPs that learns MNIST have a Parzen window log-likelihood of at least 225
    nats per test image (Goodfellow et al. 2014, table 1: 225 +- 2), with sigma chosen on 1,000 validation images from
    logspace(-1, 0, 10). The generator's layers are the paper's, 1200-1200; later than the paper are batch norm, Adam
    with a rate that falls, R1, and samples from a moving average of the generator. Beside it, of the first seed: the
    GAN of the paper's released code (maxout, dropout, SGD), trained for its 250 epochs.
    """
    from ganvas.evaluate.measures.parzen import parzen
    from ganvas.ground import drawing

    n, epochs = lab.pick(quick=(2000, 2), full=(10_000, 182))
    validation, test = images_of("mnist", "validation", 1000), images_of("mnist", "test", n)

    def measure(images: Any) -> dict[str, float]:
        return parzen(images, validation, test)

    def of(run: Run, model: Any) -> dict[str, float]:
        return lab.cache("parzen", {"run": run.path.name, "n": n}, lambda: measure(model.sample(n, seed=1)))

    settings: dict[str, Any] = {"ema": 0.999, "r1": 1.0, "lr": 1e-3, "schedule": "cosine", "batch_size": 250}
    runs = [lab.train("gan", data="mnist", seed=seed, epochs=epochs, **settings) for seed in lab.seeds]
    paper = published(lab, lab.seeds[0])
    papers = unaveraged(lab.model(paper))
    several = {"": [of(run, lab.model(run)) for run in runs], ", the released code's GAN": [of(paper, papers)]}
    measures = []
    for name, found in several.items():
        error = found[0]["standard_error"] if len(found) == 1 else None
        values = [one["log_likelihood"] for one in found]
        expected = "" if name else f"at least {PUBLISHED_PARZEN:g}"
        measures += [
            Measure(f"Parzen log-likelihood of test images{name}", values, "nats", expected, error),
            Measure(f"sigma{name}", [one["sigma"] for one in found]),
        ]
    reached = measures[0].mean
    data = measure(images_of("mnist", "train", n))
    measures.append(
        Measure("training images for samples", [data["log_likelihood"]], "nats", error=data["standard_error"])
    )
    holds = reached >= PUBLISHED_PARZEN
    reason = "" if holds else f"{PUBLISHED_PARZEN - reached:.0f} nats below after {epochs} epochs"
    drawn = drawing.figure(11, 3.6)
    course, *pictures = drawn.subplots(1, 3, width_ratios=(1.2, 1, 1))
    for run in runs:
        rows = [row for row in run.metrics if row["split"] == "train"]
        for number, which in enumerate(("real", "fake")):
            course.plot(
                [row["epoch"] for row in rows],
                [row[f"discriminator/{which}"] for row in rows],
                color=drawing.COLOURS[number],
                label=which if run is runs[0] else None,
            )
    course.set(xlabel="epoch", ylabel="mean D", ylim=(0, 1), title="what D says of real images and fakes")
    course.legend()
    shown: dict[str, Any] = {
        "samples, R1 and averaged G": lab.model(runs[0]),
        "samples, the released code's GAN": papers,
    }
    for axes, (title, model) in zip(pictures, shown.items(), strict=True):
        drawing.show(axes, model.sample(64), title)
    return Outcome(measures, holds, reason, drawn)


@FIGURES.register
def stacked_digits(lab: Lab) -> Outcome:
    """P9: the thousand modes of stacked MNIST.

    Claim: 26,000 samples of a GAN that learns from images of three random digits, one a colour channel, have all 1,000
    modes, and the KL of their shares from equal ones is at most 0.06 nats, in every training: the figure of PacGAN (Lin
    et al. 2018; 1,000 and 0.06, of DCGAN without packing 78.9 and 4.50), whose protocol this is. 128,000 images, a
    classifier names each digit, `dcgan` with R1, in batches of 256. (26,000 images of the data itself have a KL of
    0.02.)
    """
    from ganvas.ground import drawing

    settings: dict[str, Any] = {
        "loss": "non-saturating",
        "filters": 64,
        "ema": 0.999,
        "r1": 1.0,
        "lr": 2e-3,
        "schedule": "cosine",
    }
    epochs, snapshots = lab.pick(quick=(1, 2), full=(28, 6))
    runs = [
        lab.train("dcgan", data=STACKED, seed=seed, epochs=epochs, batch_size=256, snapshots=snapshots, **settings)
        for seed in lab.seeds
    ]
    found = [coverage(lab, run) for run in runs]
    modes = Measure("modes", [part["modes"] for part in found], f"of {MODES:,}", f"{MODES:,} in each training")
    kl = Measure("KL to equal shares", [part["KL of the modes"] for part in found], "nats", f"at most {PUBLISHED_KL}")
    missed = []
    if short := sum(value < MODES for value in modes.values):
        missed.append(f"{short} of {len(runs)} trainings miss a mode")
    if short := sum(value > PUBLISHED_KL for value in kl.values):
        missed.append(f"the KL of {short} of {len(runs)} trainings is above {PUBLISHED_KL} after {epochs} of 50 epochs")
    drawn = drawing.figure(9, 3.6)
    course, picture = drawn.subplots(1, 2, width_ratios=(1.4, 1))
    for place, run in enumerate(runs):
        per_epoch = run.state["steps"] / epochs
        values = [coverage(lab, run, step)["KL of the modes"] for step in run.snapshots]
        course.plot([step / per_epoch for step in run.snapshots], values, "o-", color=drawing.COLOURS[place % 6])
    course.axhline(PUBLISHED_KL, color=drawing.GREY, linestyle="--", label="the paper, after 50")
    course.set(xlabel="epoch", ylabel="nats", yscale="log", title="KL of the modes to equal shares")
    course.legend()
    model: Any = runs[0].model
    drawing.show(picture, model.sample(64), "samples")
    return Outcome([modes, kl], not missed, "; ".join(missed), drawn)
