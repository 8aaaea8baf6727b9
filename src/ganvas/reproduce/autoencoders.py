"""The lecture's figures of autoencoders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
SIZES = (2, 8, 32, 128)
LEVELS = (0.1, 0.25, 0.5, 1.0)
BM3D = "BM3D"


def pca(train: Array, rows: Array, size: int) -> tuple[Array, Array]:
    """Codes and reconstructions of rows by the first principal components of others.

    Args:
        train: (N, D), where mean and components come from.
        rows: (M, D).
        size: of the code.

    Returns:
        (M, size), and (M, D) cut to [0, 1], as an autoencoder's sigmoid is.
    """
    from sklearn.decomposition import PCA

    model = PCA(size, svd_solver="covariance_eigh").fit(train)
    codes = model.transform(rows)
    return codes, model.inverse_transform(codes).clip(0, 1)


def accuracy(train: tuple[Array, Array], test: tuple[Array, Array]) -> float:
    """The test accuracy of a logistic regression on features (N, d) that are standardised first; labels (N,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return float(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(*train).score(*test))


@FIGURES.register
def codes(lab: Lab) -> Outcome:
    """L2: codes of an autoencoder beside PCA: features and compression.

    Claim: at code sizes 2, 8, 32 and 128 the autoencoder's squared error per MNIST test image is below that of PCA with
    as many components, and a logistic regression on 32 standardised features is right more often with the
    autoencoder's than with PCA's. Refuted where PCA, which is the best linear code, does as well with any seed.
    """
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.ground import drawing
    from ganvas.parts.losses import squared_error

    pace: dict[str, Any] = lab.pick(quick={"epochs": 3, "lr": 2e-3}, full={"epochs": 3, "net": "dcgan"})
    splits = load("mnist").splits
    train, test = (to_tensor(splits[name].images[:]) for name in ("train", "test"))
    labels = {name: np.asarray(splits[name].labels) for name in ("train", "test")}
    flat, flat_test = train.flatten(1).numpy(), test.flatten(1).numpy()
    errors: dict[str, list[list[float]]] = {"autoencoder": [], "PCA": []}
    shown = {"x": test[:10]}
    features: list[float] = []
    for size in SIZES:
        _, linear = pca(flat, flat_test, size)
        errors["PCA"].append([float(((linear - flat_test) ** 2).sum(1).mean())])
        errors["autoencoder"].append([])
        for seed in lab.seeds:
            model: Any = lab.train("autoencoder", data="mnist", latent_dim=size, seed=seed, **pace).model
            ours = model.reconstruct(test)
            errors["autoencoder"][-1].append(float(squared_error(test, ours).mean()))
            if seed == lab.seeds[0]:
                shown |= {f"autoencoder {size}": ours[:10], f"PCA {size}": as_images(linear[:10], test)}
            if size == 32:
                found = [(model.encode(x).numpy(), labels[name]) for name, x in (("train", train), ("test", test))]
                features.append(accuracy(found[0], found[1]))
    linear_features = [(pca(flat, x, 32)[0], labels[name]) for name, x in (("train", flat), ("test", flat_test))]
    measures = [
        Measure(f"squared error per image, {name} {size}", of[place], "", "below PCA's" * (name != "PCA"))
        for place, size in enumerate(SIZES)
        for name, of in errors.items()
    ]
    measures += [
        Measure("accuracy on 32 features of the autoencoder", features, "", "above PCA's"),
        Measure("accuracy on 32 features of PCA", [accuracy(linear_features[0], linear_features[1])]),
    ]
    worse = [
        f"at size {size} the error is not below PCA's"
        for size, ours, theirs in zip(SIZES, errors["autoencoder"], errors["PCA"], strict=True)
        if max(ours) >= theirs[0]
    ]
    if min(features) <= measures[-1].mean:
        worse.append("a logistic regression does not prefer its features")
    net = f"{pace['epochs']} epochs with the {pace.get('net', 'mlp')} net; PCA's reconstructions are cut to [0, 1]."
    drawn = drawing.figure(10.5, 4.1)
    left, right = drawn.subplots(1, 2, width_ratios=(1.1, 1))
    for colour, (name, of), right_share in zip(
        drawing.COLOURS, errors.items(), (np.mean(features), measures[-1].mean), strict=False
    ):
        label = f"{name}; accuracy on 32 features {right_share:.1%}"
        left.plot(SIZES, [np.mean(values) for values in of], "o-", color=colour, label=label)
    ticks = (1, 2, 5, 10, 20, 50)
    left.set(xscale="log", yscale="log", xlabel="code size", ylabel="squared error per test image", ylim=(1, 60))
    left.set_xticks(SIZES, map(str, SIZES))
    left.set_yticks(ticks, map(str, ticks))
    left.minorticks_off()
    left.legend()
    drawing.strips(right, shown)
    return Outcome(measures, not worse, "; ".join([*worse, net]), drawn)


def as_images(rows: Array, like: Tensor) -> Tensor:
    """Rows (N, C * H * W) as images of the shape of others."""
    import torch

    return torch.from_numpy(rows.astype("float32")).reshape(-1, *like.shape[1:])


def denoisers() -> dict[str, tuple[Callable[..., Array], list[dict[str, Any]]]]:
    """The classical denoisers: a function of one image (H, W), and the settings to choose from."""
    from scipy.ndimage import median_filter  # type: ignore[import-untyped]
    from skimage import restoration

    def grid(**choices: Any) -> list[dict[str, Any]]:
        return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]

    weights, widths = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0), (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
    patches, wavelets = (3, 5), ("db1", "db2", "sym4")
    found: dict[str, tuple[Callable[..., Array], list[dict[str, Any]]]] = {
        "median": (median_filter, grid(size=(2, 3, 5, 7))),
        "total variation": (restoration.denoise_tv_chambolle, grid(weight=weights)),
        "non-local means": (restoration.denoise_nl_means, grid(h=widths, patch_size=patches, patch_distance=(5, 9))),
        "wavelet": (
            restoration.denoise_wavelet,
            grid(sigma=(None, 0.05, *widths[1:6]), wavelet=wavelets, mode=("soft", "hard")),
        ),
    }
    if find_spec("bm3d"):
        from bm3d import bm3d  # type: ignore[import-not-found,import-untyped,unused-ignore]

        found[BM3D] = (bm3d, grid(sigma_psd=(0.1, 0.2, 0.35, 0.6)))
    return found


@dataclass(frozen=True)
class Classical:
    """A classical denoiser, tuned; its output x becomes slope x + offset, cut to [0, 1].

    Noise that is cut to [0, 1] brightens black and darkens white; none of these undoes that by itself.
    """

    name: str
    settings: dict[str, Any]
    slope: float = 1.0
    offset: float = 0.0

    def raw(self, noisy: Array) -> Array:
        """Images (N, H, W), denoised."""
        function, _ = denoisers()[self.name]
        return np.stack([function(image, **self.settings) for image in noisy])

    def __call__(self, noisy: Array) -> Array:
        """Images (N, H, W), denoised, in [0, 1]."""
        return (self.slope * self.raw(noisy) + self.offset).clip(0, 1)


def tune(name: str, clean: Array, noisy: Array) -> Classical:
    """A classical denoiser with the settings and the line that give the highest mean PSNR; images (N, H, W)."""
    from ganvas.evaluate.measures.pictures import psnr

    found = []
    for settings in denoisers()[name][1]:
        raw = Classical(name, settings).raw(noisy)
        offset, slope = np.polynomial.Polynomial.fit(raw.ravel(), clean.ravel(), 1).convert().coef
        best = Classical(name, settings, float(slope), float(offset))
        found.append((float(psnr(clean, (slope * raw + offset).clip(0, 1)).mean()), best))
    return max(found, key=lambda pair: pair[0])[1]


AHEAD = 0.5  # dB
OURS, PLAIN = "denoiser", "denoising autoencoder"


@FIGURES.register
def denoising(lab: Lab) -> Outcome:
    """L3: a denoising autoencoder beside classical denoisers.

    Claim: at noise levels 0.1, 0.25, 0.5 and 1 (the standard deviation of Gaussian noise on pixels in [0, 1], then cut
    to it as a file does) one autoencoder with skip connections, which is not told the level, gives a PSNR at least 0.5
    dB above that of the best of median filter, total variation, non-local means and wavelet thresholding, each tuned at
    that level: on MNIST test images, and on grey patches of photographs that no patch to learn from comes from. Refuted
    where one of them comes nearer, at any level and with any seed.

    The classical ones are tuned on validation images, with a line after them against the bias of noise that is cut;
    which of them is best is chosen on the test images themselves. Beside them stand the lecture's autoencoder, all of
    whose image goes through the code (of the first seed), and on photographs BM3D where its package is installed, which
    is free for non-commercial use only.
    """
    from ganvas.ground import drawing

    drawn = drawing.figure(10, 9)
    panels = drawn.subplots(2, 2, width_ratios=(1, 1.2))
    measures: list[Measure] = []
    nearer: list[str] = []
    used: list[str] = []
    for axes, (data, settings) in zip(panels, DENOISED.items(), strict=True):
        level, best = compare_denoisers(lab, data, axes, **settings)
        for place, noise in enumerate(LEVELS):
            name, value, how = best[place]
            ours = level[OURS][place]
            measures += [
                Measure(f"{data}: {OURS}, noise {noise:g}", ours, "dB", f"above {value + AHEAD:.2f}"),
                Measure(f"{data}: best of the classical, noise {noise:g}: {name}", [value], "dB"),
                *(
                    Measure(f"{data}: {other}, noise {noise:g}", level[other][place], "dB")
                    for other in (PLAIN, BM3D)
                    if other in level
                ),
            ]
            used.append(f"{name} {', '.join(f'{key} {one}' for key, one in how.items())}")
            if (lead := min(ours) - value) <= AHEAD:
                nearer.append(f"on {data} at level {noise:g} it is {lead:.2f} dB above {name}")
    reason = f"{'; '.join(nearer)}{'. ' * bool(nearer)}The best classical settings: {'; '.join(used)}."
    return Outcome(measures, not nearer, reason, drawn)


# Of the data sets: epochs, and how many validation and test images the denoisers see.
DENOISED: dict[str, dict[str, Any]] = {
    "mnist": {"epochs": 3, "validation": 50, "test": 1000, "without": BM3D},  # it takes a second an image
    "photographs": {"epochs": 8, "validation": 30, "test": 200},
}


def compare_denoisers(
    lab: Lab, data: str, axes: Any, *, epochs: int, validation: int, test: int, without: str = ""
) -> tuple[dict[str, list[list[float]]], list[tuple[str, float, dict[str, Any]]]]:
    """Ours and the classical ones on a data set, drawn on two axes.

    Returns:
        PSNR by denoiser, a list a level of values over the seeds; and a level's best classical one but BM3D: its name,
        PSNR and settings.
    """
    import torch

    from ganvas import data as sets
    from ganvas.data.loader import to_tensor
    from ganvas.data.store import digest
    from ganvas.evaluate.measures.pictures import psnr
    from ganvas.evaluate.subject import spread
    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw
    from ganvas.models.autoencoder import corrupt

    if lab.quick:
        epochs, validation, test = 1, 5, 20
    splits = sets.load(data).splits
    sizes = {"validation": validation, "test": test}
    clean = {name: to_tensor(spread(splits[name], n).images) for name, n in sizes.items()}
    flat = {name: images[:, 0].numpy() for name, images in clean.items()}
    some = torch.arange(8) * (len(clean["test"]) - 1) // 7
    shown = {"clean": clean["test"][some]}
    pace: dict[str, Any] = {"data": data, "level": max(LEVELS), "epochs": epochs}
    if lab.quick:
        pace["limit"] = 1000
    bottleneck: dict[str, Any] = {"latent_dim": 512, "net": "dcgan", "blind": True, "seed": lab.seeds[0]}
    models = {
        OURS: [lab.train("denoiser", seed=seed, **pace).model for seed in lab.seeds],
        PLAIN: [lab.train("denoising-autoencoder", **bottleneck, **pace).model],
    }
    found: dict[str, list[list[float]]] = {name: [] for name in models}
    best = []
    choices = {name: settings for name, (_, settings) in denoisers().items() if name != without}
    for level in LEVELS:
        noisy = {
            name: corrupt(x, "gaussian", level, Draw(0, place)).clamp(0, 1)
            for place, (name, x) in enumerate(clean.items())
        }
        given = {name: images[:, 0].numpy() for name, images in noisy.items()}

        def compare(given: dict[str, Array] = given, level: float = level) -> dict[str, Any]:
            tuned = [tune(name, flat["validation"], given["validation"]) for name in choices]
            return {it.name: [asdict(it), float(psnr(flat["test"], it(given["test"])).mean())] for it in tuned}

        content = digest(*given.values(), *flat.values())
        classical = lab.cache("denoisers", {"level": level, "choices": choices, "images": content}, compare)
        first = max((name for name in classical if name != BM3D), key=lambda name: classical[name][1])
        best.append((first, classical[first][1], classical[first][0]["settings"]))
        for name, several in models.items():
            restored = [model.denoise(noisy["test"]) for model in several]
            found[name].append([float(psnr(flat["test"], images[:, 0].numpy()).mean()) for images in restored])
            if name == OURS:
                theirs = torch.from_numpy(Classical(**classical[first][0])(given["test"][some]))[:, None].float()
                shown |= {f"noise {level:g}": noisy["test"][some], f"{first} {level:g}": theirs}
                shown[f"ours {level:g}"] = restored[0][some]
        for name, (_, value) in classical.items():
            found.setdefault(name, []).append([value])
        found.setdefault("noisy image", []).append([float(psnr(flat["test"], given["test"]).mean())])
    left, right = axes
    drawing.strips(left, shown)
    for place, (name, of) in enumerate(found.items()):
        colour = {"noisy image": drawing.GREY, BM3D: "black"}.get(name) or drawing.COLOURS[place]
        right.plot(LEVELS, [np.mean(values) for values in of], "o-", color=colour, label=name)
    right.set(xlabel="standard deviation of the noise", ylabel="PSNR, dB", xticks=LEVELS)
    right.set_title(f"{data}: mean of {test:,} test images")
    right.legend(fontsize="small")
    return found, best
