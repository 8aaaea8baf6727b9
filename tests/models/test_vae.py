"""Bounds and likelihoods against a linear-Gaussian model, whose log P(x) is known (Tipping & Bishop 1999).

There x = W z + b + s e, so P(x) = N(b, W W' + s^2 I), and, W having orthogonal columns, P(z given x) is a normal of
diagonal covariance.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ganvas.data import load
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import PRIORS, Mixture, Normal, StochasticLayer, TruncatedNormal, Uniform, Vamp

W, B, S = np.array([[1.2, 0.3], [-0.8, 0.45]]), np.array([0.5, -1.0]), 0.6
PRECISION = np.eye(2) + W.T @ W / S**2
EXACT = np.linalg.inv(PRECISION)
MARGINAL = stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(2))
GRADIENTS = ("standard", "doubly")
X = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-0.7, 0.4]])


def linear_gaussian(shift: float = 0.0, widen: float = 1.0, **settings: Any) -> VAEModel:
    """Q is the exact posterior, its mean moved by `shift` and its standard deviations multiplied by `widen`."""
    config = VAE(latent_dim=2, net=MLP(hidden=()), likelihood=Gaussian(scale=S), **settings)
    model = VAEModel(config, (2,))
    gain = EXACT @ W.T / S**2
    log_variance = np.log(np.diag(EXACT)) + 2 * np.log(widen)
    values = (
        np.concatenate([gain, np.zeros((2, 2))]),
        np.concatenate([shift - gain @ B, log_variance]),
        W,
        B,
    )
    with torch.no_grad():
        for parameter, value in zip([*model.encoder.parameters(), *model.decoder.parameters()], values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return model


def kl_to_exact(shift: float, widen: float) -> float:
    """KL(Q || P(z given x)): what the ELBO lacks."""
    return float(np.sum(0.5 * (widen**2 + shift**2 * np.diag(PRECISION) - 1) - math.log(widen)))


def log_joint(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(x, z @ W.T + B, S).sum(-1) + stats.norm.logpdf(z).sum(-1)


def log_q(x: np.ndarray, z: np.ndarray, shift: float, widen: float) -> np.ndarray:
    mean = (x - B) @ W @ EXACT / S**2 + shift
    return stats.norm.logpdf(z, mean, widen * np.sqrt(np.diag(EXACT))).sum(-1)


def image_model(latent_dim: int = 1, **settings: Any) -> VAEModel:
    torch.manual_seed(0)
    return VAEModel(VAE(latent_dim=latent_dim, net=MLP(hidden=(4,)), **settings), (1, 4, 4))


def test_the_posterior_is_diagonal_here() -> None:
    assert abs(EXACT[0, 1]) < 1e-15


@pytest.mark.parametrize("num_samples", [1, 2, 700])
def test_with_the_exact_posterior_every_weight_is_the_likelihood(num_samples: int) -> None:
    model = linear_gaussian()
    np.testing.assert_allclose(model.log_prob(X, num_samples, proposal="encoder"), MARGINAL.logpdf(X), atol=2e-5)
    np.testing.assert_allclose(model.encode(X), (X.numpy() - B) @ W @ EXACT / S**2, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(model.elbo(X, Draw(0), "sampled")["elbo"], MARGINAL.logpdf(X), atol=2e-5)


@pytest.mark.parametrize("form", ["analytic", "sampled"])
@pytest.mark.parametrize(("shift", "widen"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.5), (-0.2, 1.5)])
def test_the_elbo_lacks_the_distance_to_the_posterior(form: str, shift: float, widen: float) -> None:
    """Means of 20,000 draws within 5.5 standard errors: false alarm 4e-8 an image, under 1e-6 in all 24."""
    model = linear_gaussian(shift, widen)
    for x, exact in zip(X, MARGINAL.logpdf(X), strict=True):
        with torch.no_grad():
            elbo = model.elbo(x.expand(20_000, 2), Draw(0), form)["elbo"].double()
        error = 5.5 * float(elbo.std()) / math.sqrt(20_000)
        assert float(elbo.mean()) == pytest.approx(exact - kl_to_exact(shift, widen), abs=error + 2e-5)
        if kl_to_exact(shift, widen) > 0.05:
            assert float(elbo.mean()) < exact


@pytest.mark.parametrize("form", ["analytic", "sampled"])
def test_the_elbo_of_one_draw_by_hand(form: str) -> None:
    model, x = linear_gaussian(0.3, 1.5), X.numpy()
    zs = []
    handle = model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].numpy()))
    with torch.no_grad():
        parts = model.elbo(X, Draw(0), form)
    handle.remove()
    (z,) = zs
    np.testing.assert_allclose(parts["elbo"], -(parts["reconstruction"] + parts["kl"]), rtol=1e-6)
    np.testing.assert_allclose(parts["reconstruction"], -stats.norm.logpdf(x, z @ W.T + B, S).sum(1), rtol=1e-4)
    if form == "sampled":
        np.testing.assert_allclose(parts["kl"], log_q(x, z, 0.3, 1.5) - stats.norm.logpdf(z).sum(1), rtol=1e-4)
    else:
        mean, variance = (x - B) @ W @ EXACT / S**2 + 0.3, np.diag(EXACT) * 1.5**2
        np.testing.assert_allclose(parts["kl"], 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1), rtol=1e-4)


@pytest.mark.parametrize("num_samples", [1, 7, 1000, 1234])
def test_log_prob_is_the_mean_of_exactly_as_many_weights(num_samples: int) -> None:
    model, x = linear_gaussian(0.3, 1.5), X[1]
    zs = []
    model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].numpy().reshape(-1, 2)))
    ours = model.log_prob(x[None], num_samples, proposal="encoder").item()
    z = np.concatenate(zs)
    assert len(z) == len(np.unique(z, axis=0)) == num_samples
    weights = log_joint(x.numpy(), z) - log_q(x.numpy(), z, 0.3, 1.5)
    assert ours == pytest.approx(np.logaddexp.reduce(weights) - math.log(num_samples), abs=1e-4)


def test_log_prob_of_one_sample_is_the_elbo_in_expectation_and_more_samples_come_closer() -> None:
    """Means of 1000 seeds within 5.5 standard errors, false alarm under 1e-6; the weights are unbiased, and bounded."""
    model = linear_gaussian(0.3, 1.2)
    (exact,) = np.atleast_1d(MARGINAL.logpdf(X[1]))
    one, three = (
        np.array([model.log_prob(X[1:2], num_samples, seed).item() for seed in range(1000)]) for num_samples in (1, 3)
    )
    assert one.mean() == pytest.approx(exact - kl_to_exact(0.3, 1.2), abs=5.5 * one.std() / math.sqrt(1000))
    for estimates in (one, three):
        weights = np.exp(estimates - exact)
        assert weights.mean() == pytest.approx(1, abs=5.5 * weights.std() / math.sqrt(1000))
    assert one.mean() < three.mean() < exact


def test_log_prob_is_each_images_own() -> None:
    """The standard error, from SciPy's densities, is 0.008; 0.06 is over 7 of them: false alarm under 1e-6."""
    model = linear_gaussian(0.1, 1.3)
    np.testing.assert_allclose(model.log_prob(X.repeat(3, 1), 4000), np.tile(MARGINAL.logpdf(X), 3), atol=0.06)
    assert torch.equal(model.log_prob(X, 50, seed=1), model.log_prob(X, 50, seed=1))
    assert not torch.equal(model.log_prob(X, 50, seed=1), model.log_prob(X, 50, seed=2))


