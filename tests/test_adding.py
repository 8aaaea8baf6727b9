"""docs/adding.md: the page runs, and what it adds works with everything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import examples
from scipy import stats

from ganvas.cli import main
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.subject import Subject
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models.base import FAMILIES, MODELS
from ganvas.parts.likelihoods import LIKELIHOODS
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.nets import NETS
from ganvas.parts.optimizers import OPTIMIZERS

PAGE = Path(__file__).parents[1] / "docs" / "adding.md"


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the page makes, by name; the registries are left as they were."""
    registries = [GAN_LOSSES, METRICS, MODELS, FAMILIES, LIKELIHOODS, NETS, OPTIMIZERS]
    before = [dict(registry) for registry in registries]
    names: dict[str, Any] = {"__name__": "adding"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("adding"))
        exec(compile(examples(PAGE), PAGE.name, "exec"), names)
        yield names
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)


def test_the_likelihood_has_right_figures(added: dict[str, Any]) -> None:
    run, digits = added["laplace"], added["digits"]
    likelihood, x, output = run.model.likelihood, torch.rand(5, 1, 8, 8), torch.randn(5, 1, 8, 8)
    expected = stats.laplace.logpdf(x.numpy(), output.sigmoid().numpy(), 0.2).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.log_prob(x, output), expected, rtol=1e-4)
    drawn = likelihood.sample(torch.zeros(1, 1, 100, 100), Draw(0)).flatten().numpy()
    assert stats.kstest(drawn, stats.laplace(0.5, 0.2).cdf).pvalue > 1e-4
    subject = Subject(digits, run.model, n=20, draws=300)
    figures = {it.unit: it for it in METRICS["nll"](subject)}
    nats, bits = figures["nats per image"], figures["bits per dimension"]
    (annealed,) = (it for it in METRICS["annealing"](subject) if it.unit == "nats per image" and "log P" in it.name)
    assert annealed.value == pytest.approx(-nats.value, abs=3)
    assert bits.value == pytest.approx(nats.value / (64 * np.log(2)) + np.log2(digits.levels))


def test_the_metric_is_one_of_all(added: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(added["laplace"].path), "-n", "20", "--metrics", "brightness"]) == 0
    assert "brightness" in capsys.readouterr().out


def test_the_family_is_under_every_verb(added: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = added["flow"]
    assert torch.allclose(run.model.sample(3), run.model.sample(5)[:3], atol=1e-5)
    for verb, status in {
        "show": 0, "diagnose": 0, "sample": 0, "evaluate -n 50": 0, "encode": 1, "reconstruct": 1, "interpolate": 1,
        "fit-prior": 1, "export": 1,
    }.items():  # fmt: skip
        name, *flags = verb.split()
        assert main([name, str(run.path), *flags]) == status, capsys.readouterr()
        said = capsys.readouterr()
        assert "Traceback" not in said.err and (not status or said.err.count("\n") <= 3), said.err
    with pytest.raises(UserError, match="has no codes; it has sample"):
        _ = run.model.latent_dim
