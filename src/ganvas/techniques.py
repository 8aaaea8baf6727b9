"""What steadies a GAN: each technique is summed into a player's cost, built into its net, or done after its move.

A technique is a class of settings that overrides the hooks it needs; its first setting is the value of its flag. None
takes an optimiser step of its own: under Adam a term's weight would then mean next to nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ganvas.errors import UserError
from ganvas.losses import PROBABILISTIC
from ganvas.nets.layers import BatchNorm, MinibatchLayer, VirtualNorm, WithReference
from ganvas.processes import mean_over_processes
from ganvas.randomness import Draw
from ganvas.registry import Count, Fraction, Positive, Registry, kind, settings

if TYPE_CHECKING:
    from ganvas.models.gan import Adversarial, GANModel, Seen


class Technique:
    """The hooks, which do nothing.

    Attributes:
        order: when it is built: 0 changes layers, 1 parametrises the weights of all layers, 2 copies them.
        clashes: the techniques that it can't stand beside, and what is wrong with the pair.
        of_gans: whether it is of the generator's weights.
        of_init: whether it is of weights that were learned before, which `--init` gives.
        every: at each how manieth move its term is in the cost, as many times as heavy.
    """

    order: ClassVar[int] = 0
    of_gans: ClassVar[bool] = False
    of_init: ClassVar[bool] = False
    clashes: ClassVar[dict[str, str]] = {}
    every: int = 1

    def build(self, model: GANModel) -> None:
        """Change the nets of a new model.

        Raises:
            UserError: it makes no sense with this model; with the reason and the remedy.
        """

    def view(self, images: Tensor, draw: Draw, which: Literal["real", "fake"]) -> Tensor:
        """Images (N, *shape) as the discriminator sees them."""
        return images

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """A scalar that is summed into the cost of "discriminator" or "generator"."""
        return None

    def due(self, count: int) -> bool:
        """Whether its term is in the cost of a move, by the number of its step and its own in it, added."""
        return count % self.every == 0

    def moved(self, model: GANModel, player: str) -> None:
        """After each move of a player."""

    def vitals(self, model: Adversarial) -> dict[str, float]:
        """Figures of the watch, or none."""
        return {}


TECHNIQUES = Registry("technique", Technique)

if TYPE_CHECKING:
    Techniques = tuple[Technique, ...]
else:
    Techniques = tuple[TECHNIQUES.field, ...]


def in_order(techniques: Techniques) -> Techniques:
    """The techniques as they are built.

    Raises:
        UserError: one is given twice, or two can't stand together.
    """
    names = [kind(type(technique)) for technique in techniques]
    for name, technique in zip(names, techniques, strict=True):
        if names.count(name) > 1:
            raise UserError(f"the technique {name} is given twice.")
        for other, fault in technique.clashes.items():
            if other in names:
                raise UserError(f"{name} and {other} {fault}: leave one of them away.")
    return tuple(sorted(techniques, key=lambda technique: technique.order))


# ---- the four fixes of Salimans et al. 2016, and virtual batch norm ----


@TECHNIQUES.register
@settings
class FeatureMatching(Technique):
    """weight * || E f(x) - E f(G(z)) ||^2 in G's cost, f the discriminator's last hidden layer (section 3.1).

    The norm is of the difference of *batch means*.
    """

    weight: Positive = 1.0

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The generator's."""
        if player != "generator":
            return None
        return self.weight * feature_distance(seen.real_features, seen.fake_features)


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """|| mean of real (N, d) - mean of fake (M, d) ||^2; of several processes, the means are over the global batch."""
    return (mean_over_processes(real.float().mean(0) - fake.float().mean(0)) ** 2).sum()


@TECHNIQUES.register
@settings
class MinibatchDiscrimination(Technique):
    """The discriminator sees how near an example is to the others of its batch (section 3.2).

    Attributes:
        kernels: B, the numbers that are added to f(x).
        dims: C, of each kernel.
    """

    kernels: Count = 100
    dims: Count = 5

    def build(self, model: GANModel) -> None:
        """Put the layer before the discriminator's head."""
        head = model.discriminator.head
        layer = MinibatchLayer(head.in_features, self.kernels, self.dims)
        wider = nn.Linear(head.in_features + self.kernels, head.out_features)
        with torch.no_grad():
            wider.weight[:, : head.in_features].copy_(head.weight)
            wider.bias.copy_(head.bias)
        model.discriminator.head = nn.Sequential(layer, wider)


