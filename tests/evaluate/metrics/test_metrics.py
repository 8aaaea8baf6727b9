"""What every metric has to be, and what each computes from a subject."""

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.data.sources import GAUSSIANS
from ganvas.evaluate import density_coverage, frechet_distance, precision_recall
from ganvas.evaluate import subject as subject_module
from ganvas.evaluate.decoders import Decoder, below
from ganvas.evaluate.figures import Figure, NotApplicableError
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.evaluate.measures.parzen import parzen
from ganvas.evaluate.measures.probes import k_nearest
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.metrics.likelihood import doubts, seen
from ganvas.evaluate.networks.features import features
from ganvas.evaluate.subject import Subject, spread
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, key
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel
from ganvas.models.evidence import Evidence
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from ganvas.parts.nets.mlp import MLP


def figures(name: str, subject: Subject) -> dict[str, Figure]:
    return {f"{it.name} {it.unit}".strip(): it for it in METRICS[name](subject)}


def made_of(dataset: Dataset, split: str = "train", **settings: Any) -> Subject:
    """A subject whose samples are images of the data set itself."""
    return Subject(dataset, samples=dataset.splits[split].images, spaces=("pca",), **settings)


@pytest.mark.parametrize("name", METRICS)
def test_each_is_registered_with_its_meaning_and_gives_figures_or_says_why_not(
    name: str, bars: Dataset, vae: VAEModel, told: VAEModel
) -> None:
    assert (inspect.getdoc(METRICS[name]) or "").endswith(".")
    points = load("ring")
    subjects = [
        Subject(bars, vae, n=100, draws=4, spaces=("pca",)),
        Subject(bars, told, n=100, draws=4, spaces=("pca",)),
        made_of(bars, n=100),
        Subject(points, samples=points.splits["train"].images, n=200),
    ]
    given = 0
    for subject in subjects:
        try:
            found = list(METRICS[name](subject))
        except NotApplicableError as error:
            assert str(error).endswith(".")
            continue
        given += 1
        for it in found:
            assert it.n > 0 and it.protocol, it
            assert it.error is not None or it.name in ("modes", "KL of the modes", "two-sample p-value"), it
            assert it.each is None or (len(it.each) == it.n and it.each.mean() == pytest.approx(it.value))
            low, high = it.interval or (it.value, it.value)
            assert low <= it.value <= high
    assert given, "one of these can be measured"


