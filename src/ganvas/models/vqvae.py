"""VQ-VAE (van den Oord et al. 2017): a grid of tokens for an image, and P of these tokens, which samples come of.

The encoder gives a vector at each place, and the decoder sees the nearest ones of a codebook. A transformer learns the
tokens in their order, as a second player. Q(tokens given x) is certain, so its KL from P is -log P(tokens), and
log P(x) >= ELBO = log P(x given tokens) + log P(tokens).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.data.loader import Batch, to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, order
from ganvas.ground.registry import kind, settings
from ganvas.models.base import MODELS, Encoder, LatentVariable
from ganvas.models.conditions import Condition, Conditional
from ganvas.parts.likelihoods import BaseLikelihood, Gaussian, Likelihood
from ganvas.parts.nets.registry import Net
from ganvas.parts.nets.spatial import Spatial
from ganvas.parts.priors import Distribution
from ganvas.parts.quantisers import Codebook, Quantised, Quantiser, QuantiserSettings
from ganvas.parts.sequences import Sequence, Transformer

if TYPE_CHECKING:
    from ganvas.data import Dataset

NATS = "nats per image"
BEGUN = 256  # images that a codebook begins as
KEPT = 1 << 24  # numbers of keys and values that are held while tokens are drawn


@MODELS.register
@settings
class VQVAE(Condition):
    """Settings of a VQ-VAE: those of its condition, and

    Attributes:
        net: of the encoder and the decoder; one whose codes have places.
        quantiser: of the vectors at these places.
        likelihood: P(x given tokens).
        transformer: that P(tokens) is.
    """

    kind: ClassVar[str] = "vq-vae"
    net: Net = Spatial(channels=32)
    quantiser: QuantiserSettings = Codebook()
    likelihood: Likelihood = Gaussian()
    transformer: Transformer = Transformer()


class Tokens(Distribution, nn.Module):
    """P(z) of the codes that tokens stand for, (N, channels h w): a token after the other, place by place."""

    discrete = True

    def __init__(self, sequence: Sequence, model: VQVAEModel) -> None:
        super().__init__()
        self.sequence = sequence
        self.model = (model,)  # it is no part of this
        self.told: Tensor | None = None

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        (model,), sequence = self.model, self.sequence
        u = draw.uniform("tokens", (shape[0], sequence.length), model.device)
        some = max(1, KEPT // (2 * len(sequence.layers) * sequence.place.weight.numel()))
        told = self.told if self.told is None else self.told.expand(len(u), -1)
        rows = [slice(i, i + some) for i in range(0, len(u), some)]
        with model.asked():
            parts = [sequence.sample(u[part], None if told is None else told[part]) for part in rows]
            found = model.placed(model.quantiser.vectors(torch.cat(parts).view(-1, model.quantiser.depth)))
        return found.clone().to(device)  # which may be asked for gradients

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P of the tokens nearest to z (..., d), in nats (...,): a mass, and no density."""
        (model,) = self.model
        tokens = model.quantised(z.reshape(-1, z.shape[-1])).tokens
        return self.of(tokens).view(z.shape[:-1])

    def of(self, tokens: Tensor) -> Tensor:
        """log P of tokens (N h w, depth): nats, (N,)."""
        return self.sequence.log_prob(tokens.view(-1, self.sequence.length), self.told).sum(1)

    def being_told(self, told: Tensor) -> Tokens:
        """The same, given what is told, (1, width) or (N, width)."""
        found = copy.copy(self)
        found.told = told
        return found


class Coder(nn.Module):
    """The VQ-VAE without P(tokens) as a player; it is made when it is asked for, and is no part of the model."""

    def __init__(self, model: VQVAEModel) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder = model.encoder, model.quantiser, model.decoder
        self.model = (model,)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss", "reconstruction", "commitment"}: the loss in nats for each value of an image."""
        model = self.model[0].of_batch(batch, draw)
        x = model.observed(batch.images, draw)
        code = model.quantised(model.vectors(x), draw)
        reconstruction = -model.likelihood.log_prob(x, model.output(model.placed(code.vectors))).mean()
        loss = reconstruction / math.prod(model.shape) + code.penalty
        return {"loss": loss, "reconstruction": reconstruction, "commitment": code.penalty}


class Writer(nn.Module):
    """P(tokens) as a player, which learns the tokens as they are now."""

    def __init__(self, model: VQVAEModel) -> None:
        super().__init__()
        self.sequence = model.prior.sequence
        self.model = (model,)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss": -log P(tokens), nats per image}."""
        model = self.model[0].of_batch(batch, draw)
        with torch.no_grad():
            tokens = model.quantised(model.vectors(model.observed(batch.images, draw))).tokens
        return {"loss": -model.prior.of(tokens).mean()}


