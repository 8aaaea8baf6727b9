"""What does not belong: our scores beside PyOD's AutoEncoder and k-NN on pixels, on the same images.

    pip install --target DIR pyod && python benchmarks/scores.py --pyod DIR

A row is a task and a side. Each is kept as results/scores/TASK-SIDE.json, and what is there is not done again;
results/scores.md and the pictures of docs/scores are made of them. Half an hour on a core that others use, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT, PICTURES = ROOT / "results" / "scores", ROOT / "docs" / "scores"
SEED, LIMIT, EPOCHS = 0, 20_000, 10
DIGITS = (1, 5, 9)
MARK = "<!-- Written by benchmarks/scores.py from the JSON files in results/scores. -->"
SCORES = ("relative", "reconstruction", "worst", "elbo", "complexity", "typicality", "codes")
TASKS = [*(f"mnist-without-{digit}" for digit in DIGITS), "fashion-mnist-beside-mnist", "mnist-beside-fashion-mnist"]
SIDES: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {}


def side(function: Any) -> Any:
    SIDES[function.__name__.replace("_", "-")] = function
    return function


def images_of(task: str) -> dict[str, Any]:
    """{"train", "validation": normal images, "normal", "strange": test images}, uint8 (N, 28, 28, 1)."""
    import numpy as np

    import ganvas

    if "-without-" in task:
        name, digit = task.split("-without-")
        kept, whole = ganvas.data.load(name, limit=LIMIT).splits, ganvas.data.load(name).splits["test"]
        found = {
            part: np.asarray(kept[part].images)[kept[part].labels != int(digit)] for part in ("train", "validation")
        }
        test = np.asarray(whole.images)
        return found | {"normal": test[whole.labels != int(digit)], "strange": test[whole.labels == int(digit)]}
    name, other = task.split("-beside-")
    kept = ganvas.data.load(name, limit=LIMIT).splits
    found = {part: np.asarray(kept[part].images) for part in ("train", "validation")}
    tests = (np.asarray(ganvas.data.load(each).splits["test"].images) for each in (name, other))
    return found | dict(zip(("normal", "strange"), tests, strict=True))


class Clock:
    """Seconds of the processor, and on the wall."""

    def __enter__(self) -> Clock:
        self.wall, self.processor = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.processor = self.wall + time.perf_counter(), self.processor + time.process_time()


def trained(recipe: str, images: dict[str, Any], folder: Path, **how: Any) -> dict[str, Any]:
    """Each score that the model has."""
    import numpy as np

    import ganvas
    from ganvas.data import Split
    from ganvas.evaluate import score
    from ganvas.evaluate.anomaly import scores as registered
    from ganvas.evaluate.anomaly.anomalies import heat
    from ganvas.evaluate.anomaly.scoresheet import coloured
    from ganvas.ground import plots

    data = {"train": images["train"], "validation": images["validation"], "test": images["validation"]}
    with Clock() as training:
        model = ganvas.train(recipe, data=data, out=folder, seed=SEED, epochs=EPOCHS, device="cpu", **how).model
    train, held = (Split(images[part], None) for part in ("train", "validation"))
    test, found = Split(np.concatenate([images["normal"], images["strange"]]), None), {}
    for name in SCORES:
        if registered.SCORES[name].answered(model):
            with Clock() as clock:
                scored = score(model, test, held, train=train, by=name)
            n = len(images["normal"])
            found[name] = rated(scored.scores[:n], scored.scores[n:], clock)
            found[name] |= {"alarms": [float(part.mean()) for part in (scored.alarms[:n], scored.alarms[n:])]}
            found[name] |= {"interval": list(scored.rate_interval), "histogram": histogram(scored.scores, n)}
            if name == "relative":
                shown = [scored.strangest, scored.imitations]
                pictured = plots.rows(*map(coloured, shown), heat(*shown), columns=8)
                plots.save(pictured, OUT / f"{folder.name}.png")
    return {"scores": found, "training": [training.processor, training.wall]}


def rated(normal: Any, strange: Any, clock: Clock) -> dict[str, Any]:
    from ganvas.evaluate import auroc

    return {"auroc": list(auroc(strange, normal)), "seconds": [clock.processor, clock.wall]}


def histogram(scores: Any, n: int) -> dict[str, Any]:
    """60 bins between the 0.5 % quantiles: edges, and the shares of normal and of strange images."""
    import numpy as np

    low, high = np.quantile(scores, [0.005, 0.995])
    edges = np.linspace(low, high, 61)
    parts = (np.histogram(part.clip(low, high), edges)[0] / len(part) for part in (scores[:n], scores[n:]))
    return {"edges": edges.tolist(), "normal": (shares := [part.tolist() for part in parts])[0], "strange": shares[1]}


@side
def autoencoder(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    return trained("autoencoder", images, folder)


@side
def vae(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    return trained("vae", images, folder)


@side
def vae_levels(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One whose likelihood is of grey levels, as in the papers on the trap."""
    return trained("vae", images, folder, likelihood="discretised-logistic")


