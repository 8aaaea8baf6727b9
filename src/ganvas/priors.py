"""P(z): what a latent variable is drawn from.

A prior's `build` gives a `Distribution`, which a model asks for `sample` and `log_prob`. A fixed prior is that itself,
and has an inverse CDF where there is one; one that is learned is a module, trained with the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ganvas.errors import UserError
from ganvas.losses import kl_by_dimension, normal_log_prob, reparametrised
from ganvas.nets.mlp import MLP
from ganvas.nets.registry import Net
from ganvas.randomness import Draw
from ganvas.registry import Count, Positive, Registry, kind, settings

# Of `fit_mixture`: the least variance, as a share of the codes'; nats a code that a step must add; numbers at a time.
FLOOR, GAIN, BLOCK = 1e-4, 1e-5, 2**20
DRAWS = 4096  # that stand for moments without a closed form
# Data (N, *shape) -> mean and log-variance of Q(z given x), each (N, d).
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


class Distribution:
    """What a model, a measure and an export ask of P(z).

    Attributes:
        bound: of every dimension, where it ends; None: nowhere.
        exact: whether `log_prob` is log P(z), and no estimate of it.
        examples: training images that it starts from, see `prepare`.
    """

    bound: float | None = None
    exact: bool = True
    examples: int = 0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        raise NotImplementedError(type(self).__name__)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        raise NotImplementedError(type(self).__name__)

    def kl_by_dimension(self, mean: Tensor, log_variance: Tensor) -> Tensor | None:
        """KL(N(mean, exp(log_variance)) || P(z)) of each dimension, nats, (N, d); None where it has no closed form."""
        return None

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """How many numbers from N(0, 1) a code takes, k, and the function (N, k) -> z (N, d) of P(z).

        Phi, the normal distribution function, makes a uniform number of a normal one; and its sign is a fair coin.

        Raises:
            UserError: there is no such function.
        """
        raise UserError(f"a prior of kind {type(self).__name__} has no function of standard noise.")

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in each dimension (d,), or along the orthonormal rows (k, d) of a plane; float64.

        Where it has no closed form they are those of 4,096 draws.
        """
        z = self.sample(Draw(0), (DRAWS, d)).double()
        z = z if plane is None else z @ plane.T
        return z.mean(0), z.std(0, correction=0)

    def held(self) -> Distribution:
        """Itself as it is now, to be asked many times."""
        return self

    def prepare(self, examples: Tensor) -> None:
        """Start from training data (`examples`, *shape)."""


class BasePrior:
    """Settings of a prior.

    Attributes:
        bound: see `Distribution`.
        exact: likewise.
        closed_form: whether the KL from a normal posterior has one.
    """

    bound: float | None = None
    exact: bool = True
    closed_form: bool = False

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Distribution:
        """P(z) of so many dimensions, in a model of data of a shape that encodes by `encode`."""
        raise NotImplementedError(type(self).__name__)


PRIORS = Registry("prior", BasePrior)


class FixedPrior(Distribution, BasePrior):
    """Settings that are P(z) themselves: there is nothing to learn."""

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Distribution:
        """Itself."""
        return self


def _fixed(prior: Any) -> Any:
    if not isinstance(prior, FixedPrior):
        raise UserError(
            f"a prior of kind {kind(type(prior))} is learned, and a GAN's is fixed: take normal or uniform."
        )
    return prior


if TYPE_CHECKING:
    Prior = BasePrior
    Noise = FixedPrior
else:
    Prior = PRIORS.field
    Noise = Annotated[Prior, AfterValidator(_fixed)]  # of a GAN


@PRIORS.register
@settings
class Normal(FixedPrior):
    """N(0, I)."""

    closed_form = True

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return draw.normal("prior", shape, device)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        return normal_log_prob(z)

    def kl_by_dimension(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(mean, exp(log_variance)) || N(0, 1)) of each dimension, nats, (N, d)."""
        return kl_by_dimension(mean, log_variance)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, as they are."""
        return d, lambda noise: noise

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """0 and 1."""
        return _alike(1.0, d, plane)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        z: Tensor = torch.special.ndtri(_shares(p))
        return z


