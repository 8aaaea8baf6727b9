"""Semi-supervised GAN (Salimans et al. 2016, sections 5 and 6): a classifier of K classes whose class K + 1 is "fake".

With logits l_1 ... l_K, and l_{K+1} fixed at 0, D(x) = Z / (Z + 1), Z = sum_k exp l_k. The generator matches features.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ganvas.data.loader import Batch, to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, order
from ganvas.ground.registry import Count, Fraction, settings
from ganvas.models.base import MODELS, LatentVariable, verb
from ganvas.parts.nets.layers import BatchNorm
from ganvas.parts.priors import Noise, Uniform
from ganvas.parts.techniques import MovingAverage, feature_distance

if TYPE_CHECKING:
    from ganvas.data import Dataset

FIRST_BATCH = 500
NoiseLevel = Annotated[float, Field(ge=0)]


@MODELS.register
@settings
class SemisupervisedGAN:
    """Settings of a semi-supervised GAN.

    Attributes:
        classes: K.
        labels_per_class: how many examples of each class it is told the label of.
        latent_dim: size of z.
        hidden: units of the classifier's layers.
        generator_hidden: units of the generator's layers.
        input_noise: standard deviation of what is added to the classifier's input while it trains.
        noise: the same for every hidden layer.
        unlabelled_weight: of the part of the cost that needs no labels; 0 learns from the labels alone.
        averaging: of the classifier's weights: the share that is kept at each move.
        prior: P(z).
    """

    classes: Count = 10
    labels_per_class: Count = 10
    latent_dim: Count = 100
    hidden: tuple[Count, ...] = (1000, 500, 250, 250, 250)
    generator_hidden: tuple[Count, ...] = (500, 500)
    input_noise: NoiseLevel = 0.3
    noise: NoiseLevel = 0.5
    unlabelled_weight: Annotated[float, Field(ge=0)] = 1.0
    averaging: Fraction = 0.9999
    prior: Noise = Uniform()


def discriminator_cost(labelled: Tensor, labels: Tensor, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The supervised and the unsupervised part of the classifier's cost, in nats (section 5).

    Args:
        labelled: logits (L, K) of labelled images.
        labels: int64 (L,).
        real: logits (N, K) of unlabelled images.
        fake: logits (M, K).

    Returns:
        -E log p(y given x, real) and -1/2 E log D(x) - 1/2 E log(1 - D(G(z))), with log D = log Z - softplus(log Z).
    """
    supervised = F.cross_entropy(labelled, labels)
    log_real, log_fake = real.logsumexp(1), fake.logsumexp(1)
    unsupervised = 0.5 * (F.softplus(log_real) - log_real).mean() + 0.5 * F.softplus(log_fake).mean()
    return supervised, unsupervised


class GaussianNoise(nn.Module):
    """Adds N(0, level^2) in training, from torch's own generator, as dropout does."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x + self.level * torch.randn_like(x) if self.training and self.level else x


class WeightNormLinear(nn.Module):
    """scale * v / || v || x + b (Salimans & Kingma 2016, equation 2).

    Args:
        n: inputs.
        m: outputs.
        learn_scale: whether the scale is trained; the released code does so in each net's last layer alone.
    """

    scale: Tensor

    def __init__(self, n: int, m: int, learn_scale: bool = False) -> None:
        super().__init__()
        self.v, self.bias = nn.Parameter(0.1 * torch.randn(m, n)), nn.Parameter(torch.zeros(m))
        if learn_scale:
            self.scale = nn.Parameter(torch.ones(m))
        else:
            self.register_buffer("scale", torch.ones(m))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n) -> (N, m)."""
        # The outputs are scaled, not v: they are far fewer numbers.
        outputs: Tensor = F.linear(x, self.v) * (self.scale / self.v.norm(dim=1)) + self.bias
        return outputs

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """The outputs get mean 0 and variance 1 on a first batch (N, n) (the same, section 3)."""
        deviation, mean = torch.std_mean(self(x), 0)
        deviation.clamp_(min=1e-6)
        self.scale /= deviation
        self.bias.copy_((self.bias - mean) / deviation)