@TECHNIQUES.register
@settings
class HistoricalAveraging(Technique):
    """weight * || theta - (1/t) sum_i theta_i ||^2 in each player's cost (section 3.3)."""

    weight: Positive = 0.1
    order = 2
    of_gans = True

    def build(self, model: GANModel) -> None:
        """Keep the mean of each player's past weights, and how many they are."""
        model.history = nn.ModuleDict({name: _Mean(player) for name, player in model.players().items()})

    def term(self, player: str, seen: Seen) -> Tensor:
        """Each player's."""
        weights = seen.model.players()[player].parameters()
        return self.weight * distance_to_history(weights, seen.model.history[player].buffers())

    def moved(self, model: GANModel, player: str) -> None:
        """Take the new weights into the mean."""
        model.history[player].add(model.players()[player])


def distance_to_history(weights: Iterable[Tensor], means: Iterable[Tensor]) -> Tensor:
    """|| theta - mean of its past values ||^2 over all the weights."""
    return torch.stack([((w - m) ** 2).sum() for w, m in zip(weights, means, strict=False)]).sum()


class _Mean(nn.Module):
    """The mean of a module's weights over its past, as buffers in the order of the weights, the count last."""

    count: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for i, weight in enumerate(module.parameters()):
            self.register_buffer(str(i), weight.detach().clone())
        self.register_buffer("count", torch.ones(()))

    @torch.no_grad()
    def add(self, module: nn.Module) -> None:
        self.count += 1
        for mean, weight in zip(self.buffers(), module.parameters(), strict=False):
            mean += (weight - mean) / self.count


@TECHNIQUES.register
@settings
class LabelSmoothing(Technique):
    """The discriminator's target for real images is under 1 (section 3.4); one-sided unless `fake` is above 0.

    Against target t the cross-entropy of a real image is the one against 1, and (1 - t) * logit.
    """

    real: Fraction = 0.9
    fake: Fraction = 0.0

    def build(self, model: GANModel) -> None:
        """Refused where D gives no probability."""
        if model.config.loss not in PROBABILISTIC:
            raise UserError(
                f"label smoothing changes the target of a probability, and under the {model.config.loss} loss the "
                f"discriminator gives none: leave it away, or take the loss {' or '.join(PROBABILISTIC)}."
            )

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        return (1 - self.real) * seen.real_logits.mean() - self.fake * seen.fake_logits.mean()


@TECHNIQUES.register
@settings
class VirtualBatchNorm(Technique):
    """Batch norm of the generator by a fixed reference batch and the example itself (section 3.5)."""

    size: Count = 64
    of_gans = True

    def build(self, model: GANModel) -> None:
        """Replace the generator's batch norms; the reference is drawn with the first weights."""
        net = model.generator.net
        if not replace_modules(net, BatchNorm, lambda norm: VirtualNorm(norm, self.size)):
            raise UserError(
                "virtual batch norm replaces the generator's batch norm, and this one has none: leave it away, or take "
                "another generator."
            )
        key = int(torch.randint(2**31, ()))
        z = model.joined(model.prior.sample(Draw(key), (self.size, model.latent_dim)))
        model.generator.net = WithReference(net, z)


# ---- bounds of the critic's slope ----

BOUNDS = "both bound the critic's slope"
ALONE = "do not go together, as the slope is that of each image by itself and not of its batch"


@TECHNIQUES.register
@settings
class Clip(Technique):
    """Every weight of the critic is cut to [-bound, bound] after its move (Arjovsky et al. 2017, algorithm 1)."""

    bound: Positive = 0.01
    clashes: ClassVar[dict[str, str]] = {"gradient-penalty": BOUNDS, "r1": BOUNDS, "spectral-norm": BOUNDS}

    @torch.no_grad()
    def moved(self, model: GANModel, player: str) -> None:
        """The critic's."""
        if player == "discriminator":
            for weight in model.discriminator.parameters():
                weight.clamp_(-self.bound, self.bound)

    def vitals(self, model: Adversarial) -> dict[str, float]:
        """{"clipped_share"}: of the critic's weights that are at the bound."""
        weights = torch.cat([weight.detach().flatten() for weight in model.discriminator.parameters()])
        return {"clipped_share": float((weights.abs() >= 0.999 * self.bound).float().mean())}


