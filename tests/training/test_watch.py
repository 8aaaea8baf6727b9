"""The watch: its figures against independent calculations, its faults on rows made by hand, its looks on runs."""

import dataclasses
import json
import logging
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import mannwhitneyu
from sklearn.decomposition import PCA

import ganvas
from ganvas.cli import training as cli
from ganvas.cli.flags import Command
from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build, parameters
from ganvas.models.base import FAMILIES
from ganvas.models.conditions import Attribute
from ganvas.models.denoiser import Denoiser, DenoiserModel
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.models.vae_gan import VAEGAN, VAEGANModel
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.losses import PROBABILISTIC
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import Adam
from ganvas.parts.priors import Normal
from ganvas.parts.techniques import Clip, MinibatchDiscrimination
from ganvas.recipes import RECIPES, Data, Facts, Recipe, Turn
from ganvas.training.watch import FAULTS, VITALS, Watch, examine, findings, measure, watch
from ganvas.training.watch.faults import HELD, changed, command, held, looks

FAST: dict[str, Any] = {"data": "digits", "batch_size": 64, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Draw(seed).normal("test", shape)


# ---- figures ----


def test_spread_is_the_root_mean_square_distance_of_two() -> None:
    x = normal(40, 3) * torch.tensor([1.0, 2.0, 5.0])
    assert measure.spread(x.numpy()) == pytest.approx(np.sqrt((pdist(x.numpy()) ** 2).mean()), rel=1e-5)


def test_samples_of_one_distribution_are_not_told_apart() -> None:
    # 600 neighbours; 4 standard deviations of a coin, more for neighbours that depend on each other: 1 in 10,000.
    a, b = normal(300, 5).numpy(), normal(300, 5, seed=1).numpy()
    assert measure.told_apart(a, b) == pytest.approx(0.5, abs=0.1)
    assert measure.told_apart(a, b + 20) == measure.told_apart(np.zeros((9, 2)), np.ones((4, 2))) == 1


def test_ranking_is_the_u_statistic() -> None:
    above, below = normal(50).round(decimals=1), (normal(70, seed=1) - 0.5).round(decimals=1)  # with ties
    expected = mannwhitneyu(above, below).statistic / (50 * 70)
    assert float(measure.ranking(above, below)) == pytest.approx(expected, abs=1e-6)


def test_codes_in_use_by_hand() -> None:
    """Four codes of 512, equally often; of 200 tokens no more than 20 could be shown."""
    tokens = torch.arange(4).repeat(2, 25).view(2, 10, 10)
    assert measure.codes_in_use(tokens, 512) == pytest.approx({"perplexity": 4, "codes_in_use": 4 / 20}, rel=1e-6)
    assert measure.codes_in_use(tokens, 8) == pytest.approx({"perplexity": 4, "codes_in_use": 0.5}, rel=1e-6)


def test_the_posterior_of_one_image_has_no_figures() -> None:
    model, seen = VAEModel(VAE(latent_dim=2, net=MLP(hidden=(4,))), (1, 8, 8)), measure.probe(load("digits"), 64)
    assert {"kl", "active_units", "mutual_information"} <= measure.vitals(model, seen).keys()
    one = dataclasses.replace(seen, train=seen.train[:1])
    assert not {"kl", "active_units", "mutual_information"} & measure.vitals(model, one).keys()


@pytest.mark.parametrize(
    ("name", "remedy"), [("posterior collapse", "--warmup"), ("reconstruction loss weighted too high", "--prior vamp")]
)
def test_a_remedy_fits_a_recipe_without_beta(name: str, remedy: str) -> None:
    found = FAULTS[name].found(1, {}, made("iwae"), Facts())
    assert found.remedy.startswith("ganvas train iwae ") and remedy in found.remedy


def test_explained_is_1_for_the_images_and_0_for_their_mean() -> None:
    train, images = normal(30, 1, 4, 4), normal(20, 1, 4, 4, seed=1)
    mean = train.mean(0, keepdim=True).expand_as(images)
    assert measure.explained(images, images, train) == 1
    assert measure.explained(images, mean, train) == pytest.approx(0)
    error = ((images - 0.5 * images) ** 2).sum() / ((images - mean) ** 2).sum()
    assert measure.explained(images, 0.5 * images, train) == pytest.approx(1 - float(error), rel=1e-5)


def test_detail_is_the_squared_difference_of_neighbours() -> None:
    x = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert measure.detail(x) == pytest.approx(((0.5**2 + 0.5**2) / 2) + (1.0**2 + 0) / 2)
    images = torch.rand(20, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    assert measure.detail(blurred) < 0.25 * measure.detail(images)


def test_error_over_pca_is_1_for_reconstructions_by_its_components() -> None:
    made_of = data(300, (1, 8, 8), held_out=60)
    seen = measure.probe(made_of, 16)
    pca = PCA(5, svd_solver="full").fit(to_tensor(made_of.splits["train"].images).flatten(1).numpy())
    flat = seen.held_out.flatten(1).numpy()
    by_pca = torch.from_numpy(pca.inverse_transform(pca.transform(flat))).view_as(seen.held_out)
    assert measure.error_over_pca(by_pca, seen, 5) == pytest.approx(1, rel=1e-2)
    assert measure.error_over_pca(seen.held_out, seen, 5) == 0
    mean = torch.from_numpy(pca.mean_).view(1, 1, 8, 8).expand_as(seen.held_out)
    left = ((flat - pca.mean_) ** 2).sum() / ((by_pca.flatten(1).numpy() - flat) ** 2).sum()
    assert measure.error_over_pca(mean, seen, 5) == pytest.approx(left, rel=1e-2)


def test_missing_classes_are_those_with_a_fifth_of_their_due() -> None:
    # Column 0: classes of 1/2, 1/2; 40 samples, 3 of class 1 where 20 are due. Column 1: shares 0.75, 0.2 and 0.05.
    known = np.array([[0, 0], [1, 0]] * 30 + [[0, 1], [1, 1]] * 8 + [[0, 2], [1, 2]] * 2)
    found = np.array([[0, 0]] * 37 + [[1, 0]] * 3)
    # Checked: both of column 0, classes 0 and 1 of column 1 (due 30 and 8); missing: one in each.
    assert measure.missing_classes(found, known) == {"missing_classes": 0.5}
    assert measure.missing_classes(found[:4], known[:, 1:]) == {}
    # Of labels that are not known nothing is asked.
    blank = np.full((20, 2), -1)
    both = [np.concatenate([part, blank]) for part in (found, known)]
    assert measure.missing_classes(both[0], both[1]) == {"missing_classes": 0.5}
    assert measure.missing_classes(blank, known) == measure.missing_classes(found, blank) == {}


def test_principal_axes_are_those_of_scikit_learn() -> None:
    x = normal(200, 30) * torch.logspace(1, -1, 30)
    centre, axes = measure.principal_axes(x, 8)
    exact = PCA(8, svd_solver="full").fit(x.numpy())
    assert centre.numpy() == pytest.approx(exact.mean_, abs=1e-5)
    cosines = np.linalg.svd(axes.T.numpy() @ exact.components_.T, compute_uv=False)
    assert axes.shape == (30, 8) and cosines == pytest.approx(np.ones(8), abs=1e-3)


def data(n: int, shape: tuple[int, ...], held_out: int = 60, labels: bool = False) -> Dataset:
    """Random images (or points) with a spread, as a data set."""
    splits = {}
    for name, size in (("train", n), ("validation", held_out)):
        random = np.random.default_rng(size)
        images = random.normal(size=(size, *shape)).astype(np.float32)
        if len(shape) == 3:
            images = random.integers(0, 256, (size, shape[1], shape[2], shape[0]), np.uint8)
        splits[name] = Split(images, np.arange(size * 2).reshape(size, 2) % 3 if labels else None)
    return Dataset("made", "made", splits, shape, None, None, "", (), "")


def test_a_probe_shrinks_large_images_and_keeps_points() -> None:
    large = measure.probe(data(70, (3, 96, 64), labels=True), 16)
    assert large.reference.shape == (70, 64) and large.labels is not None and large.labels.shape == (70, 2)
    assert large.features(large.train) == pytest.approx(large.reference, abs=1e-3)
    points = measure.probe(data(3000, (2,)), 16)
    assert len(points.reference) == measure.REFERENCE and len(points.train) == measure.POINTS
    assert (points.features(points.train) == points.train.double().numpy()).all()


# ---- the game ----


def players(loss: str = "minimax", shape: tuple[int, ...] = (2,), **settings: Any) -> GANModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nets: dict[str, Any] = {"generator": MLP(hidden=(8,)), "discriminator": MLP(hidden=())} | settings
        return GANModel(GAN(latent_dim=3, loss=loss, **nets), shape)


@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "wasserstein"])
def test_gradients_of_a_linear_discriminator_by_hand(loss: str) -> None:
    model, probe = players(loss), measure.probe(data(64, (2,)), 64)
    w = model.discriminator.head.weight.detach()[0]
    fake = model.generator.fake(64, Draw(0, 0), torch.device("cpu"))
    d = torch.sigmoid(model.discriminator.logits(fake)).detach()
    # |d cost / d logit|: sigmoid(l) of log(1 - D), 1 - sigmoid(l) of -log D, 1 of the critic.
    passed = {"minimax": d, "non-saturating": 1 - d, "wasserstein": torch.ones(64)}[loss]
    found = measure.game(model, probe)
    assert found["slope"] == pytest.approx(float(w.norm()), rel=1e-5)
    assert found["gradient_share"] == pytest.approx(float(passed.median()), rel=1e-5)
    assert found["generator_gradient"] == pytest.approx(float((passed * w.norm()).median()), rel=1e-5)
    logits = model.discriminator.logits(probe.held_out[torch.arange(64) % 60]).detach()
    assert found["separation"] == pytest.approx(
        mannwhitneyu(logits, model.discriminator.logits(fake).detach()).statistic / 64**2
    )
    assert ("discriminator_fake" in found) == (loss != "wasserstein")
    if loss != "wasserstein":
        assert found["discriminator_fake"] == pytest.approx(float(d.mean()), rel=1e-5)
        assert found["discriminator_held_out"] == pytest.approx(float(logits.sigmoid().mean()), rel=1e-5)