@pytest.mark.parametrize("num_samples", [3, 50, 170, 500])
@pytest.mark.parametrize("settings", [{}, {"prior": StochasticLayer(latent_dim=2)}])
def test_log_prob_of_an_image_is_the_same_in_any_company(num_samples: int, settings: dict[str, Any]) -> None:
    """Small numbers of draws are decoded for several images at once; each image has its own by its place."""
    torch.manual_seed(0)
    model, images = linear_gaussian(0.1, 1.3, **settings), X.repeat(4, 1)
    found = model.log_prob(images, num_samples, seed=1, progress=True)
    for n in (1, 5, 12):
        torch.testing.assert_close(model.log_prob(images[:n], num_samples, seed=1), found[:n])
    assert len(set(found.tolist())) == 12, "equal images have unequal draws"


def test_log_prob_of_black_and_white_is_the_integral_over_z() -> None:
    """Within 6 standard errors, 0.0008 by 40 seeds: false alarm under 1e-6."""
    model = image_model()
    x = (torch.arange(16).reshape(1, 1, 4, 4) % 3 == 0).float()
    z = np.linspace(-8, 8, 4001)
    p = model.decode(torch.from_numpy(z)[:, None].float()).double().numpy()
    joint = stats.bernoulli.logpmf(x.numpy(), p).sum((1, 2, 3)) + stats.norm.logpdf(z)
    exact = math.log(integrate.simpson(np.exp(joint), x=z))
    assert model.log_prob(x, 5000).item() == pytest.approx(exact, abs=0.005)


