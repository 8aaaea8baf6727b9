"""Settings, optimisers and models of one's own, which nobody registers: trained, stored, read by another process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.ground.errors import UserError
from ganvas.models import MODELS
from ganvas.parts.nets import NETS
from ganvas.parts.optimizers import OPTIMIZERS, Adam
from ganvas.recipes import Recipe, Training, Turn
from ganvas.training.run import Run

FAST: dict[str, Any] = {"data": "digits", "epochs": 1, "batch_size": 64, "device": "cpu", "precision": "float32"}
MINE = '''
"""A module of somebody's own."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.models.base import Encoder
from ganvas.parts.nets.registry import BaseNet
from ganvas.parts.optimizers import Optimizer
from ganvas.ground.registry import Count, settings


@settings
class OneLayer(BaseNet):
    bias: bool = True

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), out, self.bias))

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Linear(latent, math.prod(shape), self.bias), nn.Unflatten(1, shape))


@settings
class Rprop(Optimizer):
    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Rprop(player.parameters(), self.lr)


@settings
class Linear:
    kind = "linear-code"
    latent_dim: Count = 3


class LinearModel(Encoder):
    Config = Linear

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.code = OneLayer().encoder(shape, config.latent_dim)
        self.image = OneLayer().decoder(config.latent_dim, shape)

    def players(self) -> dict[str, nn.Module]:
        return {"linear": self}

    def forward(self, batch: Any, draw: Any) -> dict[str, Tensor]:
        images = batch.images
        return {"loss": (self.decoded(self.encoded(images)) - images).square().flatten(1).sum(1).mean()}

    def encoded(self, images: Tensor) -> Tensor:
        return self.code(images)

    def decoded(self, z: Tensor) -> Tensor:
        return self.image(z)
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(MINE)
    sys.path.insert(0, str(folder))
    import mine

    yield mine
    sys.path.remove(str(folder))
    for registry, name in ((NETS, "one-layer"), (OPTIMIZERS, "rprop"), (MODELS, "linear-code")):
        registry.pop(name, None)


@pytest.fixture(scope="module")
def runs(mine: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    place = tmp_path_factory.mktemp("runs")
    made = Training(turns={"linear": Turn(optimizer=mine.Rprop())})
    return {
        "net": ganvas.train("vae", net=mine.OneLayer(), optimizer=Adam(weight_decay=0.1), out=place / "net", **FAST),
        "gan": ganvas.train("gan", generator=mine.OneLayer(bias=False), hidden=(8,), out=place / "gan", **FAST),
        "model": ganvas.train(
            Recipe(name="mine", model=mine.Linear(), training=made), out=place / "model", **{**FAST, "epochs": 12}
        ),
    }


@pytest.mark.parametrize("name", ["net", "gan", "model"])
def test_it_is_trained_and_read_again(name: str, runs: dict[str, Run]) -> None:
    run = runs[name]
    assert run.state["state"] == "finished" and (run.path / "recipe.json").read_text() == run.recipe.to_json()
    assert run.model.decode(torch.zeros(2, run.recipe.model.latent_dim)).shape == (2, 1, 8, 8)
    assert ganvas.resume(run, epochs=run.recipe.training.epochs + 1).state["state"] == "finished"
    assert isinstance(run.findings, list)


def test_what_was_asked_for_is_what_it_is(runs: dict[str, Run], mine: Any) -> None:
    net, gan = runs["net"].recipe, runs["gan"].recipe
    assert net.model.net == mine.OneLayer() and net.training.turns["vae"].optimizer == Adam(weight_decay=0.1)
    assert gan.model.generator == mine.OneLayer(bias=False) and gan.arguments["generator"]["kind"] == "one-layer"
    assert '"linear-code"' in (runs["model"].path / "model" / "config.json").read_text()


@pytest.mark.parametrize(
    ("name", "says"),
    [("net", "unknown net 'one-layer'"), ("model", "unknown model 'linear-code'"), ("gan", "'one-layer'")],
)
def test_another_process_names_what_it_does_not_know(name: str, says: str, runs: dict[str, Run], mine: Any) -> None:
    """It imports nothing because a file names it; once the module is imported, the run is read."""
    load = f"import ganvas; from ganvas.training.run import Run; print(Run({str(runs[name].path)!r}).model.config)"
    there = f"import sys; sys.path.insert(0, {str(Path(mine.__file__).parent)!r})"

    def process(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    refused = process(f"{there}; {load}").stderr.splitlines()[-1]
    assert says in refused and refused.endswith("One of your own is known once the module that defines it is imported.")
    assert process(f"{there}; import mine; {load}").returncode == 0


def test_what_no_model_has_is_refused_before_training(tmp_path: Path) -> None:
    training = Training(turns={"vae": Turn()})
    with pytest.raises(UserError, match=r"is not a model: its class is not registered\. Known: "):
        ganvas.train(Recipe(name="mine", model=Adam(), training=training), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