def test_the_adversary_of_a_vae_judges_its_reconstructions() -> None:
    config = VAEGAN(latent_dim=2, net=MLP(hidden=(8,)), likelihood=Gaussian(), discriminator=MLP(hidden=(6,)))
    torch.manual_seed(0)
    model, probe = VAEGANModel(config, (2,)), measure.probe(data(64, (2,)), 64)
    fake = model.fakes(probe.train, Draw(0, 0)).detach()
    held_out = probe.held_out[torch.arange(64) % 60]
    logits = [model.discriminator.logits(model.to_range(x)).detach() for x in (held_out, fake)]
    found = measure.vitals(model, probe)
    assert found["separation"] == pytest.approx(mannwhitneyu(*logits).statistic / 64**2)
    assert {"kl", "active_units", "overfitting", "slope"} <= found.keys()


def test_a_denoiser_is_measured_by_what_it_restores() -> None:
    torch.manual_seed(0)
    model, probe = DenoiserModel(Denoiser(filters=4, level=0.3), (1, 8, 8)), measure.probe(data(64, (1, 8, 8)), 64)
    for weight in model.net.last.parameters():
        torch.nn.init.zeros_(weight)  # what it restores is what it sees
    found = measure.vitals(model, probe)
    noisy = model.corrupt(probe.held_out, Draw(0))
    error = ((noisy - probe.held_out) ** 2).sum() / ((probe.held_out - probe.train.mean(0)) ** 2).sum()
    assert found["explained_held_out"] == pytest.approx(1 - float(error), rel=1e-4)
    assert found.keys() == {"explained_train", "explained_held_out"}