def test_grey_levels_are_drawn_as_black_and_white_where_the_likelihood_says_so() -> None:
    """Equal levels kept have one log P(x), within 6 standard errors, 0.003 by 40 seeds: false alarm under 1e-6."""
    grey = torch.full((3, 1, 4, 4), 0.5)
    drawn = image_model().log_prob(grey, 300)
    assert len(set(drawn.tolist())) == 3 and torch.equal(drawn, image_model().log_prob(grey, 300))
    kept = image_model(likelihood=Bernoulli(binarise="none")).log_prob(grey, 3000)
    assert float(kept.max() - kept.min()) < 0.025


@pytest.mark.parametrize("form", ["analytic", "sampled"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_weighs_the_kl(form: Any, beta: float) -> None:
    model = linear_gaussian(0.3, 1.5, elbo=form, beta=beta)
    parts, elbo = model(Batch(X), Draw(0)), model.elbo(X, Draw(0), form)
    assert {"reconstruction", "kl"} < parts.keys()
    for name in parts.keys() - {"loss"}:
        assert parts[name].item() == pytest.approx(elbo[name].mean().item(), rel=1e-6)
    assert parts["loss"].item() == pytest.approx(parts["reconstruction"].item() + beta * parts["kl"].item(), rel=1e-6)


def test_both_forms_have_the_same_gradient_in_expectation() -> None:
    """The difference over 50 batches is within 7 standard errors (Student's t): false alarm under 1e-6 in all."""
    model = linear_gaussian(0.3, 1.5)
    batches = []
    for i in range(50):
        gradients = []
        for form in ("analytic", "sampled"):
            model.zero_grad()
            (-model.elbo(X[1].expand(2000, 2), Draw(0, i), form)["elbo"].mean()).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]).double())
        batches.append(gradients[0] - gradients[1])
    difference = torch.stack(batches)
    error = difference.std(0) / math.sqrt(50)
    assert (difference.mean(0).abs() <= 7 * error + 1e-5).all()


def draws_of(model: VAEModel, samples: int, **how: Any) -> tuple[dict[str, torch.Tensor], np.ndarray, np.ndarray]:
    """What forward gives; and by SciPy, at the z that it took, log P(x, z) and log Q(z given x), each (3, samples)."""
    zs = []
    handle = model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].detach().double().numpy()))
    parts = model(Batch(X), Draw(0))
    handle.remove()
    z, x = zs[0].reshape(3, samples, 2), X.double().numpy()
    p = np.array([log_joint(x[i], z[i]) for i in range(3)])
    q = np.array([log_q(x[i : i + 1], z[i], **how) for i in range(3)])
    return parts, p, q


@pytest.mark.parametrize("settings", [{}, {"elbo": "sampled"}])
@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_importance_weighted_bound_by_hand(samples: int, settings: dict[str, Any]) -> None:
    """Burda et al. 2015, equation 8: log of the mean weight; with one sample it is the ELBO."""
    model = linear_gaussian(0.3, 1.5, bound="iwae", samples=samples, **settings)
    parts, p, q = draws_of(model, samples, shift=0.3, widen=1.5)
    expected = np.logaddexp.reduce(p - q, axis=1) - math.log(samples)
    assert parts["loss"].item() == pytest.approx(-expected.mean(), rel=1e-5)
    assert parts["elbo"].item() == pytest.approx((p - q).mean(), rel=1e-5)
    if samples > 1:
        assert -parts["loss"].item() > parts["elbo"].item()
    else:
        assert parts["loss"].item() == pytest.approx(-parts["elbo"].item(), rel=1e-6)