@PRIORS.register
@settings
class Uniform(FixedPrior):
    """U(-bound, bound) in every dimension."""

    bound: Positive = 1.0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return (2 * draw.uniform("prior", shape, device) - 1) * self.bound

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,); minus infinity outside."""
        inside = (z.abs() <= self.bound).all(-1)
        return torch.where(inside, -z.shape[-1] * math.log(2 * self.bound), -math.inf).to(z.dtype)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, each by itself."""
        return d, lambda noise: self.bound * torch.erf(noise / math.sqrt(2))

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """0 and bound / sqrt 3."""
        return _alike(self.bound / math.sqrt(3), d, plane)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        return (2 * _shares(p) - 1) * self.bound


@PRIORS.register
@settings
class Bimodal(FixedPrior):
    """Equally often N(-1, std^2) and N(1, std^2) in each of d dimensions, by itself: 2^d clusters of z.

    A generator is continuous, so from a connected P(z) some samples fall between the modes of the data; from clusters
    none need to (Gurumurthy et al. 2017, DeLiGAN, where the means are learned; Khayatkhoei et al. 2018).

    Attributes:
        std: of a cluster.
    """

    std: Positive = 0.2

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        sides = (draw.uniform("side", shape, device) < 0.5).float()
        return 2 * sides - 1 + self.std * draw.normal("prior", shape, device)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        sides = torch.stack([-0.5 * ((z - mean) / self.std) ** 2 for mean in (-1, 1)])
        return (sides.logsumexp(0) - math.log(2 * self.std * math.sqrt(2 * math.pi))).sum(-1)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """2 d numbers: the signs of half of them are the sides."""
        return 2 * d, lambda noise: torch.where(noise[:, :d] < 0, -1.0, 1.0) + self.std * noise[:, d:]


def _alike(deviation: float, d: int, plane: Tensor | None) -> tuple[Tensor, Tensor]:
    """The moments of dimensions of mean 0 and one deviation, which don't depend on each other."""
    along = torch.ones(d, dtype=torch.float64) if plane is None else plane.double().norm(dim=1)
    return torch.zeros_like(along), deviation * along


def _shares(p: Tensor) -> Tensor:
    if not ((p > 0) & (p < 1)).all():
        raise UserError(f"shares from {p.min():g} to {p.max():g}: an inverse CDF takes those between 0 and 1.")
    return p


@PRIORS.register
@settings
class Mixture(BasePrior):
    """Normals of learned means, variances and weights.

    Attributes:
        components: how many.
    """

    components: Count = 100

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> NormalMixture:
        """Components that start as N(m, I) with m from N(0, I)."""
        mixture = NormalMixture()
        mixture.mean = nn.Parameter(torch.randn(self.components, latent_dim))
        mixture.log_variance = nn.Parameter(torch.zeros(self.components, latent_dim))
        mixture.logit = nn.Parameter(torch.zeros(self.components))
        return mixture


@PRIORS.register
@settings
class Vamp(BasePrior):
    """The mean of the posteriors of learned pseudo-inputs (Tomczak & Welling 2018, equation 9).

    Attributes:
        components: how many pseudo-inputs.
    """

    components: Count = 500

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> VampMixture:
        """Pseudo-inputs that start grey, a little of each differing; `VampMixture.prepare` makes images of them."""
        return VampMixture(self.components, shape, encode)


@PRIORS.register
@settings
class StochasticLayer(BasePrior):
    """A layer of latent variables above: P(z) = E_P(u)[P(z given u)], with a posterior Q(u given z) of its own.

    Attributes:
        latent_dim: size of u.
        net: between z and u, both ways.
        prior: P(u).
    """

    latent_dim: Count = 50
    net: Net = MLP(hidden=(100, 100), activation="tanh")
    prior: Prior = Normal()
    exact = False

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> LatentLayer:
        """Nets of their own."""
        return LatentLayer(self, latent_dim)