def test_the_share_of_weights_at_the_clip() -> None:
    model = players("wasserstein", techniques=(Clip(bound=0.1),))
    with torch.no_grad():
        model.discriminator.head.weight.copy_(torch.tensor([[0.1, -0.05]]))
        model.discriminator.head.bias.fill_(-0.1)
    assert measure.game(model, measure.probe(data(64, (2,)), 16))["clipped_share"] == pytest.approx(2 / 3)


def test_batches_are_as_large_as_in_training_and_use_their_own_statistics() -> None:
    model = players(
        shape=(1, 8, 8), discriminator=DCGAN(filters=4), generator=MLP(hidden=(8,), norm="batch"), output="tanh"
    )
    probe = measure.probe(data(100, (1, 8, 8)), 32)
    seen: list[int] = []
    model.discriminator.head.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    found = measure.game(model, probe)
    assert set(seen) == {32}
    # As in training mode, where batch norm uses the batch; only there would the running statistics move.
    fakes, slopes = [], []
    model.train()
    for i in range(3):
        with torch.no_grad():
            fake = model.generator.fake(32, Draw(0, i), torch.device("cpu"))
        fake.requires_grad_()
        logits = model.discriminator.logits(fake)
        (gradient,) = torch.autograd.grad(logits.sum(), fake)
        fakes.append(logits.detach())
        slopes.append(gradient.flatten(1).norm(dim=1))
    assert found["discriminator_fake"] == pytest.approx(float(torch.cat(fakes).sigmoid().mean()), rel=1e-4)
    assert found["slope"] == pytest.approx(float(torch.cat(slopes).median()), rel=1e-4)


