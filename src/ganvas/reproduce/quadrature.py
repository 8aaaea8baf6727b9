"""What estimates are held to: log P(x) by a grid over the codes of a small model, and of a linear model exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def binary_images(n: int) -> Tensor:
    """n test images of MNIST, chosen at random, every pixel drawn once as black or white: (n, 1, 28, 28) in {0, 1}."""
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.ground.randomness import Draw, order

    split = load("mnist").splits["test"]
    images = to_tensor(split.images[order(0, "reproduce", n=len(split))[:n]])
    return (Draw(0).uniform("reproduce", tuple(images.shape)) < images).float()


def linear_gaussian(images: Tensor, latent_dim: int, widening: float = 1.5) -> Any:
    """A VAE whose log P(x) is known: probabilistic PCA, by maximum likelihood (Tipping & Bishop 1999, section 3.2).

    Args:
        images: (N, C, H, W), seen as points (N, C * H * W).
        latent_dim: d.
        widening: the encoder's variance over the posterior's; at 1 every importance weight would be the same.

    Returns:
        A VAEModel: x = W z + mean + N(0, scale^2), and Q with the posterior's mean and its variance times `widening`.
    """
    import torch

    from ganvas.models.vae import VAE, VAEModel
    from ganvas.parts.likelihoods import Gaussian
    from ganvas.parts.nets.mlp import MLP

    x = images.flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    noise = values[:-latent_dim].mean()
    w = vectors[:, -latent_dim:] * (values[-latent_dim:] - noise).sqrt()
    likelihood = Gaussian(scale=float(noise.sqrt()))
    model = VAEModel(VAE(latent_dim=latent_dim, net=MLP(hidden=()), likelihood=likelihood), x.shape[1:])
    posterior = values[-latent_dim:]  # W^T W + noise I: diagonal, as the columns of W are orthogonal
    encoder, decoder = model.encoder[-1], model.decoder[0]
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.copy_(x.mean(0))
        encoder.weight.zero_()[:latent_dim] = w.T / posterior[:, None]
        encoder.bias[:latent_dim] = -(w.T / posterior[:, None]) @ x.mean(0)
        encoder.bias[latent_dim:] = torch.log(widening * noise / posterior)
    return model.eval()


def linear_gaussian_log_prob(model: Any, x: Tensor) -> Tensor:
    """log N(x; mean, W W^T + scale^2 I) of such a model: points (N, D) -> float64 (N,), nats."""
    import torch

    decoder = model.decoder[0]
    w, mean = decoder.weight.detach().double(), decoder.bias.detach().double()
    noise = torch.full_like(mean, model.config.likelihood.scale**2)
    found: Tensor = torch.distributions.LowRankMultivariateNormal(mean, w, noise).log_prob(x.double())  # type: ignore[no-untyped-call]
    return found


def square(step: float, reach: float = 6.0) -> Tensor:
    """Nodes (K, 2) of a square grid from -reach to reach, every `step`; beyond 6 lie 4e-9 of a normal variable."""
    import torch

    line = torch.linspace(-reach, reach, round(2 * reach / step) + 1)
    return torch.cartesian_prod(line, line)


def log_joint(model: Any, x: Tensor, nodes: Tensor) -> Tensor:
    """log P(x, z) of a VAE with the Bernoulli likelihood, for every image and every node.

    Args:
        model: a VAEModel.
        x: images (N, C, H, W) in {0, 1}.
        nodes: z (K, d).

    Returns:
        float64 (K, N), nats.
    """
    import torch
    import torch.nn.functional as F

    rows = []
    with model.asked():
        for z in torch.split(nodes, 4000):
            logits = model.decoder(z).flatten(1)
            log_p = logits @ x.flatten(1).T - F.softplus(logits).sum(1, keepdim=True)
            log_prior = -0.5 * z.square().sum(1, keepdim=True) - 0.5 * z.shape[1] * math.log(2 * math.pi)
            rows.append((log_p + log_prior).double())
    return torch.cat(rows)


def integrate(log_values: Tensor, step: float) -> Tensor:
    """log of the integral over the plane of exp(log_values) (K, N) at the nodes of a grid: (N,)."""
    return log_values.logsumexp(0) + 2 * math.log(step)


def coarser(log_values: Tensor) -> Tensor:
    """Every other node, in both directions, of values (K, N) on a square grid."""
    side = math.isqrt(len(log_values))
    return log_values.reshape(side, side, -1)[::2, ::2].flatten(0, 1)


def refined(model: Any, x: Tensor, nodes: Tensor, log_values: Tensor, step: float, by: int) -> Tensor:
    """log P(x), by a grid `by` times as fine wherever `log_values` is within 15 nats of an image's highest.

    Args:
        model: as `log_joint` takes it.
        x: images (N, C, H, W).
        nodes: of a square grid, (K, 2).
        log_values: `log_joint` there, (K, N).
        step: of that grid.
        by: an odd number.

    Returns:
        float64 (N,), nats.
    """
    import torch

    line = (torch.arange(by) - by // 2) * (step / by)
    inside, found = torch.cartesian_prod(line, line), []
    for image, values in zip(x, log_values.T, strict=True):
        fine = (nodes[values > values.max() - 15, None] + inside).flatten(0, 1)
        found.append(integrate(log_joint(model, image[None], fine), step / by))
    return torch.cat(found)


def divergence(log_p: Tensor, log_q: Tensor, step: float) -> Tensor:
    """KL(p, q) in nats of densities given by their logs (K, N) at the nodes of a grid: (N,)."""
    return (log_p.exp() * (log_p - log_q)).sum(0) * step**2


def log_encoder(model: Any, x: Tensor, nodes: Tensor) -> Tensor:
    """log Q(z given x) for every image and every node: float64 (K, N), nats."""
    import torch

    from ganvas.parts import losses

    with model.asked():
        mean, log_variance = (part.double() for part in model.posterior(x))
        columns = [losses.normal_log_prob(nodes.double(), *part) for part in zip(mean, log_variance, strict=True)]
    return torch.stack(columns, 1)


def z_score(values: Tensor) -> float:
    """The mean of independent values (M,) over its standard error."""
    return float(values.mean() / (values.std() / math.sqrt(len(values))))


def pooled(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """Independent estimates of log P(x), each from as many draws, as one from all of them.

    Args:
        estimates: (R, N), nats; exp of each is unbiased.

    Returns:
        The log of the mean of exp (N,), and its standard error (N,) by the delta method.
    """
    top = estimates.amax(0)
    p = (estimates - top).exp()
    return top + p.mean(0).log(), p.std(0) / p.mean(0) / math.sqrt(len(p))
