"""log P(x) from adapted mixtures, where it is known: linear-Gaussian models, planted modes, and a grid over z."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas import train
from ganvas.ground.randomness import Draw
from ganvas.models.evidence import LEAST, Modes, Proposal, how_many, likeliest, neighbours, shares
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Bimodal, Distribution, Flow, Mixture, Normal, StochasticLayer, Vamp
from ganvas.reproduce import quadrature


def linear(d: int, side: int = 30, scale: float = 0.5, shift: float = 0.3, **settings: Any) -> tuple[VAEModel, Any]:
    """x = W z + scale e with a full W: P(z given x) is correlated, and Q, diagonal, is moved besides; and P(x)."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((side, d)) / math.sqrt(d)
    model = VAEModel(VAE(latent_dim=d, net=MLP(hidden=()), likelihood=Gaussian(scale=scale), **settings), (side,))
    precision = np.eye(d) + w.T @ w / scale**2
    gain = np.linalg.solve(precision, w.T) / scale**2
    values = (np.concatenate([gain, 0 * gain]), np.repeat([shift / math.sqrt(d), 0.0], d), w, np.zeros(side))
    values[1][d:] = -np.log(np.diag(precision))
    with torch.no_grad():
        for parameter, value in zip([*model.encoder.parameters(), *model.decoder.parameters()], values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return model.eval(), stats.multivariate_normal(np.zeros(side), w @ w.T + scale**2 * np.eye(side))


class Folded(torch.nn.Module):
    """z -> |z_1|, z_2, ...: the first latent's sign can't be known from x."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z[:, :1].abs(), z[:, 1:]], 1)


def folded(d: int = 2, scale: float = 0.05) -> tuple[VAEModel, torch.Tensor, np.ndarray]:
    """A model with two posterior modes, of which Q has the positive one, exactly; ten x; and log P(x)."""
    model = VAEModel(VAE(latent_dim=d, net=MLP(hidden=()), likelihood=Gaussian(scale=scale)), (d,))
    variance = scale**2 / (1 + scale**2)
    with torch.no_grad():
        model.decoder[0].weight.copy_(torch.eye(d))
        model.decoder[0].bias.zero_()
        model.encoder[1].weight.copy_(torch.cat([torch.eye(d) / (1 + scale**2), torch.zeros(d, d)]))
        model.encoder[1].bias.copy_(torch.tensor([0.0, math.log(variance)]).repeat_interleave(d))
    model.decoder = torch.nn.Sequential(Folded(), model.decoder)
    x = torch.linspace(0.5, 1.5, 10)[:, None].expand(10, d).contiguous()
    # Each mode has what N(x; 0, 1 + scale^2) has: the other half of the line adds nothing so far from 0.
    exact = stats.norm(0, math.sqrt(1 + scale**2)).logpdf(x.numpy()).sum(1) + math.log(2)
    return model.eval(), x, exact


@pytest.mark.parametrize("d", [2, 20])
def test_every_image_agrees_with_a_closed_form_within_its_stated_error(d: int) -> None:
    """20 images within 5.5 of their own standard errors: false alarm under 1e-6, and none is said to be doubtful."""
    model, marginal = linear(d)
    x = torch.from_numpy(marginal.rvs(20, random_state=1)).float()
    found = model.evidence(x, 5000)
    exact = marginal.logpdf(x.numpy())
    apart = found.log_prob.double().numpy() - exact
    assert (np.abs(apart) < 5.5 * found.error.numpy() + 1e-4).all()
    assert float(found.error.max()) < 0.03 and not len(found.doubtful)
    encoder = model.evidence(x, 5000, proposal="encoder")
    assert float(found.error.mean()) < 0.5 * float(encoder.error.mean())


@pytest.mark.parametrize("settings", [{}, {"prior": Mixture(components=3)}, {"prior": StochasticLayer(latent_dim=2)}])
@pytest.mark.parametrize("k", [1, 7, 50, 600])
def test_the_estimate_is_unbiased(settings: dict[str, Any], k: int) -> None:
    """The mean of exp over 400 estimates is P(x) within 5.5 standard errors: false alarm 4e-8 each.

    P(x) under other priors is that of 200,000 draws of them, whose error counts, too.
    """
    torch.manual_seed(0)
    model, marginal = linear(2, 3, **settings)
    x = torch.from_numpy(marginal.rvs(1, random_state=1)).float()
    exact, spread = marginal.logpdf(x.numpy()), 0.0
    if settings:
        z = model.prior.sample(Draw(1), (200_000, 2))
        with torch.no_grad():
            log_p = model.likelihood.log_prob(x[None], model.decoder(z)[:, None])[:, 0].double().numpy()
        exact = np.logaddexp.reduce(log_p) - math.log(len(log_p))
        spread = np.exp(log_p - exact).std() / math.sqrt(len(log_p))
    weights = np.exp(model.log_prob(x.expand(400, 3), k, seed=3).double().numpy() - exact)
    assert weights.mean() == pytest.approx(1, abs=5.5 * math.hypot(weights.std() / 20, spread) + 1e-5)


@pytest.mark.parametrize(("d", "draws"), [(2, 1000), (2, 5000), (5, 5000)])
def test_a_second_mode_that_the_encoder_misses_is_found(d: int, draws: int) -> None:
    """Half of P(x), log 2 = 0.69 nats, lies where Q is not, and neither error nor k-hat of Q alone say so.

    Of the mixture ten images are within 5.5 stated errors: false alarm under 1e-6.
    """
    model, x, exact = folded(d)
    alone = model.evidence(x, 5000, proposal="encoder")
    apart = alone.log_prob.double().numpy() - exact
    assert (apart < -0.6).all() and (np.abs(apart) > 100 * alone.error.numpy()).all() and not len(alone.doubtful)
    found = model.evidence(x, draws)
    apart = found.log_prob.double().numpy() - exact
    assert (np.abs(apart) < 5.5 * found.error.numpy() + 1e-4).all() and float(found.error.max()) < 0.07
    assert not len(found.doubtful)


def test_an_image_whose_mode_only_a_few_draws_find_is_named() -> None:
    """Too few draws to look for modes: those of P(z) that fall into the other one weigh far more than all others."""
    model, x, _ = folded(2, 0.2)
    found = model.evidence(x, LEAST - 1)
    worst = found.doubtful
    assert len(worst) and bool((found.khat[worst].diff() <= 0).all())
    assert set(worst.tolist()) == set((found.khat > found.threshold).nonzero()[:, 0].tolist())


def test_a_trained_vae_agrees_with_the_grid_on_every_image() -> None:
    """40 images within 5.5 stated errors, or named as doubtful, of which there are few; false alarm 2e-6."""
    model: Any = train("vae", data="digits", likelihood="bernoulli", latent_dim=2, epochs=30, lr=3e-3).model
    x = (model.sample(40, seed=5) > 0.5).float()
    nodes = quadrature.square(0.04)
    exact = quadrature.integrate(quadrature.log_joint(model, x, nodes), 0.04).numpy()
    assert (
        np.abs(
            quadrature.integrate(quadrature.coarser(quadrature.log_joint(model, x, nodes)), 0.08).numpy() - exact
        ).max()
        < 1e-3
    )
    found = model.evidence(x, 5000)
    apart = np.abs(found.log_prob.double().numpy() - exact)
    trusted = np.setdiff1d(np.arange(40), found.doubtful.numpy())
    assert len(trusted) >= 38 and (apart[trusted] < 5.5 * found.error.numpy()[trusted] + 1e-3).all()
    assert float(found.error.mean()) < 0.02


@pytest.mark.parametrize(
    "prior",
    [
        Normal(),
        Bimodal(),
        Mixture(components=3),
        Vamp(components=3),
        Flow(layers=2, hidden=8),
        StochasticLayer(latent_dim=2),
    ],
    ids=lambda prior: type(prior).__name__,
)
@pytest.mark.parametrize(
    "likelihood", [Bernoulli(), Gaussian(scale="shared"), Gaussian(), DiscretisedLogistic(levels=16)], ids=repr
)
def test_any_prior_beside_any_likelihood(prior: Any, likelihood: Any) -> None:
    """Both proposals estimate one number, of nets that know nothing: within 6 stated errors; also of float64 images."""
    torch.manual_seed(0)
    model = VAEModel(VAE(latent_dim=2, net=MLP(hidden=(4,)), likelihood=likelihood, prior=prior), (1, 4, 4)).eval()
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    one, other = model.evidence(images, 2000), model.evidence(images.double(), 2000, proposal="encoder")
    error = torch.hypot(one.error, other.error)
    assert ((one.log_prob - other.log_prob).abs() < 6 * error + 1e-4).all()
    assert one.log_prob.dtype == torch.float32 and not one.log_prob.is_inference()
    assert torch.equal(one.log_prob, model.log_prob(images, 2000)) and model.training is False
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_exactly_k_draws_by_the_mixture_s_own_density() -> None:
    """The weights again by SciPy: every part's density at every draw, in the shares that were drawn."""
    mean, log_variance = torch.tensor([0.3, -0.2]), torch.tensor([-1.0, 0.4])
    scale = torch.tensor([[[0.5, 0.0], [0.3, 0.2]], [[1.0, 0.4], [0.0, 0.7]]])
    whitening = torch.linalg.inv(scale)
    modes = Modes(torch.tensor([[1.0, 2.0], [-2.0, 0.5]]), scale, whitening, torch.linalg.slogdet(whitening).logabsdet)
    for k in (10, 99, 4321):
        counts = own, each, others = shares(k, 2)
        assert own + 2 * each + others == k and min(counts) > 0
        one = Proposal(mean, log_variance, modes, counts)
        parts = [
            one.weighed(Normal(), Draw(0, b), first, min(1000, k - first)) for b, first in enumerate(range(0, k, 1000))
        ]
        z, log_weight = (torch.cat(part).double().numpy() for part in zip(*parts, strict=True))
        assert z.shape == (k, 2) and len(np.unique(z, axis=0)) == k
        q = stats.norm.pdf(z, mean, np.exp(0.5 * log_variance.numpy())).prod(1)
        p = stats.norm.pdf(z).prod(1)
        t = [stats.multivariate_t(modes.center[j].numpy(), (scale[j] @ scale[j].T).numpy(), 6).pdf(z) for j in range(2)]
        mixture = (own * q + each * (t[0] + t[1]) + others * p) / k
        np.testing.assert_allclose(log_weight, np.log(p / mixture), atol=2e-4)
    drawn = [z[:own], z[own : own + each], z[own + each : k - others], z[k - others :]]
    assert stats.kstest(((drawn[0] - mean.numpy()) / np.exp(0.5 * log_variance.numpy())).ravel(), "norm").pvalue > 1e-6
    for j in range(2):
        white = (drawn[1 + j] - modes.center[j].numpy()) @ whitening[j].numpy().T
        assert stats.kstest(white[:, 0], stats.t(6).cdf).pvalue > 1e-6, "each of a multivariate t is a t"
        assert stats.kstest((white**2).sum(1) / 2, stats.f(2, 6).cdf).pvalue > 1e-6
    assert stats.kstest(drawn[3].ravel(), "norm").pvalue > 1e-6


def test_the_draws_of_a_layer_above_are_weighed_as_what_they_were_drawn_with() -> None:
    """z, u ~ P(z, u): the mean of Q(u given z) / P(u given z) over them is 1, its logarithm log P(z) less the weight.

    Within 5.5 standard errors of 20,000: false alarm 4e-8.
    """
    torch.manual_seed(0)
    prior: Distribution = StochasticLayer(latent_dim=2, net=MLP(hidden=())).build(1, (4,), lambda x: (x, x))
    with torch.no_grad():
        prior.decoder[0].weight.copy_(torch.tensor([[0.6, -0.3], [0.0, 0.0]]))  # type: ignore[attr-defined]
        prior.decoder[0].bias.copy_(torch.tensor([0.2, -0.5]))  # type: ignore[attr-defined]
    z, log_weight = prior.weighed(Draw(0), (20_000, 1))
    assert torch.equal(z, prior.sample(Draw(0), (20_000, 1)))
    exact = stats.norm(0.2, math.sqrt(0.45 + math.exp(-0.5))).logpdf(z[:, 0].double().numpy())
    ratio = np.exp(exact - log_weight.double().numpy())
    assert ratio.mean() == pytest.approx(1, abs=5.5 * ratio.std() / math.sqrt(20_000))


def test_how_much_is_looked_for() -> None:
    assert how_many(5000, 20) == (2, 1) and how_many(5000, 2) == (6, 3) and how_many(10**6, 2) == (6, 3)
    assert how_many(LEAST, 50) == (2, 1) and how_many(LEAST - 1, 2) == (0, 0)
    assert shares(1, 0) == (1, 0, 0) and shares(100, 0) == (90, 0, 10) and shares(5000, 3) == (750, 1250, 500)


def test_starts_are_the_likeliest_and_apart() -> None:
    pilots = torch.cat([torch.linspace(0, 0.09, 10), torch.linspace(5, 5.09, 10), torch.linspace(9, 9.09, 10)])
    score = torch.stack([-(pilots - 5.02).abs(), -(pilots - 0.02).abs()])
    places = pilots[None, :, None]
    near = neighbours(places)
    assert torch.equal(near[0], torch.block_diag(*[torch.ones(10, 10)] * 3).bool())
    found = likeliest(score, places, near, 3)[..., 0]
    np.testing.assert_allclose(found, [[5.02, 9.0, 0.09], [0.02, 5.0, 9.0]], atol=1e-5)
    own = likeliest(score, places.expand(2, -1, -1), near.expand(2, -1, -1), 3)[..., 0]
    assert torch.equal(own, found)


@pytest.mark.parametrize("k", [3, 600])
def test_an_image_is_the_same_in_any_company(k: int) -> None:
    model, marginal = linear(2, 4)
    x = torch.from_numpy(marginal.rvs(150, random_state=1)).float()
    found = model.log_prob(x, k, seed=1)
    for n in (1, 7, 149):
        torch.testing.assert_close(model.log_prob(x[:n], k, seed=1), found[:n], atol=1e-3, rtol=0)


def test_a_single_draw_has_no_error() -> None:
    model, marginal = linear(2, 3)
    found = model.evidence(torch.from_numpy(marginal.rvs(2, random_state=1)).float(), 1)
    assert found.error.isinf().all() and found.doubtful.tolist() == [0, 1] and found.log_prob.isfinite().all()
