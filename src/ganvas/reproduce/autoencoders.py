"""The lecture's figures of autoencoders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
SIZES = (2, 8, 32, 128)
LEVELS = (0.1, 0.25, 0.5, 1.0)


def pca(train: Array, rows: Array, size: int) -> tuple[Array, Array]:
    """Codes and reconstructions of rows by the first principal components of others.

    Args:
        train: (N, D), where mean and components come from.
        rows: (M, D).
        size: of the code.

    Returns:
        (M, size), and (M, D) cut to [0, 1], as an autoencoder's sigmoid is.
    """
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]

    model = PCA(size, svd_solver="covariance_eigh").fit(train)
    codes = model.transform(rows)
    return codes, model.inverse_transform(codes).clip(0, 1)


def accuracy(train: tuple[Array, Array], test: tuple[Array, Array]) -> float:
    """The test accuracy of a logistic regression on features (N, d) that are standardised first; labels (N,)."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

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
    from ganvas.losses import squared_error
    from ganvas.reproduce import drawing

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
    return {
        "median": (median_filter, grid(size=(2, 3, 5, 7))),
        "total variation": (restoration.denoise_tv_chambolle, grid(weight=weights)),
        "non-local means": (restoration.denoise_nl_means, grid(h=widths, patch_size=patches, patch_distance=(5, 9))),
        "wavelet": (
            restoration.denoise_wavelet,
            grid(sigma=(None, 0.05, *widths[1:6]), wavelet=wavelets, mode=("soft", "hard")),
        ),
    }


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
    from ganvas.evaluate.pictures import psnr

    found = []
    for settings in denoisers()[name][1]:
        raw = Classical(name, settings).raw(noisy)
        offset, slope = np.polynomial.Polynomial.fit(raw.ravel(), clean.ravel(), 1).convert().coef
        best = Classical(name, settings, float(slope), float(offset))
        found.append((float(psnr(clean, (slope * raw + offset).clip(0, 1)).mean()), best))
    return max(found, key=lambda pair: pair[0])[1]


@FIGURES.register
def denoising(lab: Lab) -> Outcome:
    """L3: a denoising autoencoder beside classical denoisers.

    Claim: at noise levels 0.1, 0.25, 0.5 and 1 (the standard deviation of Gaussian noise on pixels in [0, 1], then cut
    to it as a file does) a denoising autoencoder gives a higher PSNR on MNIST test images than the best of median
    filter, total variation, non-local means and wavelet thresholding, each tuned at that level. Refuted where one of
    them does as well, at any level and with any seed.

    One autoencoder is trained for each level. The classical ones are tuned on validation images, with a line after them
    against the bias of noise that is cut; which of them is best is chosen on the test images themselves.
    """
    import torch

    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.data.store import digest
    from ganvas.evaluate.pictures import psnr
    from ganvas.models.autoencoder import corrupt
    from ganvas.randomness import Draw
    from ganvas.reproduce import drawing

    pace: dict[str, Any] = lab.pick(quick={"epochs": 3}, full={"epochs": 3, "net": "dcgan"})
    sizes = {"validation": lab.pick(quick=10, full=50), "test": lab.pick(quick=100, full=1000)}
    splits = load("mnist").splits
    clean = {name: to_tensor(splits[name].images[:n]) for name, n in sizes.items()}
    flat = {name: images[:, 0].numpy() for name, images in clean.items()}
    shown = {"clean": clean["test"][:8]}
    curves: dict[str, list[list[float]]] = {"autoencoder": []}
    measures, worse, used = [], [], []
    choices = {name: settings for name, (_, settings) in denoisers().items()}
    for level in LEVELS:
        noisy = {
            name: corrupt(x, "gaussian", level, Draw(0, place)).clamp(0, 1)
            for place, (name, x) in enumerate(clean.items())
        }
        given = {name: images[:, 0].numpy() for name, images in noisy.items()}

        def compare(given: dict[str, Array] = given) -> dict[str, Any]:
            tuned = [tune(name, flat["validation"], given["validation"]) for name in denoisers()]
            return {it.name: [asdict(it), float(psnr(flat["test"], it(given["test"])).mean())] for it in tuned}

        content = digest(*given.values(), *flat.values())
        found = lab.cache("denoisers", {"level": level, "choices": choices, "images": content}, compare)
        best = max(found, key=lambda name: found[name][1])
        curves["autoencoder"].append([])
        for seed in lab.seeds:
            model: Any = lab.train(
                "denoising-autoencoder", data="mnist", latent_dim=512, level=level, seed=seed, **pace
            ).model
            ours = model.denoise(noisy["test"])
            curves["autoencoder"][-1].append(float(psnr(flat["test"], ours[:, 0].numpy()).mean()))
            if seed == lab.seeds[0]:
                theirs = torch.from_numpy(Classical(**found[best][0])(given["test"][:8]))[:, None].float()
                shown |= {
                    f"noise {level:g}": noisy["test"][:8],
                    f"{best} {level:g}": theirs,
                    f"ours {level:g}": ours[:8],
                }
        for name, (_, value) in found.items():
            curves.setdefault(name, []).append([value])
        curves.setdefault("noisy image", []).append([float(psnr(flat["test"], given["test"]).mean())])
        measures += [
            Measure(f"autoencoder, noise {level:g}", curves["autoencoder"][-1], "dB", f"above {found[best][1]:.2f}"),
            Measure(f"best of the classical, noise {level:g}: {best}", [found[best][1]], "dB"),
        ]
        used.append(", ".join(f"{key} {value}" for key, value in found[best][0]["settings"].items()))
        if min(curves["autoencoder"][-1]) <= found[best][1]:
            lead = found[best][1] - min(curves["autoencoder"][-1])
            worse.append(f"at level {level:g} {best} is ahead by {lead:.1f} dB")
    reason = (
        f"{'; '.join(worse)}{'. ' * bool(worse)}One model a level, {pace['epochs']} epochs with the "
        f"{pace.get('net', 'mlp')} net and a code of 512; the best classical settings: {'; '.join(used)}."
    )
    drawn = drawing.figure(10, 5.8)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.2))
    drawing.strips(left, shown)
    for place, (name, of) in enumerate(curves.items()):
        colour = drawing.COLOURS[place] if name != "noisy image" else drawing.GREY
        right.plot(LEVELS, [np.mean(values) for values in of], "o-", color=colour, label=name)
    right.set(xlabel="standard deviation of the noise", ylabel="PSNR, dB", xticks=LEVELS)
    right.set_title(f"PSNR, mean of {sizes['test']:,} test images")
    right.legend()
    return Outcome(measures, not worse, reason, drawn)