@TECHNIQUES.register
@settings
class GradientPenalty(Technique):
    """weight * E (|| grad D(x) || - 1)^2 at points between real and fake (Gulrajani et al. 2017, equation 3).

    One norm and one place between for each *sample*. Batch norm in the critic, which would make its gradient one of
    the batch, becomes layer norm (the same, section 4).

    Attributes:
        weight: of the penalty.
        every: lazy regularisation (Karras et al. 2020, appendix B): at each how manieth move, as many times as heavy.
    """

    weight: Positive = 10.0
    every: Count = 1
    clashes: ClassVar[dict[str, str]] = {
        "r1": "pull the critic's slope to 1 and to 0",
        "minibatch-discrimination": ALONE,
    }

    def build(self, model: GANModel) -> None:
        """Layer norm for batch norm."""
        layer_norms(model)

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        shape = (len(seen.real), *[1] * (seen.real.dim() - 1))
        alpha = seen.draw.uniform("between", shape, seen.real.device)
        between = torch.lerp(seen.real.detach(), seen.fake.detach(), alpha)
        slopes = input_gradient(seen.model.logits, between).flatten(1).norm(dim=1)
        penalty: Tensor = ((slopes - 1) ** 2).mean()
        return self.weight * penalty


@TECHNIQUES.register
@settings
class R1(Technique):
    """weight / 2 * E || grad D(x) ||^2 at real images (Mescheder et al. 2018, equation 9).

    Attributes:
        weight: of the penalty.
        every: lazy regularisation (Karras et al. 2020, appendix B): at each how manieth move, as many times as heavy.
    """

    weight: Positive = 10.0
    every: Count = 1
    clashes: ClassVar[dict[str, str]] = {"minibatch-discrimination": ALONE}

    def build(self, model: GANModel) -> None:
        """Layer norm for batch norm, as with the gradient penalty."""
        layer_norms(model)

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        gradient = input_gradient(seen.model.logits, seen.real.detach())
        penalty: Tensor = gradient.flatten(1).square().sum(1).mean()
        return self.weight / 2 * penalty


@TECHNIQUES.register
@settings
class SpectralNorm(Technique):
    """Every weight of the discriminator over its largest singular value (Miyato et al. 2018).

    Attributes:
        iterations: of the power method, at each use.
    """

    iterations: Count = 1
    order = 1

    def build(self, model: GANModel) -> None:
        """Parametrise the discriminator's linear layers and convolutions."""
        for module in list(model.discriminator.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d | MinibatchLayer):
                parametrizations.spectral_norm(module, n_power_iterations=self.iterations)


# ---- data and weights ----


@TECHNIQUES.register
@settings
class Augment(Technique):
    """Real images and fakes are changed alike, differentiably, before the discriminator sees them (Zhao et al. 2020).

    Attributes:
        policy: what is done, in this order.
    """

    policy: tuple[Literal["brightness", "translation", "cutout"], ...] = ("brightness", "translation", "cutout")

    def build(self, model: GANModel) -> None:
        """Refused for points."""
        if len(model.shape) != 3:
            raise UserError(f"augmentation is of images, this data is points of shape {model.shape}: leave it away.")

    def view(self, images: Tensor, draw: Draw, which: Literal["real", "fake"]) -> Tensor:
        """Every image by its own draw."""
        for name in self.policy:
            images = AUGMENTATIONS[name](images, draw.uniform(f"{name} {which}", (len(images), 2), images.device))
        return images