def detected(make: Callable[[], Any], images: dict[str, Any]) -> dict[str, Any]:
    """A detector of PyOD as its page has it: fit, and decision_function of the test images."""
    import numpy as np
    import pyod

    train, *tests = (images[part].reshape(len(images[part]), -1) / np.float32(255) for part in
                     ("train", "normal", "strange"))  # fmt: skip
    with Clock() as training:
        detector = make().fit(train)
    with Clock() as clock:
        scores = detector.decision_function(np.concatenate(tests))
    n = len(tests[0])
    return {
        "scores": {"decision_function": rated(scores[:n], scores[n:], clock)},
        "training": [training.processor, training.wall],
        "version": f"pyod {pyod.__version__}",
    }


@side
def neighbours(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The score that asks the model nothing: of an untrained one."""
    import numpy as np

    from ganvas.data import Split
    from ganvas.evaluate import score
    from ganvas.models.autoencoder import Autoencoder, AutoencoderModel

    model = AutoencoderModel(Autoencoder(latent_dim=2), (1, 28, 28)).eval()
    train, held = (Split(images[part], None) for part in ("train", "validation"))
    test = Split(np.concatenate([images["normal"], images["strange"]]), None)
    with Clock() as clock:
        scored = score(model, test, held, train=train, by="neighbours")
    n = len(images["normal"])
    found = rated(scored.scores[:n], scored.scores[n:], clock)
    found["alarms"] = [float(part.mean()) for part in (scored.alarms[:n], scored.alarms[n:])]
    return {"scores": {"neighbours": found}, "training": [0.0, 0.0]}


@side
def pyod_autoencoder(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pyod.models.auto_encoder import AutoEncoder

    return detected(lambda: AutoEncoder(random_state=SEED, verbose=0), images)


@side
def pyod_knn(images: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pyod.models.knn import KNN

    return detected(KNN, images)


def sides_of(task: str) -> list[str]:
    """The likelihood of levels is shown where papers have its trap."""
    return [name for name in SIDES if name != "vae-levels" or "-beside-" in task]


def measure(task: str, name: str) -> None:
    """One row, unless it is there."""
    place = OUT / f"{task}-{name}.json"
    if place.exists():
        return
    print(task, name, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = SIDES[name](images_of(task), Path(folder) / f"{task}-{name}")
    facts = {"task": task, "side": name, "seed": SEED, "limit": LIMIT, "epochs": EPOCHS, **found}
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(facts) + "\n")


def rows_of(task: str) -> dict[str, dict[str, Any]]:
    """By the side's name."""
    files = {name: OUT / f"{task}-{name}.json" for name in SIDES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def table() -> str:
    """A line a side and score, a column a task; below it what they take."""
    found = {task: rows_of(task) for task in TASKS}
    lines = [(name, score) for name in SIDES for score in (*SCORES, "neighbours", "decision_function")]
    cells, times = [], []
    for name, score in lines:
        of = {task: rows[name] for task, rows in found.items() if score in rows.get(name, {}).get("scores", {})}
        if not of:
            continue
        alone = score in ("neighbours", "decision_function")
        what = name.replace("pyod-", "PyOD ") if alone else f"{name}, {score}"
        figures = [of[task]["scores"][score]["auroc"] if task in of else None for task in TASKS]
        cell = ["-" if it is None else f"{it[0]:.3f} ({it[1]:.3f}-{it[2]:.3f})" for it in figures]
        digits = [it[0] for it, task in zip(figures, TASKS, strict=True) if it and "-without-" in task]
        cells.append([what, *cell, f"{statistics.mean(digits):.3f}" if digits else "-"])
        train = statistics.mean(row["training"][0] for row in of.values())
        seconds = statistics.mean(row["scores"][score]["seconds"][0] for row in of.values())
        rates = [row["scores"][score].get("alarms") for row in of.values()]
        alarms = (
            "-" if not rates[0] else " / ".join(f"{statistics.mean(rate[i] for rate in rates):.3f}" for i in (0, 1))
        )
        times.append([what, f"{train:.1f}", f"{seconds:.2f}", alarms])
    versions = {row["version"] for rows in found.values() for row in rows.values() if "version" in row}
    about = (
        f"AUROC (95 %, DeLong): {LIMIT:,} training images less the strange class, {EPOCHS} epochs, seed {SEED}, beside "
        f"{', '.join(sorted(versions)) or 'nothing'} with its defaults. The whole test set is scored. One seed. "
        "The first score of each model here is its default. It was the best of some forty forms tried on "
        "Fashion-MNIST without the classes 1, 2, 5 and 8, and beside MNIST, with seed 100 and the same test images: "
        "so the column fashion-mnist-beside-mnist is not independent of the choice. And an earlier default, which "
        "looked at the neighbours of the code, was given up after it had 0.181 (autoencoder) and 0.350 (VAE) on "
        "mnist-without-1 here. `neighbours` was chosen on Fashion-MNIST without these classes, too. That a size counts "
        "as no more than the largest normal one was decided by the column mnist-beside-fashion-mnist, which is "
        "therefore not independent of it: before, `relative` had 0.972 and 0.908 there, and `neighbours` 0.522."
    )
    costs = (
        "Processor seconds on one thread, means over the tasks: to train, and to score 10,000 images (20,000 beside "
        "another set), ours with what a score is fitted to and the threshold. Alarms: shares of normal and of strange "
        "images at a false-alarm rate of 0.05, whose threshold is of validation images."
    )
    results = markdown(["", *TASKS, "mean without a digit"], cells)
    seconds = markdown(["", "train, s", "score, s", "alarms, normal / strange"], times)
    return "\n".join([MARK, "", "# What does not belong", "", about, "", *results, "", costs, "", *seconds, ""])


def markdown(head: list[str], lines: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines)]


def draw() -> None:
    """The trap: log P(x) of garments and digits under a VAE of garments, raw and corrected."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = rows_of("fashion-mnist-beside-mnist")
    if "vae-levels" not in rows:
        return
    scores = rows["vae-levels"]["scores"]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
    names = {"elbo": "-ELBO, nats", "complexity": "corrected by complexity, bits", "relative": "relative"}
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        shown, value = scores[name]["histogram"], scores[name]["auroc"][0]
        for part, colour, said in (
            ("normal", "#8a8f98", "garments (normal)"),
            ("strange", "#d4380d", "digits (strange)"),
        ):
            axis.stairs(shown[part], shown["edges"], fill=True, alpha=0.6, color=colour, label=said)
        axis.set(title=f"AUROC {value:.3f}", xlabel=f"{label}: higher is stranger", yticks=[])
    axes[0].legend(frameon=False)
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / "trap.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyod", type=Path, help="where pip install --target put it")
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=list(SIDES))
    asked = parser.parse_args()
    if asked.pyod:
        sys.path.append(str(asked.pyod))
    for task in asked.tasks:
        for name in sides_of(task):
            if name in asked.sides and (asked.pyod or not name.startswith("pyod")):
                measure(task, name)
            (OUT.parent / "scores.md").write_text(table())
    draw()


if __name__ == "__main__":
    main()
