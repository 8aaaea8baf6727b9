"""VAE with an adversary (Larsen et al. 2016, *Autoencoding beyond pixels*).

The VAE learns by its ELBO, and by what a discriminator says of its reconstructions. These come of codes of all the
data, which keeps its modes; and they have to pass for real, which keeps them sharp. Samples may have to, as well.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import kind, settings
from ganvas.models.base import MODELS
from ganvas.models.gan import Adversarial, Discriminator, known_loss
from ganvas.models.vae import VAE, Terms, VAEModel
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.techniques import Techniques


@MODELS.register
@settings
class VAEGAN(VAE):
    """Settings of a VAE with an adversary: those of the VAE, and

    Attributes:
        discriminator: its net.
        loss: one of GAN_LOSSES.
        adversary: how long its gradient is at the decoder's output, in lengths of that of the reconstruction; so it
            depends neither on the likelihood nor on the scale of the data (nearly as Esser et al. 2021, equation 7).
            From 1 on it could undo what the data say.
        from_prior: share of the images that it judges that are decoded from P(z), where the data have no codes, too;
            the rest are reconstructions (the paper has as many of both).
        techniques: of the discriminator.
    """

    kind: ClassVar[str] = "vae-gan"
    discriminator: Net = MLP(hidden=(512, 256), activation="leaky-relu")
    loss: Annotated[str, AfterValidator(known_loss)] = "non-saturating"
    adversary: Annotated[float, Field(gt=0, lt=1)] = 0.25
    from_prior: Annotated[float, Field(ge=0, lt=1)] = 0.0
    techniques: Techniques = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound != "elbo" or self.samples != 1:
            raise UserError("an adversary judges one reconstruction of each image: take the bound elbo and 1 sample.")
        if of_gans := [kind(type(technique)) for technique in self.techniques if technique.of_gans]:
            raise UserError(f"{of_gans[0]} is of a generator by itself, and here a VAE decodes: leave it away.")


class Player(nn.Module):
    """The VAE as a player, without the discriminator; it is made when it is asked for, and is no part of the model."""

    def __init__(self, model: VAEGANModel) -> None:
        super().__init__()
        parts = {name: getattr(model, name) for name in ("encoder", "decoder", "prior")}
        self.parts = nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})
        self.game = (model,)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss": that of the VAE, to which the adversary's is added, "elbo", ..., "adversary"}."""
        (model,), images = self.game, batch.images
        model = model.of_batch(batch, draw)
        parts, terms = model.bounds(batch, draw)
        (slope,) = torch.autograd.grad(terms.reconstruction.mean(), terms.output, retain_graph=True)
        output = _rescaled(model.judged(terms, draw), model.config.adversary, slope)
        cost = model.fooling(images, model.likelihood.mean(output), draw)["loss"]
        return {**parts, "loss": parts["loss"] + cost, "adversary": cost.detach()}


def _rescaled(x: Tensor, share: float, other: Tensor) -> Tensor:
    """x, whose gradient becomes `share` times as long as the tensor `other` is."""
    x = x.view_as(x)
    x.register_hook(lambda g: g * (share * other.norm() / g.norm().clamp_min(1e-12)))  # type: ignore[no-untyped-call]
    return x


class VAEGANModel(Adversarial, VAEModel):
    """A VAE, and the discriminator of its reconstructions."""

    Config = VAEGAN

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.discriminator = Discriminator(self)
        self.adversarial(config)

    def fakes(self, images: Tensor, draw: Draw) -> Tensor:
        """Reconstructions, and samples."""
        return self.likelihood.mean(self.judged(self.terms(images, draw), draw))

    def judged(self, terms: Terms, draw: Draw) -> Tensor:
        """The decoder's outputs (N, ...) for the codes of a batch, the last of which give way to codes from P(z)."""
        output = terms.output[:, 0]
        k = round(self.config.from_prior * len(output))
        if not k:
            return output
        told = self.being_told(self.told[-k:]) if self.told is not None and len(self.told) > 1 else self
        return torch.cat([output[:-k], told.output(told.prior.sample(draw, (k, self.latent_dim), output.device))])

    def players(self) -> dict[str, nn.Module]:
        """The discriminator moves first."""
        return {"discriminator": self.discriminator, "vae": Player(self)}

    def measure(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The VAE's figures."""
        return self.of_batch(batch, draw).bounds(batch, draw)[0]

    def moved(self, player: str) -> None:
        """Both as in their families."""
        Adversarial.moved(self, player)
        if player == "vae":
            VAEModel.moved(self, player)
