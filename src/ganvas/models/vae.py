"""Variational autoencoder (Kingma & Welling 2013).

log P(x) >= ELBO = E_Q[log P(x given z)] - KL(Q(z given x) || P(z)) = E_Q[log P(x, z) - log Q(z given x)],
with z = mu + sigma * eps.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ganvas import losses
from ganvas.errors import UserError
from ganvas.likelihoods import Bernoulli, Likelihood
from ganvas.models.base import CHUNK, MODELS, Model, fast_products
from ganvas.nets.mlp import MLP
from ganvas.nets.registry import Net
from ganvas.priors import Normal
from ganvas.randomness import Draw
from ganvas.registry import Count, settings


@MODELS.register
@settings
class VAE:
    """Settings of a VAE.

    Attributes:
        latent_dim: size of z.
        net: of the encoder and the decoder.
        likelihood: P(x given z).
        beta: weight of the KL; 1 is the ELBO, another value is not a bound.
        elbo: "analytic" takes the KL in closed form, "sampled" takes log P(x, z) - log Q(z given x) at the sample.
    """

    latent_dim: Count = 20
    net: Net = MLP()
    likelihood: Likelihood = Bernoulli()
    beta: Annotated[float, Field(ge=0)] = 1.0
    elbo: Literal["analytic", "sampled"] = "analytic"


class VAEModel(Model):
    """Encoder Q(z given x), a diagonal normal; decoder P(x given z); prior N(0, I)."""

    Config = VAE

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if config.likelihood.images_only and len(shape) != 3:
            raise UserError(
                f"the Bernoulli likelihood needs images in [0, 1], the data is points of shape {tuple(shape)}: "
                "take --likelihood gaussian."
            )
        self.encoder = config.net.encoder(shape, 2 * config.latent_dim)
        self.decoder = config.net.decoder(config.latent_dim, (shape[0] * config.likelihood.parameters, *shape[1:]))

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"vae": self}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of Q(z given x), each (N, latent_dim)."""
        mean, log_variance = self.encoder(x).float().chunk(2, -1)
        # exp(10) is far from any variance that training asks for; a runaway one would end in inf - inf.
        return mean, log_variance.clamp(-20, 10)

    def elbo(self, images: Tensor, draw: Draw, form: str = "analytic") -> dict[str, Tensor]:
        """The bound of each image and its two parts, in nats.

        Args:
            images: (N, *shape).
            draw: of eps and of the binarisation.
            form: "analytic" or "sampled"; equal in expectation.

        Returns:
            elbo (N,), reconstruction = -log P(x given z) (N,), kl (N,); elbo = -(reconstruction + kl).
        """
        x = self.config.likelihood.observe(images, draw)
        mean, log_variance = self.posterior(x)
        eps = draw.normal("posterior", tuple(mean.shape), mean.device)
        z = mean + torch.exp(0.5 * log_variance) * eps
        reconstruction = -self.config.likelihood.log_prob(x, self.decoder(z).float())
        if form == "analytic":
            kl = losses.kl_to_standard_normal(mean, log_variance)
        else:
            kl = losses.normal_log_prob(z, mean, log_variance) - losses.normal_log_prob(z)
        return {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}

    def forward(self, images: Tensor, draw: Draw) -> dict[str, Tensor]:
        """{"loss": reconstruction + beta kl, "elbo", "reconstruction", "kl"}, nats per image, batch means."""
        parts = {name: value.mean() for name, value in self.elbo(images, draw, self.config.elbo).items()}
        return {"loss": parts["reconstruction"] + self.config.beta * parts["kl"], **parts}

    def encode(self, images: Any) -> Tensor:
        """The posterior's mean (N, latent_dim), never a draw from it."""
        return self.chunks(lambda x: self.posterior(x)[0], self.rows(images))

    def decode(self, codes: Tensor) -> Tensor:
        """E[x given z] (N, *shape) from z (N, latent_dim)."""
        z = torch.as_tensor(codes, dtype=torch.float32, device=self.device)
        return self.chunks(lambda part: self.config.likelihood.mean(self.decoder(part).float()), z)

    def reconstruct(self, images: Any) -> Tensor:
        """decode(encode(images))."""
        return self.decode(self.encode(images))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """E[x given z] (n, *shape) at z from the prior; the same seed gives the same samples."""
        return self.decode(Normal().sample(Draw(seed), (n, self.config.latent_dim)))

    def log_prob(self, images: Any, num_samples: int = 1000, seed: int = 0) -> Tensor:
        """log P(x) by importance sampling: log 1/K sum_k P(x, z_k) / Q(z_k given x) (Burda et al. 2015).

        Args:
            images: (N, *shape); grey levels are binarised by one draw where the likelihood says so.
            num_samples: K, exactly; memory does not grow with it.
            seed: of every draw.

        Returns:
            (N,), nats; a lower bound in expectation that rises with K.
        """
        if num_samples < 1:
            raise UserError(f"num_samples is {num_samples}: it takes at least 1.")
        x = self.config.likelihood.observe(self.rows(images), Draw(seed))
        sums = torch.full((len(x),), -math.inf, device=x.device)
        with self.asked(), fast_products(self.device):
            mean, log_variance = self.posterior(x)
            for block, start in enumerate(range(0, num_samples, 1000)):
                k = min(1000, num_samples - start)
                for i in range(len(x)):
                    eps = Draw(seed, i, block).normal("importance", (k, mean.shape[1]), x.device)
                    z = mean[i] + torch.exp(0.5 * log_variance[i]) * eps
                    log_q = losses.normal_log_prob(z, mean[i], log_variance[i])
                    log_p = torch.cat([self._log_joint(x[i : i + 1], part) for part in torch.split(z, CHUNK)])
                    sums[i] = torch.logaddexp(sums[i], (log_p - log_q).logsumexp(0))
        return sums - math.log(num_samples)

    def _log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log P(x, z): one image (1, *shape) and many z (k, latent_dim) -> (k,)."""
        log_p: Tensor = self.config.likelihood.log_prob(x, self.decoder(z).float())
        return log_p + losses.normal_log_prob(z)
