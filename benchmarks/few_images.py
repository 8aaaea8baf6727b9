"""What a judgment by a hundred images is worth: how often it is wrong where samples are real, and right where not.

    python benchmarks/few_images.py    # results/few-images.md and results/few-images.json

Samples are real images that the reference has not, and the same spoiled in ways that are known: blurred, of half of the
classes, a quarter of them copies of one image. Each draw takes N images for either side, without replacement. The
kernel distance is judged as `ganvas evaluate` judges it: further from the real images than training images are, by more
than 1.96 standard errors. The Frechet distance is the usual one, of as many images.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

ROOT = Path(__file__).parents[1]
SETS = {"fashion-mnist": None, "avatars": 32}  # and the side that is asked for
SIZES, DRAWS = (50, 100, 200), 400


def blurred(images: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """The mean of each pixel and the 8 about it."""
    return avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def half(images: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """Those of every other value of the first label."""
    return images[torch.from_numpy(labels % 2 == 0)]


def repeated(images: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """A quarter are copies of one."""
    found = images.clone()
    found[::4] = images[0]
    return found


SAMPLES: dict[str, Callable[[torch.Tensor, np.ndarray], torch.Tensor]] = {
    "other real images": lambda images, labels: images,
    "blurred by 3 x 3": blurred,
    "half of the classes": half,
    "a quarter is one image": repeated,
}


def main() -> None:
    from ganvas.ground.provenance import commit, machine

    began = time.perf_counter()
    found = [row for name, size in SETS.items() for row in of(name, size)]
    about = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"), "draws": DRAWS}
    about["seconds"] = round(time.perf_counter() - began)
    results = ROOT / "results"
    (results / "few-images.json").write_text(json.dumps({**about, "rows": found}, indent=1) + "\n")
    (results / "few-images.md").write_text(page(about, found))
    print(page(about, found))


def of(name: str, size: int | None) -> list[dict[str, Any]]:
    """A data set's rows. Both sides are of the test images, which the features were not fitted to."""
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate import frechet_distance, kernel_distance
    from ganvas.evaluate.networks.features import features

    dataset = load(name, size=size)
    represent, test = features("pca", dataset), dataset.splits["test"]
    images, labels = to_tensor(test.images), np.asarray(test.labels)
    labels = labels if labels.ndim == 1 else labels[:, 0]
    train = np.asarray(represent(dataset.splits["train"]))
    rows = []
    for n in SIZES:
        for what, make in SAMPLES.items():
            draw = np.random.default_rng(0)
            kernels, frechets, said = [], [], []
            for _ in range(DRAWS):
                order = draw.permutation(len(images))
                real = np.asarray(represent(images[order[:n]]))
                rest = order[n : 4 * n]
                fake = np.asarray(represent(make(images[rest], labels[rest])[:n]))
                beside = train[draw.choice(len(train), n, replace=False)]
                value, error = kernel_distance(real, fake)
                kernels.append(value)
                said.append(value - kernel_distance(real, beside)[0] > 1.96 * error)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of so few rows: that is what it shows
                    frechets.append(frechet_distance(real, fake))
            rows.append(
                {
                    "data": name,
                    "images": n,
                    "samples": what,
                    "said": statistics.fmean(said),
                    "kernel": [statistics.fmean(kernels), statistics.stdev(kernels)],
                    "frechet": [statistics.fmean(frechets), statistics.stdev(frechets)],
                }
            )
            print(rows[-1], flush=True)
    return rows


def page(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Judging a few images",
        "",
        " ".join(str(__doc__).split("\n\n")[2].split()),
        "",
        f"Principal components of pixels; {about['draws']} draws a row; mean ± standard deviation over the draws. "
        f"{about['machine']['processor']}, {about['seconds']} s, commit {about['commit']}, {about['date']}, "
        "`python benchmarks/few_images.py`.",
        "",
        "| data | images | samples | said to be further than training images | kernel distance | Frechet distance |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        kernel, frechet = (f"{mean:.3g} ± {sd:.2g}" for mean, sd in (row["kernel"], row["frechet"]))
        cells = (row["data"], str(row["images"]), row["samples"], f"{row['said']:.1%}", kernel, frechet)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