MODELS: dict[str, Any] = {
    "vae": lambda: VAEModel(VAE(latent_dim=3, net=MLP(hidden=(8,), norm="batch")), (1, 8, 8)),
    "gan": lambda: players(shape=(1, 8, 8), generator=MLP(hidden=(8,), norm="batch"), discriminator=DCGAN(filters=4)),
    "minibatch": lambda: players(
        shape=(1, 8, 8), discriminator=MLP(hidden=(8,)), prior=Normal(), techniques=(MinibatchDiscrimination(),)
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing_and_sees_the_same_again(name: str, training: bool) -> None:
    torch.manual_seed(3)
    model = MODELS[name]().train(training)
    for player in model.players().values():
        player.requires_grad_(False)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    probe = measure.probe(data(80, (1, 8, 8), labels=True), 32)
    first, second = measure.vitals(model, probe), measure.vitals(model, probe)
    assert first == second and first.keys() <= VITALS.keys() and len(first) >= 8
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert model.training is training and all(module.training is training for module in model.modules())
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_few_held_out_images_give_no_recall() -> None:
    model = MODELS["gan"]()
    assert "recall" in measure.vitals(model, measure.probe(data(80, (1, 8, 8), held_out=50), 16))
    few = measure.vitals(model, measure.probe(data(80, (1, 8, 8), held_out=2), 16))
    assert "recall" not in few and all(map(math.isfinite, few.values()))


def test_data_of_equal_images_is_no_obstacle() -> None:
    same = data(80, (1, 8, 8))
    for split in same.splits.values():
        split.images[:] = split.images[0]
    figures = measure.vitals(MODELS["gan"](), measure.probe(same, 16))
    assert "separation" in figures and not figures.keys() & {"spread", "recall", "coverage"}


def test_a_figure_that_is_not_finite_is_left_out() -> None:
    model = players()
    with torch.no_grad():
        model.generator.net[-2].bias.fill_(math.nan)
    assert "spread" not in measure.vitals(model, measure.probe(data(64, (2,)), 16))


# ---- faults, on rows made by hand ----

ILL: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "divergence": ("vae", {}, {"explained_train": -3, "explained_since": -3.8}),
    "critic weights stuck at the clip": ("wgan", {"clip": 1e-4}, {"clipped_share": 0.98}),
    "posterior collapse": ("vae", {"beta": 0.5}, {"active_units": 0, "kl": 0.02, "mutual_information": 0.01}),
    "latent loss too high": ("vae", {"beta": 9.0}, {"active_units": 3, "mutual_information": 0.5}),
    "codebook collapse": ("vq-vae", {"revive": 0.0}, {"perplexity": 8, "codes_in_use": 0.02}),
    "reconstruction loss weighted too high": (
        "vae",
        {"beta": 0.01},
        {"aggregate_kl": 4, "told_from_reconstructions": 0.95},
    ),
    "discriminator saturated": (
        "gan",
        {"k": 5},
        {"separation": 1, "discriminator_held_out": 0.999, "discriminator_fake": 0.001},
    ),
    "vanishing generator gradient": ("gan", {"loss": "minimax"}, {"gradient_share": 1e-4}),
    "mode collapse": ("dcgan", {"loss": "non-saturating"}, {"spread": 0.1, "recall": 0.0}),
    "memorising": ("autoencoder", {}, {"explained_train": 0.95, "explained_held_out": 0.2}),
    "wrong likelihood": ("vae", {"likelihood": "bernoulli"}, {"black_and_white": 0.3}),
    "underfit": ("autoencoder", {}, {"error_over_pca": 2.5}),
    "blurred": ("vae", {}, {"detail": 0.05}),
    "samples unlike the data": ("dcgan", {"loss": "minimax"}, {"recall": 0.0, "coverage": 0.02}),
    "condition unheard": ("vae", {"latent_dim": 20}, {"told_heard": 0.1}),
    "collapse of a class": ("dcgan", {"loss": "non-saturating"}, {"told_spread": 0.05}),
}
WELL = {
    "active_units": 12, "kl": 20, "mutual_information": 5, "aggregate_kl": 0.5, "told_from_reconstructions": 0.7,
    "explained_train": 0.8, "explained_held_out": 0.75, "spread": 0.9, "recall": 0.6, "coverage": 0.8,
    "missing_classes": 0.0, "separation": 0.8, "overfitting": 0.5, "sample_distance": 1.0,
    "discriminator_held_out": 0.7, "discriminator_fake": 0.3, "gradient_share": 0.4, "clipped_share": 0.2, "slope": 1.0,
    "black_and_white": 0.9, "scale_over_error": 1.2, "error_over_pca": 0.8, "detail": 0.6,
    "told_heard": 0.9, "told_spread": 0.8, "codes_in_use": 0.6,
}  # fmt: skip


def made(recipe: str, **settings: Any) -> Recipe:
    it: Recipe = build(RECIPES[recipe], settings)
    training = dataclasses.replace(it.training, epochs=10)
    return dataclasses.replace(it, arguments=settings, data=Data(source="digits"), training=training)


def row(step: int, figures: dict[str, float]) -> dict[str, Any]:
    """A look at a run of 1000 steps and 10 epochs."""
    return {"step": step, "epoch": step / 100, "split": "watch", **figures}


def test_every_fault_has_a_case_here_and_every_sign_a_meaning() -> None:
    assert FAULTS.keys() == ILL.keys()
    assert {key for fault in FAULTS.values() for sign in fault.signs for key in sign} <= VITALS.keys()
    assert all(fault.explanation.endswith(".") for fault in FAULTS.values())


@pytest.mark.parametrize("name", ILL)
def test_a_fault_is_named_with_its_evidence_and_since_when(name: str) -> None:
    recipe, settings, figures = ILL[name]
    rows = [row(step, WELL) for step in (250, 400)] + [row(step, WELL | figures) for step in (550, 700, 1000)]
    others = [{"step": 900, "epoch": 9, "split": "train", "loss": 3.0}]
    found = {one.name: one for one in findings(rows + others, made(recipe, **settings), (1, 8, 8))}
    assert name in found and found[name].since == 550
    for key, evidence in found[name].evidence.items():
        value, healthy = evidence.value, evidence.healthy
        assert (healthy.startswith("at least ") and value < float(healthy[9:])) or (
            healthy.startswith("at most ") and value > float(healthy[8:])
        )
        assert key in str(found[name]).replace(" ", "_") and f"{value:.3g}" in str(found[name])
    assert json.loads(json.dumps(dataclasses.asdict(found[name])))["since"] == 550


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_is_named_of_a_healthy_run(name: str) -> None:
    recipe = made(name)
    rows = [row(step, WELL) for step in range(100, 1001, 100)]
    assert findings(rows, recipe, (1, 8, 8)) == []
    assert findings([], recipe, (1, 8, 8)) == []


@pytest.mark.parametrize("name", ILL)
def test_what_passes_is_not_named(name: str) -> None:
    recipe, settings, figures = ILL[name]
    it, ill = made(recipe, **settings), WELL | figures

    def named(*rows: dict[str, Any]) -> bool:
        return name in [one.name for one in findings(rows, it, (1, 8, 8))]

    assert named(*(row(step, ill) for step in (550, 700)))
    assert not named(*(row(step, ill) for step in (100, 150, 199)))  # as every training begins
    assert not named(row(190, ill), row(210, ill), row(220, WELL))
    assert named(row(190, ill), row(600, ill), row(850, ill))
    assert not named(row(300, WELL), row(500, ill))  # once
    assert not named(row(300, WELL), row(900, ill), row(950, ill))  # for too short a time
    assert not named(*(row(step, ill) for step in (300, 500, 700)), row(900, WELL))  # and it is over
    assert named(row(900, ill))  # there is no other look


def test_nets_that_do_not_move_are_underfit_and_not_diverged() -> None:
    bad = WELL | {"explained_train": -2.6, "explained_held_out": -2.6, "error_over_pca": 100.0}
    rows = [row(step, bad) for step in (300, 600, 1000)]
    for lr, name in ((1e-6, "underfit"), (1.0, "divergence")):
        recipe = made("autoencoder")
        turns = {"autoencoder": Turn(optimizer=Adam(lr=lr))}
        recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, turns=turns))
        assert [one.name for one in findings(rows, recipe, (1, 8, 8))] == [name]