@pytest.mark.parametrize(("samples", "groups"), [(6, 1), (6, 3), (6, 6), (1, 1)])
def test_the_bounds_between_by_hand(samples: int, groups: int) -> None:
    """Rainforth et al. 2018, section 4: MIWAE and PIWAE of so many groups, CIWAE with a share of the ELBO."""
    found = {}
    for bound, settings in (("miwae", {"groups": groups}), ("piwae", {"groups": groups}), ("ciwae", {"share": 0.3})):
        model = linear_gaussian(0.3, 1.5, bound=bound, samples=samples, **settings)
        parts, p, q = draws_of(model, samples, shift=0.3, widen=1.5)
        found[bound] = -parts["loss"].item()
    each = (p - q).reshape(3, groups, -1)
    whole = (np.logaddexp.reduce(p - q, axis=1) - math.log(samples)).mean()
    assert found["miwae"] == pytest.approx((np.logaddexp.reduce(each, 2) - math.log(each.shape[2])).mean(), rel=1e-5)
    assert found["piwae"] == pytest.approx(whole, rel=1e-5)
    assert found["ciwae"] == pytest.approx(0.3 * (p - q).mean() + 0.7 * whole, rel=1e-5)


@pytest.mark.parametrize("prior", [Normal(), Mixture(components=3), StochasticLayer(latent_dim=1)])
def test_the_encoder_of_piwae_learns_from_miwae_and_all_else_from_iwae(prior: Any) -> None:
    def gradients(**settings: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = VAE(latent_dim=2, net=MLP(hidden=(5,)), likelihood=Gaussian(), samples=6, prior=prior, **settings)
        model = VAEModel(config, (3,))
        model(Batch(torch.randn(4, 3, generator=torch.Generator().manual_seed(1))), Draw(0))["loss"].backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    iwae, miwae = gradients(bound="iwae"), gradients(bound="miwae", groups=3)
    for name, found in gradients(bound="piwae", groups=3).items():
        own, other = (miwae, iwae) if name.startswith("encoder") else (iwae, miwae)
        torch.testing.assert_close(found, own[name])
        assert not torch.allclose(found, other[name])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bound": "miwae", "samples": 6, "groups": 4}, "6 draws can't be in so many groups of equal sizes"),
        ({"bound": "iwae", "samples": 6, "groups": 3}, "groups is 3: the bound iwae has none; take miwae or piwae"),
        ({"bound": "piwae", "gradient": "doubly"}, "take bound iwae"),
    ],
)
def test_bounds_that_can_t_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        VAE(**settings)


def test_the_importance_weighted_bound_stays_below() -> None:
    """With 2,000 draws it is log P(x) less half the weights' variance / 2,000: within 7 standard errors of 20 seeds."""
    model = linear_gaussian(0.3, 1.5, bound="iwae", samples=2000)
    with torch.no_grad():
        found = np.array([-model(Batch(X), Draw(seed))["loss"].item() for seed in range(20)])
    assert found.mean() == pytest.approx(MARGINAL.logpdf(X).mean(), abs=7 * found.std() / math.sqrt(20) + 5e-4)


def test_the_elbo_of_several_samples_is_the_mean_over_them() -> None:
    model = linear_gaussian(0.3, 1.5, samples=5, elbo="sampled")
    parts, p, q = draws_of(model, 5, shift=0.3, widen=1.5)
    assert parts["loss"].item() == pytest.approx((q - p).mean(), rel=1e-5)


def test_the_gradient_of_the_importance_weighted_bound_weighs_each_sample() -> None:
    """Burda et al. 2015, equation 14, for the decoder: the weights, made to sum to 1, times each sample's gradient."""
    model = linear_gaussian(0.3, 1.5, bound="iwae", samples=4, elbo="sampled")
    parts, p, q = draws_of(model, 4, shift=0.3, widen=1.5)
    weights = np.exp(p - q - np.logaddexp.reduce(p - q, axis=1, keepdims=True))
    parts["loss"].backward()
    zs = []
    handle = model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].detach().double().numpy()))
    model(Batch(X), Draw(0))
    handle.remove()
    z, x = zs[0].reshape(3, 4, 2), X.double().numpy()
    residual = x[:, None] - (z @ W.T + B)  # d log P(x given z) / db = residual / S^2
    expected = -(weights[..., None] * residual / S**2).sum(1).mean(0)
    np.testing.assert_allclose(list(model.decoder.parameters())[1].grad, expected, rtol=1e-4)