class VQVAEModel(Conditional, Encoder, LatentVariable):
    """An encoder, a quantiser, a decoder P(x given tokens), and P(tokens)."""

    Config = VQVAE
    figures: ClassVar[dict[str, str]] = {"elbo": NATS, "reconstruction": NATS, "kl": NATS, "perplexity": "tokens"}
    codes_are = "the vectors of the tokens"
    prior: Tokens

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if config.net.code_shape(shape) is None:
            raise UserError(f"the {kind(type(config.net))} net's codes have no places for tokens: take --net spatial.")
        self.encoder = config.net.encoder(shape, self.latent_dim)
        self.draw_pattern()
        self.quantiser: Quantiser = config.quantiser.build(self.code_shape[0])
        self.decoder = config.likelihood.decoder(config.net, self.latent_dim + self.width, shape)
        places = math.prod(self.code_shape[1:])
        of = self.quantiser.size, places * self.quantiser.depth, self.quantiser.depth
        self.prior = Tokens(config.transformer.build(*of, told=self.width), self)

    @property
    def latent_dim(self) -> int:
        """Numbers of a code, of all places."""
        return math.prod(self.code_shape)

    @property
    def components(self) -> int:
        """As many as there are tokens: a coefficient of some bits stands for one."""
        return self.prior.sequence.length

    @property
    def likelihood(self) -> BaseLikelihood:
        """P(x given z)."""
        found: BaseLikelihood = self.config.likelihood
        return found

    def players(self) -> dict[str, nn.Module]:
        """The coder moves first."""
        return {"vq-vae": Coder(self), "prior": Writer(self)}

    def prepare(self, dataset: Dataset, seed: int) -> None:
        """A codebook starts as what the encoder says of training images, drawn by `seed`."""
        super().prepare(dataset, seed)
        images = dataset.splits["train"].images
        chosen = np.sort(order(seed, "codebook", n=len(images))[:BEGUN])
        with self.asked():
            z = self.vectors(self.observed(to_tensor(images[chosen], self.device), Draw(seed)))
        self.quantiser.begin(self.by_place(z), Draw(seed))

    def moved(self, player: str) -> None:
        """The quantiser learns of what the coder saw."""
        if player == "vq-vae":
            self.quantiser.learn()

    def observed(self, images: Tensor, draw: Draw) -> Tensor:
        """As the likelihood has it."""
        return self.likelihood.observe(images, draw)

    def being_told(self, told: Tensor) -> Self:
        """P(tokens) is told it, too."""
        found = super().being_told(told)
        found._modules = {**found._modules, "prior": self.prior.being_told(told)}
        return found

    def vectors(self, images: Tensor) -> Tensor:
        """What the encoder says of images (N, *shape), one after the other: (N, d)."""
        z: Tensor = self.encoder(self.marked(images))
        return z

    def quantised(self, z: Tensor, draw: Draw | None = None) -> Quantised:
        """What stands for codes (N, d); with a draw the quantiser is to learn of them."""
        found: Quantised = self.quantiser(self.by_place(z), draw)
        return found

    def by_place(self, z: Tensor) -> Tensor:
        """Codes (N, d) as vectors (N h w, channels)."""
        return torch.unflatten(z, 1, (self.code_shape[0], -1)).transpose(1, 2).flatten(0, 1)

    def placed(self, vectors: Tensor) -> Tensor:
        """Vectors (N h w, channels) as codes (N, d)."""
        return torch.unflatten(vectors, 0, (-1, math.prod(self.code_shape[1:]))).transpose(1, 2).flatten(1)

    def output(self, z: Tensor) -> Tensor:
        """What the likelihood takes (N, ...), float32."""
        output: Tensor = self.decoder(self.joined(z)).float()
        return output

    def elbo(self, x: Tensor, draw: Draw, form: str = "analytic", samples: int = 1) -> dict[str, Tensor]:
        """{"elbo", "reconstruction", "kl"} of data (N, *shape), nats, each (N,); nothing in it is random.

        The KL of a certain Q(tokens given x) is -log P(tokens).
        """
        code = self.quantised(self.vectors(x))
        reconstruction = -self.likelihood.log_prob(x, self.output(self.placed(code.vectors)))
        kl = -self.prior.of(code.tokens)
        return {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}

    def measure(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The ELBO and its parts, nats per image; and the perplexity of the tokens of the batch, the mean of levels."""
        model = self.of_batch(batch, draw)
        x = model.observed(batch.images, draw)
        tokens = model.quantised(model.vectors(x)).tokens
        perplexity = torch.stack([perplexity_of(level, self.quantiser.size) for level in tokens.unbind(1)]).mean()
        return {**{name: part.mean() for name, part in model.elbo(x, draw).items()}, "perplexity": perplexity}

    @contextmanager
    def calibrated(self, figures: dict[str, float]) -> Iterator[dict[str, float]]:
        """What the likelihood learns beside the nets."""
        with self.likelihood.calibrated(self.decoder, figures, 0.0, math.prod(self.shape)) as found:
            yield found

    def normality(self, images: Tensor) -> Tensor:
        """The ELBO."""
        return self.elbo(self.observed(images, Draw(0)), Draw(0))["elbo"]

    def encoded(self, images: Tensor) -> Tensor:
        """The quantised vectors."""
        return self.placed(self.quantised(self.vectors(images)).vectors)

    def decoded(self, z: Tensor) -> Tensor:
        """E[x given z]; of vectors between those of tokens, too."""
        return self.likelihood.mean(self.output(z))

    def tokens(self, images: Any) -> Tensor:
        """Those of images, int64 (N, h, w); of several at a place (N, h, w, depth)."""
        grid = self.code_shape[1:] if self.quantiser.depth == 1 else (*self.code_shape[1:], self.quantiser.depth)
        found: Tensor = self.chunks(lambda x: self.quantised(self.vectors(x)).tokens.view(-1, *grid), self.rows(images))
        return found


def perplexity_of(tokens: Tensor, size: int) -> Tensor:
    """How many of `size` tokens are in use: exp of the entropy of tokens (M,), 1 to `size`."""
    share = torch.bincount(tokens, minlength=size) / len(tokens)
    found: Tensor = torch.special.entr(share).sum().exp()
    return found