@pytest.mark.parametrize("name", ["underfit", "blurred"])
def test_a_model_that_still_learns_is_not_called_poor(name: str) -> None:
    recipe, settings, figures = ILL[name]
    it, ill = made(recipe, **settings), WELL | figures
    assert name not in [one.name for one in findings([row(step, ill) for step in (200, 260, 330)], it, (1, 8, 8))]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), max_size=8, unique_by=lambda pair: pair[0]))
def test_held_agrees_with_its_definition(pairs: list[tuple[int, float]]) -> None:
    history = [{"step": step, "x": x, "warm_up": step < 10**5} for step, x in sorted(pairs)]
    sign = {"x": FAULTS["memorising"].signs[0]["generalisation_gap"]}  # at most 0.25
    tail = []
    for one in reversed(history):
        if one["x"] <= 0.25:
            break
        tail.append(one["step"])
    old, wanted = sum(step >= 10**5 for step in tail), min(2, sum(not one["warm_up"] for one in history))
    for ended in (False, True):
        always = len(tail) == len(history) and (ended or len(history) == 1)
        long = always or (tail and tail[0] - tail[-1] >= HELD * tail[0])
        assert held(history, sign, ended) == (tail[-1] if old >= wanted > 0 and long else None)


def test_of_a_training_that_has_ended_two_looks_will_do() -> None:
    """Those of a short one lie near each other."""
    recipe, settings, figures = ILL["posterior collapse"]
    rows, it = [row(step, WELL | figures) for step in (375, 390)], made(recipe, **settings)
    assert findings(rows, it, (1, 8, 8), {"state": "running"}) == []
    assert "posterior collapse" in [one.name for one in findings(rows, it, (1, 8, 8), {"state": "finished"})]


def test_the_warm_up_of_a_long_run_ends_by_its_steps() -> None:
    recipe = made("vae")  # 10 epochs
    rows = [{**row(step, WELL), "epoch": step / 10_000} for step in (2000, 4000, 19_000, 21_000)]
    assert [one["warm_up"] for one in looks(rows, recipe)] == [True, False, False, False]
    short = [{**row(step, WELL), "epoch": step / 30} for step in (150, 250, 300)]
    assert [one["warm_up"] for one in looks(short, recipe)] == [True, False, False]