def gradient(model: VAEModel, images: torch.Tensor, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Of the loss, by the encoder's parameters and by all others."""
    model.zero_grad()
    model(Batch(images), draw)["loss"].backward()
    own = {id(p) for p in model.encoder.parameters()}
    parts = [[p.grad for p in model.parameters() if (id(p) in own) == inside] for inside in (True, False)]
    encoder, others = (torch.cat([p.flatten() for p in part if p is not None]).double().numpy() for part in parts)
    return encoder, others


def both_gradients(samples: int, **settings: Any) -> list[VAEModel]:
    made = []
    for kind in GRADIENTS:
        torch.manual_seed(0)
        made.append(linear_gaussian(0.3, 1.5, bound="iwae", samples=samples, gradient=kind, **settings))
    return made


@pytest.mark.parametrize(
    "settings", [{}, {"beta": 0.4}, {"prior": Mixture(components=3)}, {"prior": Vamp(components=3), "beta": 2.0}]
)
def test_the_doubly_reparametrised_gradient_has_the_same_mean(settings: dict[str, Any]) -> None:
    """The difference over 50 batches is within 8 standard errors (Student's t): false alarm under 1e-6 in all."""
    models = both_gradients(4, **settings)
    found = [[gradient(model, X[1].expand(2000, 2), Draw(0, i)) for model in models] for i in range(50)]
    for (_, others), (_, same) in found:
        np.testing.assert_allclose(same, others, rtol=1e-4, atol=1e-5)
    difference = np.array([one - two for (one, _), (two, _) in found])
    assert (np.abs(difference.mean(0)) <= 8 * difference.std(0, ddof=1) / math.sqrt(50) + 1e-5).all()
    assert difference.std(0).max() > 1e-4
    with torch.no_grad():
        assert models[0](Batch(X), Draw(0))["loss"] == models[1](Batch(X), Draw(0))["loss"]


def test_the_doubly_reparametrised_gradient_varies_less() -> None:
    """Tucker et al. 2018: over 200 draws of 16 and 64 weights the encoder's gradient has under half the variance."""
    for samples in (16, 64):
        models = both_gradients(samples)
        found = [[gradient(model, X[1:2], Draw(0, i))[0] for i in range(200)] for model in models]
        standard, doubly = (np.var(each, axis=0).sum() for each in found)
        assert doubly < 0.5 * standard


def test_of_one_draw_the_doubly_reparametrised_gradient_sticks_the_landing() -> None:
    """Roeder et al. 2017: with one draw, the path through z alone; where Q is the posterior it is 0, and not noise."""
    (_, model), (standard, exact) = both_gradients(1), [linear_gaussian(bound="iwae", gradient=g) for g in GRADIENTS]
    found, _ = gradient(model, X, Draw(0, 1))
    model.zero_grad()
    mean, log_variance = model.posterior(X)
    z = mean + torch.exp(0.5 * log_variance) * Draw(0, 1).normal("posterior", (3, 1, 2))[:, 0]
    fixed = torch.distributions.Normal(mean.detach(), torch.exp(0.5 * log_variance.detach()))
    joint = torch.distributions.Normal(model.decoder(z), S).log_prob(X) + torch.distributions.Normal(0, 1).log_prob(z)
    (fixed.log_prob(z) - joint).sum(1).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in model.encoder.parameters()])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(gradient(exact, X, Draw(0))[0]).max() < 1e-5 < 0.1 < np.abs(gradient(standard, X, Draw(0))[0]).max()