@TECHNIQUES.register
@settings
class Freeze(Technique):
    """The discriminator's lower layers keep the weights that they begin with (Mo et al. 2020), those of `--init`.

    What they have learned of many images holds for the few of a new kind too, by which they would only be overfitted.

    Attributes:
        layers: that are kept, from the image on, with the norms between them.
    """

    layers: Count = 1
    of_init = True

    def build(self, model: GANModel) -> None:
        """What does not learn is no parameter, and has the same name in a file."""
        seen = 0
        modules = list(model.discriminator.modules())
        there = sum(_weighs(module) for module in modules)
        if self.layers >= there:
            raise UserError(f"freeze is {self.layers}: this discriminator has {there} layers, and one has to learn.")
        for module in modules:
            seen += _weighs(module)
            if seen > self.layers:
                return
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())


def _weighs(module: nn.Module) -> bool:
    """Whether it is a layer of weights, and no norm or group of layers."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() > 1


def _brightness(images: Tensor, u: Tensor) -> Tensor:
    """Plus U(-0.5, 0.5)."""
    return images + (u[:, 0] - 0.5).view(-1, 1, 1, 1)


def _translation(images: Tensor, u: Tensor) -> Tensor:
    """Moved by up to an eighth of its sides, the rest made 0."""
    height, width = images.shape[2:]
    y, x = height // 8, width // 8
    rows = torch.arange(height, device=u.device) + _below(2 * y + 1, u[:, :1])
    columns = torch.arange(width, device=u.device) + _below(2 * x + 1, u[:, 1:])
    n = torch.arange(len(images), device=u.device)[:, None, None]
    padded = F.pad(images, (x, x, y, y)).permute(0, 2, 3, 1)
    return padded[n, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def _cutout(images: Tensor, u: Tensor) -> Tensor:
    """A box of half the sides, its middle anywhere, made 0."""
    rows, columns = (_half(side, u[:, i : i + 1]) for i, side in enumerate(images.shape[2:]))
    return images * ~(rows[:, None, :, None] & columns[:, None, None])


def _half(side: int, u: Tensor) -> Tensor:
    """Which of the places of a side (N, side) are in half of it, whose middle is anywhere."""
    half = side // 2
    place = torch.arange(side, device=u.device) - _below(side + 1 - half % 2, u) + half // 2
    return (place >= 0) & (place < half)


def _below(n: int, u: Tensor) -> Tensor:
    """Whole numbers 0 ... n - 1, equally probable, from u in [0, 1)."""
    return (u * n).long()


AUGMENTATIONS = {"brightness": _brightness, "translation": _translation, "cutout": _cutout}


@TECHNIQUES.register
@settings
class EMA(Technique):
    """Samples come from an exponential moving average of the generator's weights (Yazici et al. 2019)."""

    decay: Fraction = 0.999
    order = 2
    of_gans = True

    def build(self, model: GANModel) -> None:
        """The average starts at the first weights."""
        model.average = MovingAverage(model.generator.net)

    def moved(self, model: GANModel, player: str) -> None:
        """Take the generator's new weights in."""
        if player == "generator":
            model.average.add(model.generator.net, self.decay)


class MovingAverage(nn.Module):
    """A net with the moving average of another's weights, and that one's buffers."""

    moves: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("moves", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, ...)."""
        output: Tensor = self.net(z)
        return output

    @torch.no_grad()
    def add(self, net: nn.Module, decay: float) -> None:
        """The first weights go out sooner: the decay is at most (1 + t) / (10 + t)."""
        self.moves += 1
        share = 1 - ((1 + self.moves) / (10 + self.moves)).clamp(max=decay)
        for mean, weight in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(weight, share)
        for kept, buffer in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(buffer)


# ---- helpers ----


def input_gradient(function: Any, x: Tensor) -> Tensor:
    """The gradient of the sum of function(x) by x (N, ...), itself differentiable; float32."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    return gradient.float()


def layer_norms(model: GANModel) -> None:
    """Layer norm for every batch norm of the discriminator."""
    replace_modules(model.discriminator, BatchNorm, lambda norm: nn.GroupNorm(1, norm.num_features))


def replace_modules(root: nn.Module, kind: type, make: Any) -> int:
    """Put make(module) in the place of every module of a kind; returns how many."""
    found = [(parent, name, child) for parent in root.modules() for name, child in parent.named_children()]
    found = [entry for entry in found if isinstance(entry[2], kind)]
    for parent, name, child in found:
        setattr(parent, name, make(child))
    return len(found)