def test_a_run_that_stopped_at_a_number_that_is_not_finite_has_diverged() -> None:
    state = {"state": "failed", "step": 7, "message": "divergence: loss became nan at step 7. ..."}
    (found,) = findings([], made("gan"), (2,), state)
    assert (found.name, found.since) == ("divergence", 7) and "--lr 2e-05" in found.remedy
    assert findings([], made("gan"), (2,), {"state": "failed", "step": 7, "message": "no space left"}) == []


# ---- remedies ----


def parsed(line: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A command as the command line reads it: the recipe, its own arguments, and the rest."""
    program, verb, name, *words = shlex.split(line)
    assert (program, verb) == ("ganvas", "train")
    values = Command(f"train {name}", RECIPES[name], cli._training).parse(words)
    own = {flag: values.pop(flag) for flag in parameters(RECIPES[name]) if flag in values}
    return name, own, values


def fits(recipe: Recipe, shape: tuple[int, ...]) -> bool:
    try:
        FAMILIES[type(recipe.model)](recipe.model, shape)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("shape", [(1, 8, 8), (2,)], ids=["images", "points"])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("name", ILL)
def test_every_remedy_can_be_run_and_changes_the_run(name: str, recipe: str, shape: tuple[int, ...]) -> None:
    settings = ILL[name][1] if ILL[name][0] == recipe else {}
    it, fault = made(recipe, **settings), FAULTS[name]
    figures = hasattr(it.model, NEEDS[name]) if name in NEEDS else True
    if figures and not (name in PROBABILITIES and it.model.loss not in PROBABILISTIC):
        other, own, shared = parsed(fault.found(10, {}, it, Facts(shape)).remedy)
        again: Recipe = build(RECIPES[other], own)
        if fits(it, shape):
            assert fits(again, shape)
        assert shared["data"] == "digits"
        changed = (other, again.model) != (recipe, it.model) or shared["lr"] or shared["patience"] or shared["epochs"]
        assert changed
        assert len(shape) == 3 or not own.get("augment")


# A fault's figures are those of models that have this setting.
PROBABILITIES = ("discriminator saturated", "vanishing generator gradient")
NEEDS = {
    **dict.fromkeys(PROBABILITIES, "loss"),
    **dict.fromkeys(("mode collapse", "critic weights stuck at the clip"), "generator"),
    **dict.fromkeys(("posterior collapse", "latent loss too high", "reconstruction loss weighted too high"), "beta"),
}


@pytest.mark.parametrize(
    ("name", "remedies"),
    [
        ("latent loss too high", ["--beta 1 "]),
        ("posterior collapse", ["--beta 0.125 "]),
        ("reconstruction loss weighted too high", ["--beta 1 "]),
        ("discriminator saturated", ["--label-smoothing 0.9"]),
        ("vanishing generator gradient", ["--loss non-saturating"]),
        ("mode collapse", ["--minibatch-discrimination 100"]),
        ("critic weights stuck at the clip", ["--gradient-penalty 10"]),
        ("memorising", ["--patience 3"]),
        ("divergence", ["--lr 0.0003"]),
    ],
)
def test_the_first_remedy_of_each_fault(name: str, remedies: list[str]) -> None:
    recipe, settings, figures = ILL[name]
    (found,) = [
        one for one in findings([row(900, WELL | figures)], made(recipe, **settings), (1, 8, 8)) if one.name == name
    ]
    assert all(words in found.remedy + " " for words in remedies)
    assert "--clip" not in found.remedy


def test_a_remedy_that_was_taken_gives_way_to_the_next() -> None:
    fault = FAULTS["mode collapse"]
    taken = made("dcgan", minibatch_discrimination=100)
    assert parsed(fault.found(1, {}, taken, Facts((1, 8, 8))).remedy)[0] == "wgan"
    last = made("wgan", gradient_penalty=10.0)  # beside it minibatch discrimination is refused
    assert parsed(fault.found(1, {}, last, Facts((1, 8, 8))).remedy)[2]["lr"] == 3e-5


def test_a_command_trains_the_same_again(tmp_path: Path) -> None:
    flags = "--latent-dim 3 --elbo sampled --data digits --size 8 4 --binarise --epochs 1 --batch-size 200 --lr 0.002"
    more = "--schedule constant --patience 4 --seed 5 --device cpu --precision float32"
    from ganvas.cli import main

    assert main(["train", "vae", *flags.split(), *more.split(), "--out", str(tmp_path / "first")]) == 0
    first = ganvas.Run(tmp_path / "first").recipe
    line = command(changed(first, {}))
    assert main([*shlex.split(line)[1:], "--out", str(tmp_path / "a space")]) == 0
    assert ganvas.Run(tmp_path / "a space").recipe == first
    assert "--stream" not in line
    large = dataclasses.replace(first, data=dataclasses.replace(first.data, stream=True))
    assert all("--stream" in command(changed(large, change)).split() for change in ({}, {"recipe": "gan"}))
    # Only what differs from the recipe's own settings stands in it.
    assert line.split().count("--likelihood") == 0
    clipped = made("wgan", warm_up=False, clip=0.1)
    assert "--no-warm-up" in command(changed(clipped, {})) and "--clip" not in command(changed(clipped, {"clip": None}))


# ---- when it looks ----


class Clock:
    """Time that goes on as it is told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("step_seconds", "look_seconds"), [(0.001, 0.02), (0.02, 0.05), (1.0, 3.0), (0.001, 1.0)])
