"""The log-likelihoods of decoders in Wu et al. 2017, with our own beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from ganvas.training.run import Run

# Wu et al. 2017, nats per image: of test images, and of training images.
PUBLISHED = {
    ("VAE", 50): (991.4, 1272.6),
    ("VAE", 10): (705.4, 780.2),
    ("GAN", 50): (627.3, 620.5),
    ("GAN", 10): (328.8, 318.9),
}
HIDDEN = {10: (1024, 256, 256, 64), 50: (1024, 1024, 1024)}  # from the image inwards
SCALE = {10: 0.1, 50: 0.07}  # of the VAEs' normal; not tuned


@FIGURES.register
def decoders(lab: Lab) -> Outcome:
    """P8: log P(x) of a VAE's and a GAN's decoder.

    Claim: under decoders of the same net, 10-64-256-256-1024-784 or 50-1024-1024-1024-784, log P(x) of MNIST's test
    images by annealed importance sampling is in the order of Wu et al. 2017: VAE-50, VAE-10, GAN-50, GAN-10;
    and each gap between neighbours of that table, VAE over GAN at either size and 50 over 10 for either model, is from
    half to twice the published one. 50 images of a split, real-valued, dequantised; a normal around what is decoded,
    with the sigma that validation images choose; rectifiers between the layers. The paper has 16 chains and 10,000
    temperatures (here it is 500), and moment matching networks too.
    """
    from ganvas.ground import drawing

    found = {name: measured(lab, name) for name in PUBLISHED}
    measures, test = [], {}
    for (kind, size), parts in found.items():
        test[kind, size] = sum(part["test"] for part in parts) / len(parts)
        for place, split in enumerate(("test", "train")):
            values = [part[split] for part in parts]
            error = parts[0][f"{split} error"] if len(parts) == 1 else None
            paper = f"{PUBLISHED[kind, size][place]:g} in the paper"
            measures.append(Measure(f"{kind}-{size}, {split} images", values, "nats", paper, error))
        gaps = [part["gap"] for part in parts]
        measures.append(Measure(f"{kind}-{size}, bound from above less from below, its own images", gaps, "nats"))
    missed = []
    if sorted(test, key=lambda name: -test[name]) != list(PUBLISHED):
        missed.append("the order is " + ", ".join(f"{k}-{d}" for k, d in sorted(test, key=lambda name: -test[name])))
    for better, worse in GAPS:
        gap, published = test[better] - test[worse], PUBLISHED[better][0] - PUBLISHED[worse][0]
        what = f"{better[0]}-{better[1]} over {worse[0]}-{worse[1]}"
        measures.append(Measure(f"{what}, test images", [gap], "nats", f"{published / 2:.0f} to {published * 2:.0f}"))
        if not published / 2 <= gap <= published * 2:
            missed.append(f"{what} is {gap:.0f} nats, {published:.0f} in the paper")
    drawn = drawing.figure(11, 3.4)
    bars, *pictures = drawn.subplots(1, 5, width_ratios=(1.6, 1, 1, 1, 1))
    places = range(len(PUBLISHED))
    bars.bar([p - 0.2 for p in places], test.values(), 0.4, color=drawing.COLOURS[0], label="ours")
    bars.bar([p + 0.2 for p in places], [v[0] for v in PUBLISHED.values()], 0.4, color=drawing.GREY, label="the paper")
    bars.set(ylabel="nats", title="log P(x), test images")
    bars.set_xticks(places, [f"{kind}-{size}" for kind, size in PUBLISHED])
    bars.legend()
    for axes, name in zip(pictures, PUBLISHED, strict=True):
        model: Any = trained(lab, name, lab.seeds[0]).model
        drawing.show(axes, model.sample(36), "-".join(map(str, name)))
    return Outcome(measures, not missed, "; ".join(missed), drawn)


GAPS = [
    (("VAE", 50), ("GAN", 50)),
    (("VAE", 10), ("GAN", 10)),
    (("VAE", 50), ("VAE", 10)),
    (("GAN", 50), ("GAN", 10)),
]


def trained(lab: Lab, name: tuple[str, int], seed: int) -> Run:
    """The run of one of the four models."""
    kind, size = name
    settings: dict[str, Any] = {"latent_dim": size, "hidden": HIDDEN[size], "seed": seed}
    if kind == "VAE":
        vae: dict[str, Any] = {"likelihood": "gaussian", "scale": SCALE[size], "fit": 0, "batch_size": 250}
        return lab.train("vae", epochs=lab.pick(quick=1, full=60), **vae, **settings)
    return lab.train("gan", epochs=lab.pick(quick=1, full=50), batch_size=100, schedule="cosine", **settings)


def measured(lab: Lab, name: tuple[str, int]) -> list[dict[str, float]]:
    """For each seed: log P(x) of test and of training images with standard errors, and the gap of the bounds."""
    how = lab.pick(quick={"n": 4, "steps": 10}, full={"n": 50, "steps": 500})

    def of(run: Run) -> dict[str, float]:
        return lab.cache("annealing", {"run": run.path.name, **how}, lambda: anneal(run, **how))

    return [of(trained(lab, name, seed)) for seed in lab.seeds]


def anneal(run: Run, n: int, steps: int) -> dict[str, float]:
    """Of n images of each split."""
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.decoders import Decoder, below, best_scale, both_bounds
    from ganvas.evaluate.figures import mean
    from ganvas.evaluate.subject import spread
    from ganvas.ground.randomness import Draw

    splits, values = run.dataset().splits, {}
    chosen = best_scale(run.model, to_tensor(spread(splits["validation"], 20).images), max(1, steps // 10))
    decoder = Decoder(run.model, chosen)
    for split in ("test", "train"):
        x = decoder.observe(to_tensor(spread(splits[split], n).images), Draw(0))
        each = below(decoder, x, steps, what=f"{run.recipe.name}, {split} images").numpy()
        values[split], values[f"{split} error"] = float(each.mean()), float(mean("", each).error or 0)
    lower, upper = both_bounds(decoder, min(n, 20), steps, what="from both sides")
    return values | {"gap": float((upper - lower).mean()), "sigma": chosen}
