"""What tests of several folders share."""

import dataclasses
import itertools
import os
import signal
from pathlib import Path
from typing import Any

from ganvas.ground import tensors
from ganvas.models import MODELS
from ganvas.parts.nets.spatial import Spatial
from ganvas.parts.sequences import Transformer
from ganvas.training import checkpoint
from ganvas.training.run import Run


def settings_of(kind: str, latent_dim: int, **fields: Any) -> Any:
    """Settings of a model, with codes of that size where it has codes; of an encoder for a GAN they are the GAN's."""
    config = MODELS[kind]
    if kind == "vq-vae":  # whose codes are as large as its grid
        places = Spatial(channels=3, halvings=1, filters=4)
        net = fields.pop("net", places)
        tiny = Transformer(width=8, layers=1, heads=2)
        return config(net=net if isinstance(net, Spatial) else places, transformer=tiny, **fields)
    if "latent_dim" in config.__dataclass_fields__:
        return config(latent_dim=latent_dim, **fields)
    if "gan" not in config.__dataclass_fields__:
        return config(**fields)
    return config(gan=MODELS["gan"](latent_dim=latent_dim, **fields.pop("gan", {})), **fields)


def stop_at(wanted: int) -> Any:
    """A report that sends Ctrl-C at a step."""

    def report(step: int, *_: Any) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return report


def everything(run: Run) -> dict[str, Any]:
    """What an unbroken run and a broken one have in common, to the last bit; what depends on the time is left out."""
    assert run.checkpoint
    moving, facts = checkpoint.load(run.checkpoint)
    weights, _ = tensors.load(run.path / "model" / "model.safetensors")
    rows = [row for row in run.metrics if row["split"] != "watch"]
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in {**moving, **weights}.items()},
        "facts": dataclasses.replace(facts, seconds=0.0),
        "rows": [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows],
        "pictures": sorted(path.name for path in run.path.rglob("*.png")),
        "state": {name: value for name, value in run.state.items() if name != "seconds"},
    }


def examples(page: Path) -> str:
    """The page's Python blocks as one program, its lines numbered as in the page."""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    program = [""]
    for line in lines:
        program.append("")
        if line == "```python":
            block = list(itertools.takewhile(lambda line: line != "```", lines))
            program += [*block, ""]
    return "\n".join(program[1:])