@PRIORS.register
@settings
class Flow(BasePrior):
    """N(0, I) bent to where the codes are by invertible layers (real NVP, Dinh et al. 2017).

    Each layer moves and scales half of the dimensions as the other half says, which comes to z = f(e) with e from
    N(0, I), and log P(z) = log N(f^-1(z)) + log |det df^-1/dz|.

    Attributes:
        layers: couplings; each keeps the half that the last one moved.
        hidden: units of the two hidden layers of each.
    """

    layers: Annotated[int, Field(ge=2)] = 8
    hidden: Count = 128

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Couplings:
        """Layers that change nothing at first: the prior starts as N(0, I)."""
        return Couplings(self, latent_dim)


class Couplings(nn.Module, Distribution):
    """Affine couplings, each after an order of the dimensions that is drawn once."""

    orders: Tensor

    def __init__(self, config: Flow, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 2:
            raise UserError(
                f"a flow moves one half of the dimensions by the other: latent_dim is {latent_dim}, take 2."
            )
        self.kept = latent_dim // 2
        moved = latent_dim - self.kept
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(self.kept, config.hidden),
                nn.SiLU(),
                nn.Linear(config.hidden, config.hidden),
                nn.SiLU(),
                nn.Linear(config.hidden, 2 * moved),
            )
            for _ in range(config.layers)
        )
        for net in self.nets:
            nn.init.zeros_(net[-1].weight)  # type: ignore[index]
            nn.init.zeros_(net[-1].bias)  # type: ignore[index]
        orders = torch.stack([torch.randperm(latent_dim) for _ in range(config.layers)])
        # A dimension that one layer keeps the next one moves.
        orders[1::2] = orders[::2][: len(orders[1::2])].roll(self.kept, 1)
        self.register_buffer("orders", orders)

    def _settings(self, net: nn.Module, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log-scale of the other half, the latter within +-2."""
        shift, log_scale = net(kept).to(kept.dtype).chunk(2, -1)
        return shift, 2 * torch.tanh(log_scale / 2)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        volume = z.new_zeros(z.shape[:-1])
        for net, order in zip(self.nets, self.orders, strict=True):
            kept, moved = z[..., order].tensor_split((self.kept,), -1)
            shift, log_scale = self._settings(net, kept)
            z = torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], -1)[..., order.argsort()]
            volume = volume - log_scale.sum(-1)
        return normal_log_prob(z) + volume

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            return self.bent(draw.normal("prior", shape, self.orders.device)).to(device)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, bent."""
        return d, self.bent

    def bent(self, noise: Tensor) -> Tensor:
        """f: the z (N, d) that N(0, I)'s draws (N, d) become."""
        z = noise
        for net, order in zip(reversed(self.nets), self.orders.flip(0), strict=True):
            kept, moved = z[..., order].tensor_split((self.kept,), -1)
            shift, log_scale = self._settings(net, kept)
            z = torch.cat([kept, moved * torch.exp(log_scale) + shift], -1)[..., order.argsort()]
        return z


class NormalMixture(nn.Module, Distribution):
    """sum_k w_k N(z; m_k, s_k^2): mean and log_variance (K, d), weights the softmax of logit (K,)."""

    mean: Tensor
    log_variance: Tensor
    logit: Tensor

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (K, d), log-variance (K, d), log-weight (K,)."""
        return self.mean, self.log_variance.clamp(-20, 10), self.logit.log_softmax(0)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        return mixture_log_prob(z, *self.components())

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            mean, log_variance, log_weight = self.components()
            edges = log_weight.exp().cumsum(0)
            chosen = torch.searchsorted(edges, draw.uniform("component", (shape[0],), edges.device) * edges[-1])
            chosen = chosen.clamp(max=len(edges) - 1)
            eps = draw.normal("prior", shape, edges.device)
            return reparametrised(mean[chosen], log_variance[chosen], eps).to(device)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """1 + d numbers: the first one chooses the component."""
        mean, log_variance, log_weight = (part.detach().clone() for part in self.components())
        edges = log_weight.exp().cumsum(0)

        def drawn(noise: Tensor) -> Tensor:
            share = (torch.erf(noise[:, :1] / math.sqrt(2)) + 1) / 2 * edges[-1]
            chosen = (edges < share).sum(1).clamp(max=len(edges) - 1)
            return reparametrised(mean[chosen], log_variance[chosen], noise[:, 1:])

        return 1 + d, drawn

    def held(self) -> Distribution:
        """A mixture that does not learn: the posteriors of pseudo-inputs are computed once."""
        return fixed(*self.components())


class VampMixture(NormalMixture):
    """1/K sum_k Q(z given u_k): inputs (K, *shape), of images cut to [0, 1]."""

    def __init__(self, components: int, shape: tuple[int, ...], encode: Encode) -> None:
        super().__init__()
        self.encode = encode
        self.image = len(shape) == 3
        self.inputs = nn.Parameter(0.5 * self.image + 0.01 * torch.randn(components, *shape))
        self.examples = components

    def prepare(self, examples: Tensor) -> None:
        """Pseudo-inputs start as training data (K, *shape)."""
        with torch.no_grad():
            self.inputs.copy_(examples)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (K, d), log-variance (K, d), log-weight (K,), all weights 1/K."""
        mean, log_variance = self.encode(self.inputs.clamp(0, 1) if self.image else self.inputs)
        return mean, log_variance, mean.new_full((len(mean),), -math.log(len(mean)))


class LatentLayer(nn.Module, Distribution):
    """Q(u given z) and P(z given u), diagonal normals, and P(u)."""

    exact = False

    def __init__(self, config: StochasticLayer, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.net.encoder((latent_dim,), 2 * config.latent_dim)
        self.decoder = config.net.decoder(config.latent_dim, (2 * latent_dim,))
        self.prior = config.prior.build(config.latent_dim, (latent_dim,), self.posterior)

    def posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of Q(u given z), each (N, latent_dim) from z (N, d)."""
        return halves(self.encoder(z))

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z, u) - log Q(u given z) at one u from Q, whose exp has the mean P(z); (..., d) -> (...,)."""
        rows = z.reshape(-1, z.shape[-1])
        mean, log_variance = self.posterior(rows)
        u = reparametrised(mean, log_variance, draw.normal("posterior of u", tuple(mean.shape), z.device))
        log_p = normal_log_prob(rows, *halves(self.decoder(u))) + self.prior.log_prob(u, draw.above())
        log_weight: Tensor = log_p - normal_log_prob(u, mean, log_variance)
        return log_weight.reshape(z.shape[:-1])

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            where = next(self.parameters()).device
            u = self.prior.sample(draw.above(), (shape[0], self.config.latent_dim), where)
            return reparametrised(*halves(self.decoder(u)), draw.normal("prior", shape, where)).to(device)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """Those of u, and d more."""
        k, above = self.prior.held().from_noise(self.config.latent_dim)
        return k + d, lambda noise: reparametrised(*halves(self.decoder(above(noise[:, :k]))), noise[:, k:])


def fixed(mean: Tensor, log_variance: Tensor, logit: Tensor) -> NormalMixture:
    """A mixture that does not learn: mean and log_variance (K, d), logit (K,)."""
    mixture = NormalMixture()
    for name, value in {"mean": mean, "log_variance": log_variance, "logit": logit}.items():
        mixture.register_buffer(name, value)
    return mixture


def halves(output: Tensor) -> tuple[Tensor, Tensor]:
    """A net's output (..., 2 d) as mean and log-variance (..., d), float32."""
    mean, log_variance = output.float().chunk(2, -1)
    # exp(10) is far from any variance that training asks for; a runaway one would end in inf - inf.
    return mean, log_variance.clamp(-20, 10)


def mixture_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor, log_weight: Tensor) -> Tensor:
    """log sum_k w_k N(z; m_k, s_k^2) in nats, (..., d) -> (...,); mean, log_variance (K, d), log_weight (K,)."""
    return (each_log_prob(z, mean, log_variance) + log_weight).logsumexp(-1).to(z.dtype)


def each_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; m_k, s_k^2) for each k in nats, float64, (..., d) -> (..., K); mean, log_variance (K, d)."""
    # The square multiplied out is two matrix products; in float32 its terms would cancel too much.
    z, mean, log_variance = z.double(), mean.double(), log_variance.double()
    with torch.autocast(z.device.type, enabled=False):
        precision = torch.exp(-log_variance)
        constant = (mean * mean * precision + log_variance + math.log(2 * math.pi)).sum(-1)
        return z @ (mean * precision).T - 0.5 * (z * z @ precision.T + constant)


def fit_mixture(codes: Tensor, components: int, seed: int = 0, steps: int = 500) -> NormalMixture:
    """The mixture of diagonal normals under which codes are most likely, by EM (Dempster et al. 1977), in float64.

    It starts from codes that lie far apart (k-means++, Arthur & Vassilvitskii 2007), and ends where a step adds less
    than 1e-5 nats a code. The likelihood has no bound where a normal shrinks onto one code: in each dimension its
    variance is at least a ten-thousandth of that of all codes.

    Args:
        codes: (N, d).
        components: at most N / 2.
        seed: of the start.
        steps: at most.

    Raises:
        UserError: another shape, NaN, too few codes, or too few that differ; a spread that a mixture can't have.
    """
    if components < 1 or steps < 1:
        raise UserError(f"{components} components by {steps} steps: it takes at least 1 of each.")
    if codes.dim() != 2 or len(codes) < 2 * components:
        raise UserError(
            f"codes of shape {tuple(codes.shape)}: {components} components take (N, d), N at least {2 * components}."
        )
    if not bool(torch.isfinite(codes).all()):
        raise UserError("the codes hold NaN or infinite values.")
    z = codes.detach().cpu().double()
    centre, scale = z.mean(0), z.std(0)
    scale = scale.clamp(min=math.exp(-10) / math.sqrt(FLOOR))
    z = (z - centre) / scale
    mixture, before = _apart(z, components, seed), -math.inf
    for _ in range(steps):
        mixture, log_p = _maximised(z, *mixture)
        if log_p - before < GAIN:
            break
        before = log_p
    mean, variance, weight = mixture
    log_variance = variance.log() + 2 * scale.log()
    if float(log_variance.max()) > 10:
        raise UserError(
            f"codes of standard deviation {scale.max():.3g}: a mixture has normals of up to {math.exp(5):.0f}."
        )
    return fixed((mean * scale + centre).float(), log_variance.float(), weight.log().float())


def _apart(z: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means and variances (K, d), weights (K,): a mean is a code drawn by its squared distance from the others."""
    first, *others = Draw(seed).uniform("means", (components,)).tolist()
    chosen = [z[int(first * len(z))]]
    closest, nearest = chosen[0].expand_as(z), (z - chosen[0]).square().sum(1)
    for u in others:
        edges = nearest.cumsum(0)
        if not edges[-1] > 0:
            raise UserError(f"{components} components: the codes have only {len(chosen)} different values.")
        chosen.append(z[torch.searchsorted(edges, u * edges[-1], right=True)])
        distance = (z - chosen[-1]).square().sum(1)
        closest = torch.where((distance < nearest)[:, None], chosen[-1], closest)
        nearest = torch.minimum(distance, nearest)
    variance = (z - closest).square().mean(0).clamp(min=FLOOR)
    return torch.stack(chosen), variance.expand(components, -1), z.new_full((components,), 1 / components)


def _maximised(
    z: Tensor, mean: Tensor, variance: Tensor, weight: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
    """A step of EM: the mixture after it, and the mean log-likelihood before it in nats."""
    counts, first, second, total = torch.zeros_like(weight), torch.zeros_like(mean), torch.zeros_like(mean), 0.0
    for part in torch.split(z, max(1, BLOCK // len(mean))):
        each = each_log_prob(part, mean, variance.log()) + weight.log()
        log_p = each.logsumexp(1, keepdim=True)
        share = torch.exp(each - log_p).T  # of the code that is each component's (K, rows)
        counts, first, second = counts + share.sum(1), first + share @ part, second + share @ part.square()
        total += float(log_p.sum())
    counts = counts.clamp(min=1e-300)
    mean = first / counts[:, None]
    variance = (second / counts[:, None] - mean.square()).clamp(min=FLOOR)
    return (mean, variance, counts / len(z)), total / len(z)