def test_looks_take_a_small_share_of_the_time(
    step_seconds: float, look_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, steps = Clock(), 20_000
    monkeypatch.setattr(watch, "time", clock)

    def take(*_: Any) -> Any:
        clock.now += look_seconds
        return {}

    monkeypatch.setattr(watch, "probe", lambda *_: SimpleNamespace())
    monkeypatch.setattr(watch, "vitals", take)
    (tmp_path / "recipe.json").write_text(made("vae").to_json())
    game: Any = SimpleNamespace(
        step=0, steps=steps, epoch_steps=steps // 10, recipe=made("vae"), model=SimpleNamespace(device="cpu"),
        data=SimpleNamespace(shape=(1, 8, 8)), accelerator=SimpleNamespace(is_main_process=True),
    )  # fmt: skip
    looked: list[int] = []
    it = Watch(game, ganvas.Run(tmp_path), lambda _split, step, _epoch, _figures: looked.append(step))
    for game.step in range(1, steps + 1):
        clock.now += step_seconds
        if it.due():
            it.look()
            trained = game.step * step_seconds
            enough = len(looked) * look_seconds <= watch.SHARE * trained
            assert enough or len(looked) == 1 or game.step == steps  # the first one's cost is a guess
    assert looked[-1] == steps
    if look_seconds / step_seconds < 5:  # where looks are cheap there are enough of them, sooner at first
        assert len(looked) >= watch.MOST and looked[0] <= 300 and looked[1] - looked[0] < looked[-2] - looked[-3]


def test_an_interrupted_watch_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(made("vae").to_json())
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row(400, WELL)) + "\n")
    (tmp_path / "findings.json").write_text('[{"name": "mode collapse"}]')
    game: Any = SimpleNamespace(step=410, steps=100_000)
    it = Watch(game, ganvas.Run(tmp_path), lambda *_: None)
    assert it.next == 500 and it.said == {"mode collapse"}


# ---- on runs ----


def weights(run: ganvas.Run) -> dict[str, torch.Tensor]:
    return dict(run.model.state_dict())


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [("vae", {}), ("gan", {"virtual_batch_norm": 8}), ("dcgan", {"filters": 4, "ema": 0.9, "spectral_norm": True})],
    ids=["vae", "gan", "dcgan"],
)
def test_a_watched_run_is_bit_for_bit_the_same(
    recipe: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "due", lambda self: self.game.step % 4 == 0)
    watched = ganvas.train(recipe, out=tmp_path / "watched", epochs=1, **FAST, **settings)
    assert sum(row["split"] == "watch" for row in watched.metrics) >= 5
    monkeypatch.setattr(Watch, "due", lambda self: False)
    monkeypatch.setattr(Watch, "look", lambda self: None)
    alone = ganvas.train(recipe, out=tmp_path / "alone", epochs=1, **FAST, **settings)
    a, b = weights(watched), weights(alone)
    assert all(torch.equal(a[name], b[name]) for name in a | b)


def test_a_collapse_is_named_while_it_trains_and_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Watch, "due", lambda self: self.game.step % 50 == 0)
    with caplog.at_level(logging.WARNING, logger="ganvas"):
        run = ganvas.train("vae", out=tmp_path / "run", epochs=15, beta=200.0, fit=0, **FAST)
    told = [line for line in caplog.messages if line.startswith("posterior collapse since step ")]
    assert len(told) == 1 and "try: ganvas train vae --beta 1 --fit 0 --data digits --epochs 15" in told[0]
    written = json.loads((run.path / "findings.json").read_text())
    assert [one["name"] for one in written] == ["posterior collapse", "latent loss too high"]
    found, history = examine(run)
    assert [dataclasses.asdict(one) for one in found] == written
    assert history[-1]["step"] == run.state["step"] and history[-1]["seconds"] >= 0
    # Without the watch's rows the model itself is measured, with the same figures.
    monkeypatch.setattr(ganvas.Run, "metrics", property(lambda self: []))
    again, (look,) = examine(run)
    assert [one.name for one in again] == [one.name for one in found]
    assert look["kl"] == pytest.approx(history[-1]["kl"], rel=0.5) and look["epoch"] == 15


