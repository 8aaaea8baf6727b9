"""Verbs that ask a model: sample, reconstruct, denoise, complete, encode; and one that fits its P(z) anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganvas.cli.shared import Device, ModelData, RunFolder, Where, table
from ganvas.ground.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganvas.data import Dataset
    from ganvas.models import Model


PICTURED = 10_000  # images of one picture, at most

SHOWN = 30  # images of a picture of completions, at most
TESTED = 8  # test images that are completed where no others are named
PAINTED = 100  # images that are completed before the next ones are read

DESCENDED = 2000  # images that gradient descent encodes: a second each, or less


def sample(
    run: RunFolder,
    /,
    *,
    n: Annotated[int, "INT", "how many"] = 64,
    where: Where = (),
    guidance: Annotated[float, "FLOAT", "of a VAE that is told: above 1 images show more of it"] = 1.0,
    each: Annotated[str | None, "NAME", "a row for each value of this label"] = None,
    truncation: Annotated[float | None, "FLOAT", "codes within +- this: less varied, more typical (0.7)"] = None,
    seed: Annotated[int, "INT", "the same seed gives the same images"] = 0,
    out: Annotated[Path | None, "PATH", "a .png, an .npy, or a folder (default: RUN/samples-N-seedS.png)"] = None,
) -> None:
    """New images from a model: as one picture; more than 10,000, or for --out FILE.npy, as an array; or as a folder of
    pictures. Memory does not grow with their number.

    Example:
        ganvas sample runs/first -n 64
    """
    model = _middle(load_model(run, "sample", n, where, guidance), truncation)
    from ganvas.ground import plots

    if each:
        print(plots.save(*_each(run, each, n, where, guidance, truncation, seed, out)))
        return
    cut = f"-truncation{truncation:g}" if truncation else ""
    out = out or run / f"samples-{n}{cut}-seed{seed}{'.png' if n <= PICTURED else '.npy'}"
    kind = out.suffix.lower()
    if kind not in (".png", ".npy", ""):
        raise UserError(f"--out {out}: it takes a name that ends in .png or .npy, or a folder's.")
    if kind == ".npy":
        print(plots.save_array(model.samples(n, seed), (n, *model.shape), out))
    elif not kind:
        image_shape(model)
        print(plots.save_each(model.samples(n, seed), n, out))
    elif n > PICTURED:
        remedy = f"take --out {out.with_suffix('.npy')}, or a folder: --out {out.with_suffix('')}"
        raise UserError(f"-n {n}: one picture is of at most {PICTURED:,} images: {remedy}.")
    else:
        print(plots.save(plots.grid(model.sample(n, seed)), out))


def _each(
    run: Path,
    name: str,
    n: int,
    where: tuple[str, ...],
    guidance: float,
    truncation: float | None,
    seed: int,
    out: Path | None,
) -> tuple[NDArray[np.uint8], Path]:
    """A picture with a row for each value of a label, of about n images in all, and where it goes."""
    import torch

    from ganvas.ground import plots

    told = condition(where)
    known = {it.name: it for it in getattr(load_model(run, "given").config, "condition", ())}
    if name not in known:
        raise unknown("label", name, known)
    values = known[name].values
    columns = max(1, n // len(values))
    own = load_model(run, "sample")
    models = [_middle(own.given({**told, name: value}, guidance), truncation) for value in values]
    images = torch.cat([model.sample(columns, seed) for model in models])
    return plots.grid(images, columns), out or run / f"samples-each-{name.replace(' ', '-')}-seed{seed}.png"


def _middle(model: Model, truncation: float | None) -> Model:
    """The model whose samples are of the middle of P(z)."""
    return model if truncation is None else model.truncated(truncation)


def reconstruct(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    n: Annotated[int, "INT", "how many images"] = 30,
    where: Where = (),
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/reconstructed.png)"] = None,
) -> None:
    """Test images and their reconstructions, a row of each, as one picture. A conditional model encodes each by its own
    labels, and with --where decodes it by others.

    Example:
        ganvas reconstruct runs/first --data ./photos
    """
    model = load_model(run, "reconstruct", n)
    image_shape(model)
    from ganvas.data.loader import to_tensor
    from ganvas.ground import plots

    split = load_data(run, model, data).splits["test"]
    images = to_tensor(split.images[:n])
    labels = split.labels[:n] if getattr(model.config, "condition", ()) and split.labels is not None else None
    codes = model.encode(images, condition=labels)
    again = model.decode(codes, condition=condition(where) or labels)
    print(plots.save(plots.rows(images, again), out or run / "reconstructed.png"))


def denoise(
    run: RunFolder,
    images: Annotated[tuple[Path, ...], "IMAGES...", "image files, or folders of them"] = (),
    /,
    *,
    noise: Annotated[float, "FLOAT", "put this much of the model's kind of noise on first"] = 0.0,
    n: Annotated[int, "INT", "how many images the picture shows"] = 30,
    seed: Annotated[int, "INT", "of the noise"] = 0,
    out: Annotated[Path | None, "DIR", "also write each image there, by its name, as PNG"] = None,
) -> None:
    """Images without their noise, in RUN/denoised.png: a row of what is given, a row of what comes out.

    Example:
        ganvas denoise runs/first scan.png ./scans --out clean
    """
    model = load_model(run, "denoise", n)
    shape = image_shape(model)
    if not images:
        raise UserError("`ganvas denoise RUN` takes image files, or folders: ganvas denoise RUN scan.png")
    if not 0 <= noise < math.inf:
        raise UserError(f"--noise {noise:g}: it takes 0 or more.")
    import torch
    from torch.nn import functional as F

    from ganvas.data.folder import read, read_each
    from ganvas.data.loader import to_tensor
    from ganvas.ground import plots
    from ganvas.ground.randomness import Draw
    from ganvas.models.autoencoder import corrupt

    if model.any_size:  # each image keeps its own
        files: Any = read_each(images, shape[0], model.range)
    else:
        names, pixels = read(images, (shape[1], shape[2]), shape[0], known=model.range)
        files = zip(names, pixels[:, None], strict=True)
    shown = []
    for place, (name, found) in enumerate(files):
        seen = [to_tensor(found)]
        if noise:
            seen.append(corrupt(seen[0], model.config.noise, noise, Draw(seed, place)).clamp(0, 1))
        seen.append(model.denoise(seen[-1]))
        if out:
            plots.save((seen[-1][0] * 255).round().byte().permute(1, 2, 0).numpy(), out / name)
        if place < n:
            same = seen[0].shape[2:] == shape[1:]
            shown.append(
                seen if same else [F.interpolate(it, shape[1:], mode="bilinear", antialias=True) for it in seen]
            )
    if out:
        print(out)
    print(plots.save(plots.rows(*(torch.cat(part) for part in zip(*shown, strict=True))), run / "denoised.png"))


def complete(
    run: RunFolder,
    images: Annotated[tuple[Path, ...], "IMAGES...", "image files, or folders of them (default: 8 test images)"] = (),
    /,
    *,
    mask: Annotated[
        tuple[str, ...],
        "MASK",
        "what is missing: left, right, top, bottom, centre, noise, box X Y W H, or an image file: white is missing",
    ] = ("centre",),
    n: Annotated[int, "INT", "completions of each image"] = 4,
    data: ModelData = None,
    seed: Annotated[int, "INT", "of the completions, and of noise"] = 0,
    out: Annotated[Path | None, "PATH", "also write them: an .npy (images, n, C, H, W), or a folder of PNGs"] = None,
) -> None:
    """Images whose missing pixels the model fills in, in RUN/completed.png: a row of the image, what is visible of it,
    and its completions, which differ where that leaves them open. A VAE draws them from P(z given the visible pixels);
    of a GAN they are the nearest images that gradient descent finds. An autoencoder completes after `fit-prior`.

    Example:
        ganvas complete runs/first photo.png --mask bottom -n 6
    """
    model = load_model(run, "complete", n)
    shape = image_shape(model)
    if out and out.suffix.lower() not in (".npy", ""):
        raise UserError(f"--out {out}: it takes a name that ends in .npy, or a folder's.")
    import torch

    from ganvas.data.folder import read
    from ganvas.data.loader import to_tensor
    from ganvas.data.masks import read_mask
    from ganvas.data.store import tracked
    from ganvas.ground import plots

    missing = read_mask(" ".join(mask), shape, seed)
    if images:
        names, pixels = read(images, (shape[1], shape[2]), shape[0], known=model.range)
    else:
        pixels = load_data(run, model, data).splits["test"].images[:TESTED]
        names = [Path(f"test-{place}.png") for place in range(len(pixels))]
    starts = range(0, len(pixels), PAINTED)
    found = [
        model.completed(to_tensor(pixels[start : start + PAINTED]), missing, n, seed)
        for start in tracked(starts, len(starts), "completing", True)
    ]
    made = torch.cat([each.images for each in found])
    if out and out.suffix:
        print(plots.save_array(torch.split(made, PAINTED), tuple(made.shape), out))
    elif out:
        for name, several in zip(names, made, strict=True):
            for place, image in enumerate(several):
                plots.save(plots.cell(image), out / name.with_stem(f"{name.stem}-{place}"))
        print(out)
    off = torch.cat([each.distances for each in found])
    apart = f"two samples are {found[0].apart:.3f} apart there"
    table([("visible pixels", f"missed by {off.median():.3f}, at most by {off.max():.3f}; {apart}")])
    shown = to_tensor(pixels[:SHOWN])
    rows = torch.cat([shown[:, None], torch.where(missing, 0.5, shown)[:, None], made[:SHOWN].cpu()], 1)
    print(plots.save(plots.grid(rows.flatten(0, 1), n + 2), run / "completed.png"))


def encode(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    out: Annotated[Path, "FILE", "what to write, .npz or .csv"] = Path("features.npz"),
    device: Device = "auto",
) -> None:
    """The codes of images, with their labels, files' names and order: for numpy.load (train, train_labels ...), or CSV.
    A GAN finds them by gradient descent, up to 2,000 of them, and says how near it comes; `fit-encoder` trains it one.

    Example:
        ganvas encode runs/first --data ./photos --out features.npz
    """
    model = load_model(run, "decode")
    from ganvas.evaluate import write_codes
    from ganvas.training.engine import choose_device

    dataset = load_data(run, model.to(choose_device(device)), data)
    n = sum(map(len, dataset.splits.values()))
    if not hasattr(model, "encode") and n > DESCENDED:
        raise UserError(
            f"{n:,} images: a GAN finds the codes of up to {DESCENDED:,} by gradient descent. Train it an encoder "
            f"(ganvas fit-encoder {run}), or give fewer images with --data."
        )
    print(write_codes(out, model, dataset))


def fit_prior(
    run: RunFolder,
    /,
    *,
    components: Annotated[int, "INT", "normals in the mixture"] = 10,
    n: Annotated[int, "INT", "training images whose codes it is fitted to, at most"] = 10_000,
    data: ModelData = None,
    seed: Annotated[int, "INT", "of the codes, and of the start"] = 0,
    out: Annotated[Path | None, "DIR", "the new model's folder (default: RUN/fitted)"] = None,
) -> None:
    """A copy of a model whose P(z) is a mixture of normals, fitted to its codes of training images: an autoencoder then
    has samples, and those of a VAE may be better.

    Example:
        ganvas fit-prior runs/first --components 10
    """
    model = load_model(run, "encode", n)
    import torch

    from ganvas.data.loader import to_tensor
    from ganvas.ground.randomness import Draw, order
    from ganvas.models import fitted

    splits = load_data(run, model, data).splits
    rows = {name: sorted(order(seed, "fit", n=len(splits[name]))[:n]) for name in ("train", "validation")}
    images, held_out = (to_tensor(splits[name].images[some]) for name, some in rows.items())
    known = splits["train"].labels if getattr(model.config, "condition", ()) else None
    made = fitted.fit_prior(model, images, components, seed, None if known is None else known[rows["train"]])
    codes = fitted.draw_codes(model, held_out, seed)
    with torch.no_grad():
        names = {"P(z) fitted": made, **({"P(z) before": model} if hasattr(model, "prior") else {})}
        found = {name: float(each.prior.log_prob(codes, Draw(seed)).mean()) for name, each in names.items()}
    table((name, f"{value:.2f} nats a code of validation images") for name, value in found.items())
    folder = made.save(out or run / "fitted")
    table([("model", folder), ("next", f"ganvas sample {folder} -n 64")])


def fit_encoder(
    run: RunFolder,
    /,
    *,
    epochs: Annotated[int | None, "INT", "passes over the data (default: by their number)"] = None,
    minutes: Annotated[float | None, "FLOAT", "how long it may take, instead of epochs"] = None,
    device: Device = "auto",
    out: Annotated[Path | None, "DIR", "the encoder's run (default: RUN/encoder)"] = None,
) -> None:
    """An encoder for a GAN, trained on its samples, whose codes are known, and on the training images, which it has to
    give back. The new run has all verbs of the GAN, and encode and reconstruct: images of one's own are points of
    interpolate, turn and arithmetic then.

    Example:
        ganvas fit-encoder runs/gan
    """
    from ganvas.recipes import Facts
    from ganvas.recipes.gan_encoder import encoder_of
    from ganvas.training import progress
    from ganvas.training.run import Run
    from ganvas.training.train import train

    began = Run(run)
    dataset = began.dataset()
    made = encoder_of(began.recipe, run.absolute(), Facts.of(dataset))
    how: dict[str, Any] = {"epochs": epochs, "minutes": minutes}
    given = {name: value for name, value in how.items() if value is not None}
    folder = out or run / "encoder"
    done = progress.with_progress(lambda report: train(made, out=folder, device=device, report=report, **given))
    figures = done.state.get("test") or {}
    words = {"image": "G(E(x)) of test images misses", "code": "E(G(z)) of samples misses"}
    table((text, f"{figures[name]:.1%} of their variance") for name, text in words.items() if name in figures)
    table([("run", folder), ("next", f"ganvas reconstruct {folder}")])


def load_model(folder: Path, verb: str, n: int = 1, where: tuple[str, ...] = (), guidance: float = 1.0) -> Model:
    """The model in a folder, once it is known to have the verb: before any data is read; told what is asked `where`."""
    if n < 1:
        raise UserError(f"-n {n}: it takes at least 1.")
    from ganvas.training.run import load

    model = load(folder)
    getattr(model, verb)
    return model.given(condition(where), guidance) if where else model


def condition(where: tuple[str, ...]) -> dict[str, str]:
    """What is told: glasses=none beard=full, or with commas between."""
    found: dict[str, str] = {}
    for part in ",".join(where).split(",") if where else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name in found:
            raise UserError(f"--where {' '.join(where)}: it takes NAME=VALUE, each name once.")
        found[name] = value
    return found


def image_shape(model: Model) -> tuple[int, ...]:
    """(C, H, W), once the model is known to be one of images."""
    if len(model.shape) != 3:
        raise UserError(f"this model is of points of shape {model.shape}, not of images.")
    return model.shape


def load_data(
    folder: Path, model: Model, source: str | None, binarise: bool = False, range: tuple[float, float] | None = None
) -> Dataset:
    """The images that a run was trained on, or others as its model takes them; `binarise`: of black and white."""
    from ganvas.data import load, names
    from ganvas.data.ranges import read_in
    from ganvas.training.run import Run

    run = Run(folder) if (folder / "recipe.json").is_file() else None
    if run and range is None and source in (None, run.recipe.data.source):
        return run.dataset(binarise)
    if source is None:
        raise UserError(f"{folder} is a model without its run: say which images with --data, a name or a path.")
    if len(model.shape) != 3:
        return load(source, range=range)
    channels = model.shape[0] if model.shape[0] in (1, 3, 4) else None
    how: dict[str, Any] = {"size": (model.shape[1], model.shape[2]), "channels": channels, "binarise": binarise}
    found = load(source, **how, range=range)
    if range is None and found.range and source not in names():
        low, high = found.range
        kind = "f" if found.levels is None else "u1" if low >= 0 and high <= 255 else "i"
        span = read_in(low, high, kind, model.range) if model.range else None
        if span not in (None, found.range, (0, 1)):
            return load(source, **how, range=span)  # as in the training, not as these data alone would be
    return found


HELP = """\
  sample RUN -n 64              new images
  reconstruct RUN --data DATA   images, and what the model makes of them
  denoise RUN IMAGES...         image files without their noise
  complete RUN --mask MASK      images whose missing pixels are filled in
  encode RUN --data DATA        the codes of images, as features.npz
  fit-prior RUN                 P(z) from the codes: samples of autoencoders
  fit-encoder RUN               an encoder for a GAN: codes of images
"""
VERBS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "reconstruct": reconstruct,
    "denoise": denoise,
    "complete": complete,
    "encode": encode,
    "fit-prior": fit_prior,
    "fit-encoder": fit_encoder,
}