@pytest.mark.parametrize(
    ("settings", "says"), [({}, "take bound iwae"), ({"bound": "iwae", "prior": StochasticLayer()}, "take one layer")]
)
def test_what_has_no_doubly_reparametrised_gradient(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        VAE(gradient="doubly", **settings)


@pytest.mark.parametrize("kind", sorted(name for name, made in PRIORS.items() if not made.bound))
@pytest.mark.parametrize("samples", [1, 3])
def test_every_prior_trains_and_is_asked(kind: str, samples: int) -> None:
    prior = PRIORS[kind](**({"components": 5} if kind in ("mixture", "vamp") else {}))
    model = image_model(2, prior=prior, samples=samples, bound="iwae" if samples > 1 else "elbo")
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    parts = model(Batch(images), Draw(0))
    parts["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.sample(4).shape == (4, 1, 4, 4) and model.log_prob(images, 20).isfinite().all()
    assert parts["loss"].item() <= -parts["elbo"].item() + 1e-5


@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_log_prob_with_a_learned_prior_is_the_integral_over_z(kind: str) -> None:
    """Within 6 standard errors, at most 0.009 by 40 seeds: false alarm under 1e-6."""
    model = image_model(1, prior={"mixture": Mixture(components=3), "vamp": Vamp(components=3)}[kind])
    x = (torch.arange(16).reshape(1, 1, 4, 4) % 3 == 0).float()
    z = np.linspace(-10, 10, 4001)
    p = model.decode(torch.from_numpy(z)[:, None].float()).double().numpy()
    prior = model.prior.log_prob(torch.from_numpy(z)[:, None], Draw(0)).detach().numpy()
    joint = stats.bernoulli.logpmf(x.numpy(), p).sum((1, 2, 3)) + prior
    exact = math.log(integrate.simpson(np.exp(joint), x=z))
    assert model.log_prob(x, 5000).item() == pytest.approx(exact, abs=0.055)


def test_two_layers_by_the_marginal_of_a_linear_gaussian() -> None:
    """u ~ N(0, I), z = 0.5 u + e, x = W z + B + S e: P(x) is a normal.

    Within 7 standard errors, 0.004 by 20 seeds: false alarm under 1e-6.
    """
    model = linear_gaussian(0.1, 1.4, prior=StochasticLayer(latent_dim=2, net=MLP(hidden=())))
    eye = np.eye(2)
    with torch.no_grad():
        for parameter, value in zip(
            model.prior.parameters(),
            (np.concatenate([0.4 * eye, 0 * eye]), np.array([0, 0, -0.1, -0.1]), np.concatenate([0.5 * eye, 0 * eye])),
            strict=False,
        ):
            parameter.copy_(torch.from_numpy(value))
        model.prior.decoder[0].bias.zero_()
    exact = stats.multivariate_normal(B, W @ (1.25 * eye) @ W.T + S**2 * eye).logpdf(X)
    np.testing.assert_allclose(model.log_prob(X, 20_000), exact, atol=0.03)


def test_the_kl_s_weight_warms_up_and_is_whole_in_evaluation() -> None:
    model = linear_gaussian(0.3, 1.5, beta=2.0, warmup=4)
    for moves in range(7):
        parts = model(Batch(X), Draw(0))
        weight = 2.0 * min(1.0, moves / 4)
        assert parts["loss"].item() == pytest.approx((parts["reconstruction"] + weight * parts["kl"]).item(), rel=1e-6)
        model.moved("vae")
    model = linear_gaussian(0.3, 1.5, beta=2.0, warmup=4).eval()
    parts = model(Batch(X), Draw(0))
    assert parts["loss"].item() == pytest.approx((parts["reconstruction"] + 2 * parts["kl"]).item(), rel=1e-6)


def test_free_bits_are_free() -> None:
    """Kingma et al. 2016, equation 15: a dimension costs the larger of its mean KL and the free bits."""
    free = linear_gaussian(0.3, 1.5, free_bits=0.3)
    parts = free(Batch(X), Draw(0))
    mean, log_variance = (part.detach().double().numpy() for part in free.posterior(X))
    by_dimension = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).mean(0)
    assert by_dimension.min() < 0.3 < by_dimension.max(), "one is free, one is not"
    expected = parts["reconstruction"].item() + np.maximum(by_dimension, 0.3).sum()
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("settings", [{"prior": Mixture()}, {"bound": "iwae"}, {"elbo": "sampled"}])
def test_free_bits_need_a_closed_form(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="free bits need the KL of each dimension"):
        VAE(free_bits=0.1, **settings)


def test_pseudo_inputs_start_as_training_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    data = load(images)
    model = image_model(2, prior=Vamp(components=5))
    model.prepare(data, 0)
    train = torch.from_numpy(data.splits["train"].images.copy()).permute(0, 3, 1, 2) / 255
    found = [(train == one).flatten(1).all(1).nonzero().flatten().tolist() for one in model.prior.inputs]
    assert all(found) and len({tuple(one) for one in found}) == 5
    with pytest.raises(UserError, match="500 components: there are 48 training images"):
        image_model(2, prior=Vamp()).prepare(data, 0)


def test_a_model_with_a_learned_prior_is_saved_and_loaded(tmp_path: Any) -> None:
    from ganvas.models import load as load_model

    model = image_model(2, prior=Vamp(components=5))
    again = load_model(model.save(tmp_path))
    assert torch.equal(again.sample(9), model.sample(9))


def test_a_prior_that_ends_has_no_density_where_a_normal_posterior_has() -> None:
    for prior in (Uniform(), TruncatedNormal()):
        with pytest.raises(ValueError, match="prior can't end anywhere"):
            VAE(prior=prior)


def test_a_runaway_posterior_stays_finite() -> None:
    model = linear_gaussian()
    for bias in (1e4, -1e4):
        with torch.no_grad():
            model.encoder[1].bias[2:] = bias
        assert model.elbo(X, Draw(0))["elbo"].isfinite().all() and model.log_prob(X, 5).isfinite().all()


def test_samples_are_means_at_normal_codes() -> None:
    """Kolmogorov-Smirnov in both directions of the plane, false alarm under 1e-6."""
    samples = linear_gaussian().sample(5000, seed=1).double().numpy()
    z = (samples - B) @ np.linalg.inv(W).T
    assert all(stats.kstest(column, "norm").pvalue > 5e-7 for column in z.T)


def test_what_can_t_be_is_refused() -> None:
    with pytest.raises(UserError, match="num_samples: 0 is refused: it takes a whole number of at least 1"):
        linear_gaussian().log_prob(X, 0)
    with pytest.raises(UserError, match="proposal: 'q' is refused: it takes 'adapted' or 'encoder'"):
        linear_gaussian().log_prob(X, 10, proposal="q")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"bernoulli .* needs images.* shape \(2,\): take --likelihood gaussian"):
        VAEModel(VAE(), (2,))