def test_a_finished_run_of_a_few_steps_was_trained_too_shortly(tmp_path: Path) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", epochs=2, **FAST)
    (found,), _ = examine(run)
    assert found.name == "trained too shortly" and found.evidence["steps"].value == run.state["step"] < 200
    epochs = found.arguments["epochs"]
    assert epochs * run.state["step"] / 2 >= 1000 and f"--epochs {epochs}" in found.remedy
    rows = [row(step, WELL) for step in (500, 1000)]
    assert findings(rows, made("vae"), (1, 28, 28), {"state": "finished"}) == []
    assert findings(rows[:1], made("vae"), (1, 28, 28), {"state": "running"}) == []


def test_a_divergence_says_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^divergence: "):
        ganvas.train("gan", out=tmp_path / "run", epochs=3, optimizer="sgd", lr=1e30, **FAST)
    found, _ = examine(ganvas.Run(tmp_path / "run"))
    assert [one.name for one in found] == ["divergence"]


def test_a_run_with_nothing_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(made("vae").to_json())
    (tmp_path / "data.json").write_text(json.dumps({"fingerprint": "0", "shape": [1, 8, 8]}))
    assert examine(ganvas.Run(tmp_path)) == ([], [])


def test_digits_have_labels_to_miss() -> None:
    probe = measure.probe(load("digits"), 64)
    split = load("digits").splits["train"]
    assert split.labels is not None
    few = to_tensor(split.images[split.labels < 4][:256])
    assert measure.samples(few, None, probe)["missing_classes"] == 0.6
    same = measure.samples(probe.train[:1].expand(256, -1, -1, -1), None, probe)
    assert same["spread"] == pytest.approx(0, abs=1e-3) and "missing_classes" not in same  # one image has no recall
    real = measure.samples(probe.train, None, probe)
    assert real["missing_classes"] == 0 and real["spread"] == pytest.approx(1, abs=0.05)


class Telling:
    """Draws images of what it is told: those of a data set, one of them alone for a value, or whatever it likes."""

    def __init__(self, images: torch.Tensor, labels: np.ndarray, deaf: bool = False, one: int | None = None) -> None:
        self.images, self.labels, self.deaf, self.one = images, labels, deaf, one
        label = Attribute(name="class", column=0, values=tuple("0123456789"))
        self.config = SimpleNamespace(condition=(label,))

    def sample(self, n: int, seed: int = 0, condition: Any = None) -> torch.Tensor:
        told = int(condition["class"])
        here = np.arange(len(self.labels)) if self.deaf else np.flatnonzero(self.labels == told)
        chosen = np.random.default_rng(seed).permutation(here)[: 1 if told == self.one else n]
        return self.images[np.resize(chosen, n)]


def test_what_is_told_is_heard_and_a_class_that_collapsed_is_named() -> None:
    data = load("digits")
    probe, held_out = measure.probe(data, 64), data.splits["test"]
    assert probe.labels is not None and held_out.labels is not None
    images = to_tensor(held_out.images)
    found = measure.told(Telling(images, held_out.labels), probe, probe.labels)
    assert found["told_heard"] == pytest.approx(1, abs=0.12) and found["told_spread"] > 0.7
    deaf = measure.told(Telling(images, held_out.labels, deaf=True), probe, probe.labels)
    assert abs(deaf["told_heard"]) < 0.15, "nearest images are of the value by chance"
    assert "told_heard" not in measure.told(Telling(images, held_out.labels), probe, probe.labels, among=False)
    partly = np.where(np.arange(len(probe.labels))[:, None] % 2, -1, probe.labels)
    assert measure.told(Telling(images, held_out.labels), probe, partly)["told_heard"] == pytest.approx(1, abs=0.2)
    assert measure.told(Telling(images, held_out.labels), probe, np.full_like(partly, -1)) == {}
    collapsed = measure.told(Telling(images, held_out.labels, one=7), probe, probe.labels)
    assert collapsed["told_least"] == 7 and collapsed["told_spread"] == pytest.approx(0, abs=1e-6)


def test_findings_of_what_is_told() -> None:
    told = made("vae")
    label = Attribute(name="digit", column=0, values=tuple("0123456789"))
    told = dataclasses.replace(told, model=dataclasses.replace(told.model, condition=(label,)))
    bad = WELL | {"told_heard": 0.1, "told_spread": 0.05, "told_least": 7.0}
    found = {one.name: one for one in findings([row(step, bad) for step in (500, 1000)], told, (1, 28, 28))}
    assert {*found} == {"condition unheard", "collapse of a class"}
    assert all("--condition digit" in one.remedy for one in found.values())
    assert found["collapse of a class"].explanation.startswith("digit 7: what is told has one kind of image")
    good = WELL | {"told_heard": 0.9, "told_spread": 0.8, "told_least": 7.0}
    assert findings([row(step, good) for step in (500, 1000)], told, (1, 28, 28)) == []