def drawing_its_label(told: VAEModel) -> torch.nn.Linear:
    """Make the decoder draw the bright row of its label; returns its last layer."""
    first, last = (layer for layer in told.decoder.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        for weight in told.decoder.parameters():
            weight.zero_()
        first.weight[0, 3] = first.weight[1, 4] = 1
        last.weight[:6, 0] = last.weight[30:, 1] = 0.5
    return last


def test_samples_of_what_was_told(bars: Dataset, told: VAEModel) -> None:
    """A decoder that draws the bright row of its label; and one that draws the upper one whatever it is told."""
    last = drawing_its_label(told)
    subject = Subject(bars, told, n=400, draws=20, spaces=("pca",))
    found = figures("conditions", subject)
    share = found["samples of the told class"]
    assert (share.value, share.n, share.of_data) == (1.0, 400, 1.0)
    assert not [name for name in found if name.startswith("Frechet")], "30 real images of a label are too few"
    given, nothing = (found[f"NLL {of} nats per image"] for of in ("given the labels", "of the same, told nothing"))
    expected = -told.log_prob(subject.images, 20, condition=subject.real.labels).mean().item()
    assert given.value == pytest.approx(expected, rel=0.02) and given.value < nothing.value
    assert found["class by log P(x)"].value > 0.9
    with torch.no_grad():
        last.weight[:6, 1], last.weight[30:, 1] = 0.5, 0
    share = figures("conditions", subject)["samples of the told class"]
    assert share.value == 0.5 and share.note == "the worst is 1, 0.0%"


def test_the_label_with_the_worst_frechet_distance_is_named(told: VAEModel, cache: None) -> None:
    """Of a decoder that draws the bright row of its label, label 1's real images are wilder."""
    drawing_its_label(told)
    random = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    images = (
        random.integers(100, 110, (2000, 6, 6), np.uint8)
        + (50 * labels * random.integers(0, 3, 2000)).astype(np.uint8)[:, None, None]
    )
    data = load(images, labels=labels)
    space = features("pixels", data)
    subject = Subject(data, told, n=300, draws=5, spaces=("pixels",), split="train")
    found = figures("conditions", subject)
    (name,) = (name for name in found if name.startswith("Frechet"))
    assert name.startswith("Frechet distance of the class 1, the largest")
    samples = told.sample(150, key(0, "class", 1), condition={"class": "1"})
    real = to_tensor(subject.real.images)[subject.real.labels == 1]
    expected = frechet_distance(space(real[: len(samples)]), space(samples[: len(real)]))
    assert found[name].value == pytest.approx(expected, rel=1e-3) and found[name].error > 0


def test_a_classifier_learns_from_samples(bars: Dataset, told: VAEModel) -> None:
    """A decoder that draws the bright row of its label teaches all; one that is told nothing, nothing."""
    last = drawing_its_label(told)
    found = figures("synthetic", Subject(bars, told, n=400))["accuracy in class by samples"]
    assert found.value > 0.95 and found.of_data > 0.95 and found.n == 60
    with torch.no_grad():
        last.weight.zero_()
    assert abs(figures("synthetic", Subject(bars, told, n=400))["accuracy in class by samples"].value - 0.5) < 0.25


def test_images_without_a_label_are_left_out_of_what_takes_labels(bars: Dataset, told: VAEModel) -> None:
    drawing_its_label(told)

    def partly(split: Split) -> Split:
        return Split(split.images, np.where(np.arange(len(split)) % 3, -1, np.asarray(split.labels)))

    data = replace(bars, splits={name: partly(split) for name, split in bars.splits.items()})
    found = figures("conditions", Subject(data, told, n=400, draws=20, spaces=("pca",)))
    assert found["samples of the told class"].of_data == 1 and found["class by log P(x)"].n == 20
    assert found["class by log P(x)"].value > 0.9
    found = figures("synthetic", Subject(data, told, n=400))
    assert found["accuracy in class by samples"].n == 20 and found["accuracy in class by samples"].value > 0.95
    assert figures("probes", Subject(data, told))["linear probe of PCA"].n == 20
    nothing = {name: Split(split.images, np.full(len(split), -1)) for name, split in bars.splits.items()}
    for name in ("conditions", "probes", "synthetic"):
        with pytest.raises(NotApplicableError, match="labels"):
            figures(name, Subject(replace(bars, splits=nothing), told, n=50))


def test_a_model_that_is_told_nothing_has_no_conditions(bars: Dataset, vae: VAEModel) -> None:
    with pytest.raises(NotApplicableError, match="is told nothing: it takes one that was trained with --condition"):
        figures("conditions", Subject(bars, vae, n=50))


def test_the_elbo_and_its_parts(bars: Dataset) -> None:
    settings = VAE(latent_dim=3, net=MLP(hidden=(16,)), likelihood=Bernoulli(binarise="none"))
    vae = VAEModel(settings, (1, 6, 6)).eval()
    found = figures("elbo", Subject(bars, vae))
    elbo, distortion, rate, bits = found.values()
    assert bits.value == pytest.approx(-elbo.value / 36 / math.log(2), rel=1e-6)
    assert elbo.value == pytest.approx(-(distortion.value + rate.value), rel=1e-6)
    mean, log_variance = vae.posterior(to_tensor(bars.splits["test"].images))
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert rate.value == pytest.approx(kl.mean().item(), rel=1e-4) and rate.n == len(kl)


def test_the_nll_is_the_model_s_and_in_bits_by_dimension(bars: Dataset, vae: VAEModel) -> None:
    subject = Subject(bars, vae, draws=20, n=30)
    nats, bits, doubtful = figures("nll", subject).values()
    found = vae.evidence(subject.images, 20, key(0, "nll", 0))
    expected = -found.log_prob.double().mean().item()
    assert nats.value == pytest.approx(expected, rel=1e-6) and nats.better == "lower"
    assert bits.value == pytest.approx(nats.value / (36 * np.log(2)))
    assert "20" in nats.note and nats.protocol == "K = 20 of adapted proposals; stochastic binarisation"
    assert doubtful.name == "NLL: images with k-hat above 0.23" and doubtful.value == len(found.doubtful) / 30
    assert figures("elbo", subject)["ELBO nats per image"].value <= -nats.value


def test_an_nll_that_is_not_to_be_trusted_is_named(bars: Dataset, vae: VAEModel) -> None:
    """By its number in the split, of which every third image is measured."""
    total = len(bars.splits["test"])
    subject = Subject(bars, vae, n=total // 3)
    khat = torch.zeros(total // 3)
    khat[[3, 5]] = torch.tensor([0.9, 1.25])
    said = doubts(Evidence(khat, khat, khat, 5000), subject)
    numbers = np.linspace(0, total - 1, total // 3).round().astype(int)
    assert f"{total // 3} images 2 have a k-hat above 0.7" in said
    assert f"the worst: test images {numbers[5]} (1.2), {numbers[3]} (0.9). A larger" in said
    assert "and 3 more" in doubts(Evidence(khat, khat, khat.fill_(2)[:8], 5000), subject)


@pytest.mark.parametrize("likelihood", [Gaussian(scale=0.2), DiscretisedLogistic()], ids=["density", "mass"])
def test_each_likelihood_is_measured_as_it_says(bars: Dataset, likelihood: Any) -> None:
    """By importance weights and by annealing log P(x) is one number, to nats, of the same data."""
    torch.manual_seed(0)
    model = VAEModel(VAE(latent_dim=2, net=MLP(hidden=(8,)), likelihood=likelihood), (1, 6, 6)).eval()
    subject = Subject(bars, model, n=20, draws=200)
    nats, bits, _ = figures("nll", subject).values()
    annealed = figures("annealing", subject)["log P(x) by annealing nats per image"]
    assert annealed.value == pytest.approx(-nats.value, abs=2)
    more = 0 if likelihood.mass else 8
    assert bits.value == pytest.approx(nats.value / (36 * np.log(2)) + more)
    said = "probability of 256 levels" if likelihood.mass else "density of dequantised images, 256 levels"
    assert all(it.protocol.endswith(said) for it in (nats, bits, annealed))
    if likelihood.mass:
        assert nats.value > 0
    assert figures("elbo", subject)["ELBO nats per image"].value <= -nats.value + 2 * nats.error


def test_posteriors_that_know_nothing_and_those_that_have_run_out(bars: Dataset) -> None:
    torch.manual_seed(0)
    model = VAEModel(VAE(latent_dim=3, net=MLP(hidden=(16,)), likelihood=Bernoulli(binarise="none")), (1, 6, 6)).eval()
    last = next(part for part in reversed(list(model.encoder.modules())) if isinstance(part, torch.nn.Linear))
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    blind = figures("posteriors", Subject(bars, model))
    assert blind["active units of 3"].value == 0
    assert blind["mutual information nats"].value == pytest.approx(0, abs=1e-6)
    assert blind["aggregate posterior: KL from P(z) nats"].value == pytest.approx(0, abs=1e-6)
    assert blind["aggregate posterior: told from P(z)"].value == pytest.approx(0.5, abs=0.15)
    with torch.no_grad():
        torch.nn.init.normal_(last.weight, std=5)
        last.bias[3:] = -8.0
    sharp = figures("posteriors", Subject(bars, model))
    assert sharp["active units of 3"].value == 3 and "lower bound" in sharp["mutual information nats"].note
    assert sharp["mutual information nats"].value <= np.log(len(bars.splits["test"])) + 1e-6
    assert "aggregate posterior: KL from P(z) nats" not in sharp, "a difference from a bound that has run out"
    assert sharp["aggregate posterior: told from P(z)"].value > 0.7


def test_which_binarisation_a_likelihood_is_of(bars: Dataset) -> None:
    def said(data: Dataset, likelihood: Any) -> str:
        return seen(Subject(data, VAEModel(VAE(net=MLP(hidden=(4,)), likelihood=likelihood), data.shape)))

    static = load(bars.splits["train"].images, binarise=True)
    assert said(bars, Bernoulli()) == "stochastic binarisation"
    assert said(static, Bernoulli()) == said(static, Bernoulli(binarise="none")) == "static binarisation"
    assert said(bars, Bernoulli(binarise="none")) == "expected over grey levels"
    assert said(bars, Gaussian()) == "density of dequantised images, 256 levels"
    assert said(load("ring"), Gaussian()) == "density of points"


def test_samples_are_compared_in_the_features_by_the_functions(bars: Dataset) -> None:
    subject = made_of(bars, n=50)
    space = features("pca", bars)
    real, fake = space(subject.real), space(subject.fake)
    assert len(real) == len(fake) == 50
    expected = {
        "Frechet distance": frechet_distance(real, fake),
        "kernel distance": kernel_distance(real, fake)[0],
        **precision_recall(real, fake),
        **density_coverage(real, fake),
    }
    found = {
        name: it
        for metric in ("frechet", "kernel", "precision", "density")
        for name, it in figures(metric, subject).items()
    }
    assert {name: it.value for name, it in found.items()} == pytest.approx(expected)
    # The training images in the samples' place are the samples here, evenly spread ones of them.
    train = space(subject.rows("train"))
    assert found["Frechet distance"].of_data == pytest.approx(frechet_distance(real, train))
    assert "at least 1,000" in found["precision"].note


def test_fid_is_the_name_over_inception_alone(bars: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    represent = features("pca", bars)
    monkeypatch.setattr(subject_module, "features", lambda name, dataset, device: replace(represent, name=name))
    for space, names in (("inception", ["FID", "KID"]), ("net.onnx@1a2b3c4d", ["Frechet distance", "kernel distance"])):
        subject = Subject(bars, samples=bars.splits["train"].images, n=50, spaces=(space,))
        assert [name for metric in ("frechet", "kernel") for name in figures(metric, subject)] == names


def test_too_few_samples_for_a_covariance_is_said(bars: Dataset) -> None:
    found = figures("frechet", made_of(bars, n=20))["Frechet distance"]
    assert "takes more than 36" in found.note


def test_copies_of_training_images_are_told(bars: Dataset) -> None:
    copied, fresh = figures("memorising", made_of(bars)), figures("memorising", made_of(bars, "validation"))
    assert copied["copies of a training image"].value == 1 and copied["rank statistic z"].value < -5
    assert fresh["copies of a training image"].value == 0 and abs(fresh["rank statistic z"].value) < 4


def test_modes_by_the_published_protocol() -> None:
    points = load("grid")
    found = figures("modes", Subject(points, samples=points.splits["train"].images))
    assert found["modes of 25"].value == 25 and found["modes of 25"].n == 2500
    assert found["good samples"].value == pytest.approx(0.989, abs=0.01)
    few = figures("modes", Subject(points, samples=np.repeat(GAUSSIANS["grid"][0][:3], 10, 0).astype(np.float32)))
    assert few["modes of 25"].value == 3 and "takes 2,500" in few["modes of 25"].note


def test_parzen_is_the_function_on_values_in_0_1(bars: Dataset) -> None:
    splits = bars.splits
    found = figures("parzen", made_of(bars))["Parzen log-likelihood nats per image"]
    expected = parzen(splits["train"].images / 255, splits["validation"].images / 255, splits["test"].images / 255)
    assert (found.value, found.error) == pytest.approx((expected["log_likelihood"], expected["standard_error"]))


def test_probes_read_labels_from_codes(bars: Dataset) -> None:
    torch.manual_seed(0)
    model = AutoencoderModel(Autoencoder(latent_dim=4, net=MLP(hidden=(32,))), (1, 6, 6)).eval()
    subject = Subject(bars, model)
    found = figures("probes", subject)
    train, test = (model.encode(to_tensor(bars.splits[name].images)).numpy() for name in ("train", "test"))
    right = k_nearest(train, bars.splits["train"].labels, test) == bars.splits["test"].labels
    assert found["5 nearest neighbours of codes"].value == pytest.approx(right.mean())
    assert found["linear probe of PCA"].value == 1, "a bright row is where the bars vary most"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "tests"}, "no split 'tests'; there are train, validation, test"),
        ({"n": 0}, "n is 0"),
        ({"draws": -1}, "draws is -1"),
        ({"samples": None}, "give a model or samples"),
        ({"samples": np.zeros((4, 8, 8, 1), np.uint8)}, r"samples of shape \(1, 8, 8\), real images of \(1, 6, 6\)"),
    ],
)
def test_refusals(bars: Dataset, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Subject(bars, **{"samples": np.zeros((4, 6, 6, 1), np.uint8), **settings})


def test_a_model_of_another_shape(bars: Dataset) -> None:
    with pytest.raises(UserError, match="the model is of shape"):
        Subject(bars, VAEModel(VAE(net=MLP(hidden=(4,))), (1, 8, 8)))


def test_samples_that_are_no_numbers(bars: Dataset, vae: VAEModel) -> None:
    with torch.no_grad():
        next(vae.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="samples hold NaN"):
        list(METRICS["frechet"](Subject(bars, vae)))


def test_constant_samples_have_no_balls_but_a_frechet_distance(bars: Dataset, tmp_path: Path) -> None:
    subject = Subject(bars, samples=np.full((100, 6, 6, 1), 9, np.uint8), spaces=("pca",))
    assert figures("precision", subject)["recall"].value == 0
    assert figures("frechet", subject)["Frechet distance"].value > 0


def test_annealing_of_a_gan_states_its_sigma(bars: Dataset) -> None:
    torch.manual_seed(0)
    nets = {"generator": MLP(hidden=(8,)), "discriminator": MLP(hidden=(8,))}
    model = GANModel(GAN(latent_dim=2, **nets), (1, 6, 6)).eval()
    found = figures("annealing", Subject(bars, model, n=6, draws=20))
    log_p, gap, sigma = found.values()
    assert log_p.n == 6 and "20 temperatures; density of dequantised images" in log_p.protocol
    decoder = Decoder(model, sigma.value)
    x = decoder.observe(to_tensor(spread(bars.splits["test"], 6).images), Draw(0))
    np.testing.assert_allclose(log_p.each, below(decoder, x, 20), rtol=1e-5)
    assert 0.1 < sigma.value < 0.5 and gap.n == 6 and (gap.value > 1) == ("-k" in log_p.note)
    with pytest.raises(NotApplicableError, match="takes a model"):
        figures("annealing", made_of(bars, n=6))