@pytest.mark.parametrize("shape", [(1, 8, 8), (5,)])
def test_a_learned_scale_is_calibrated_on_images_that_were_not_seen(shape: tuple[int, ...]) -> None:
    """The figures are those that the model measures with that scale, which no other scale beats; after it all is as it
    was."""
    model = VAEModel(VAE(latent_dim=3, likelihood=Gaussian(scale="shared"), beta=2.0), shape)
    rows = torch.from_numpy(np.random.default_rng(0).random((40, *shape), np.float32))
    if len(shape) == 1:
        model.units.measure(np.asarray(rows * 7 + 3))
        rows = rows * 7 + 3

    def measured() -> dict[str, float]:
        with model.asked():
            return {name: float(value) for name, value in model.measure(Batch(rows), Draw(1)).items()}

    before, learned = measured(), model.decoder.log_scale.clone()
    with model.calibrated(before) as figures:
        assert measured() == pytest.approx(figures, rel=1e-5)
        assert figures["loss"] - 2 * figures["kl"] == pytest.approx(figures["reconstruction"], rel=1e-6)
        best = model.decoder.QUICK * model.decoder.log_scale.item()
        for other in (best - 0.02, best + 0.02):
            with model.decoder.set_to(other):
                assert measured()["elbo"] < figures["elbo"]
    assert figures["elbo"] > before["elbo"] and torch.equal(model.decoder.log_scale, learned)


@pytest.mark.parametrize("config", [VAE(), VAE(likelihood=Gaussian(scale=0.1)), VAE(likelihood=DiscretisedLogistic())])
def test_nothing_else_is_calibrated(config: VAE) -> None:
    model = VAEModel(config, (1, 8, 8))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with model.calibrated({"elbo": -1.0}) as figures:
        assert figures == {"elbo": -1.0}
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