class Classifier(nn.Module):
    """Linear layers with weight norm, rectifiers and noise: (N, *shape) -> logits (N, K)."""

    def __init__(self, config: SemisupervisedGAN, shape: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [math.prod(shape), *config.hidden]
        layers: list[nn.Module] = [nn.Flatten(), GaussianNoise(config.input_noise)]
        for n, m in itertools.pairwise(sizes):
            layers += [WeightNormLinear(n, m), nn.ReLU(), GaussianNoise(config.noise)]
        *body, noise = layers
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(noise, WeightNormLinear(sizes[-1], config.classes, learn_scale=True))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """First weights from a first batch (N, *shape), layer by layer."""
        for layer in [*self.body, *self.head]:
            if isinstance(layer, WeightNormLinear):
                layer.initialise(x)
            x = layer(x)

    def features(self, x: Tensor) -> Tensor:
        """f(x) (N, d): the last hidden layer."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K), float32."""
        logits: Tensor = self.head(self.features(x)).float()
        return logits


class Discriminator(nn.Module):
    """The player that classifies, and tells real from fake."""

    def __init__(self, model: SemisupervisedGANModel) -> None:
        super().__init__()
        self.net = Classifier(model.config, model.shape)
        self.game = (model,)  # in a tuple: the opponent's parameters are not this player's

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss", "supervised", "unsupervised"} on a batch, as many fakes, and as many labelled images or all."""
        (model,), images = self.game, batch.images
        with torch.no_grad():
            fake = model.generator.fake(len(images), draw, images.device)
        # The same for all processes, as many as in the global batch.
        chosen = draw.order("labelled", len(model.labels), images.device)[: draw.world * len(images)]
        labelled, labels = model.labelled[chosen], model.labels[chosen]
        logits = self.net(torch.cat([labelled, images, fake])).split([len(labels), len(images), len(fake)])
        supervised, unsupervised = discriminator_cost(logits[0], labels, *logits[1:])
        loss = supervised + model.config.unlabelled_weight * unsupervised
        return {"loss": loss, "supervised": supervised, "unsupervised": unsupervised}


class Generator(nn.Module):
    """The player that makes fakes."""

    def __init__(self, model: SemisupervisedGANModel) -> None:
        super().__init__()
        sizes = [model.latent_dim, *model.config.generator_hidden]
        layers: list[nn.Module] = []
        for n, m in itertools.pairwise(sizes):
            layers += [nn.Linear(n, m, bias=False), BatchNorm(m), nn.Softplus()]
        last = WeightNormLinear(sizes[-1], math.prod(model.shape), learn_scale=True)
        self.net = nn.Sequential(*layers, last, nn.Unflatten(1, model.shape))
        self.game = (model,)

    def fake(self, n: int, draw: Draw, device: torch.device) -> Tensor:
        """n images (n, *shape) from a fresh draw of z."""
        (model,) = self.game
        return model.activate(self.net(model.prior.sample(draw, (n, model.latent_dim), device)))

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss"}: || E f(x) - E f(G(z)) ||^2 / d on a batch and as many fakes (section 3.1)."""
        (model,), images = self.game, batch.images
        both = torch.cat([images, self.fake(len(images), draw, images.device)])
        real, fake = model.discriminator.net.features(both).chunk(2)
        return {"loss": feature_distance(real.detach(), fake) / fake.shape[1]}


class SemisupervisedGANModel(LatentVariable):
    """A classifier from few labels and many images, and samples.

    Attributes:
        labelled: the images (L, *shape) whose labels it is told, and `labels` int64 (L,): from `prepare`, not saved.
    """

    Config = SemisupervisedGAN
    figures: ClassVar[dict[str, str]] = {"error": "share of the images"}
    measures_labels: ClassVar[bool] = True
    labelled: Tensor
    labels: Tensor

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.prior = config.prior
        self.discriminator, self.generator = Discriminator(self), Generator(self)
        self.average = MovingAverage(self.discriminator.net)
        self.register_buffer("labelled", torch.empty(0, *shape), persistent=False)
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64), persistent=False)

    def prepare(self, dataset: Dataset, seed: int) -> None:
        """Draw the examples whose labels it is told, as many of each class; give the classifier its first weights.

        Raises:
            UserError: the labels are not of one column with `classes` classes, or a class has too few examples.
        """
        self.range = dataset.range
        split, config = dataset.splits["train"], self.config
        if split.labels is None or split.labels.ndim != 1:
            raise UserError(f"{dataset.name} has no single label an image: a classifier needs one.")
        counts = np.bincount(split.labels[split.labelled], minlength=len(dataset.classes or ()))
        if len(counts) != config.classes:
            raise UserError(f"{dataset.name} has {len(counts)} classes: give --classes {len(counts)}.")
        if counts.min() < config.labels_per_class:
            raise UserError(
                f"{config.labels_per_class} labels per class are asked for, and class {counts.argmin()} of "
                f"{dataset.name} has {counts.min()} training images."
            )
        shuffled = order(seed, "labelled", n=len(split))
        classes = [shuffled[split.labels[shuffled] == k][: config.labels_per_class] for k in range(config.classes)]
        rows = np.concatenate(classes)
        self.labelled, self.labels = to_tensor(split.images[rows]), torch.from_numpy(split.labels[rows])
        self.discriminator.net.initialise(to_tensor(split.images[shuffled[:FIRST_BATCH]]))
        self.average = MovingAverage(self.discriminator.net)

    def players(self) -> dict[str, nn.Module]:
        """The discriminator moves first."""
        return {"discriminator": self.discriminator, "generator": self.generator}

    def moved(self, player: str) -> None:
        """Take the classifier's new weights into their average."""
        if player == "discriminator":
            self.average.add(self.discriminator.net, self.config.averaging)

    def measure(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"error"}: the share of images that the averaged classifier gets wrong."""
        return {"error": (self.average(batch.images).argmax(1) != batch.labels).float().mean()}

    def activate(self, output: Tensor) -> Tensor:
        """The generator's last activation; points have none."""
        return output.float().sigmoid() if len(self.shape) == 3 else output.float()

    @verb
    def classify(self, images: Any) -> Tensor:
        """log p(class given x, x is real) (N, K), nats, of the averaged classifier."""
        return self.chunks(self.classified, self.rows(images))

    def classified(self, images: Tensor) -> Tensor:
        """`classify` of images (N, *shape) as they are."""
        log_p: Tensor = self.average(images).log_softmax(1)
        return log_p

    def decoded(self, z: Tensor) -> Tensor:
        """G(z)."""
        return self.activate(self.generator.net(z))
