"""log P(x) of a decoder by annealed importance sampling (Neal 2001; Wu et al. 2017), and bounds from both sides.

Any decoder can be asked, a GAN's too: all that is needed is P(z), P(x given z), and their gradients in z.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts.losses import normal_log_prob

# z (R, d) -> (R,), in nats; row r is chain r // N of image r % N.
Density = Callable[[Tensor], Tensor]
LEAPFROG = 10
TARGET = 0.65  # acceptance at which HMC moves best (Neal 2011, section 4.4)


def temperatures(steps: int, slope: float = 4.0) -> Tensor:
    """Inverse temperatures 0 = beta_0 < ... < beta_steps = 1, denser at both ends: a logistic curve (Wu et al. 2017).

    Args:
        steps: moves between the prior and the posterior.
        slope: of the curve, which runs from -slope to slope.

    Raises:
        UserError: fewer than one step.
    """
    if steps < 1:
        raise UserError(f"{steps} temperatures: annealing takes at least 1.")
    curve = torch.linspace(-slope, slope, steps + 1, dtype=torch.float64).sigmoid()
    return (curve - curve[0]) / (curve[-1] - curve[0])


def annealed(
    log_prior: Density, log_likelihood: Density, start: Tensor, betas: Tensor, seed: int = 0, step: float = 0.1
) -> Tensor:
    """The logarithms of annealed importance weights, whose exp has the mean P(x) for each image.

    Each chain goes from the prior (beta 0) to the posterior (beta 1) by a move of Hamiltonian Monte Carlo at each
    temperature, with 10 leapfrog steps. The step size of a chain follows how often the *other* chains of its image were
    accepted: to the chain itself it is fixed, so that its weight stays unbiased.

    Args:
        log_prior: of z, with a gradient.
        log_likelihood: log P(x given z) of each row's image, with a gradient.
        start: draws from P(z), (chains, N, d); with `betas` from 1 to 0, from P(z given x).
        betas: inverse temperatures, float64; rising from 0 to 1, or falling from 1 to 0.
        seed: of all moves.
        step: first step size.

    Returns:
        (chains, N), float64, nats. With falling betas, the negated values are those of P(x) from above.

    Raises:
        UserError: a density that is not finite at the start.
    """
    chains, n, d = start.shape
    z = start.reshape(-1, d)
    steps = torch.full((chains, n), step, device=z.device)
    log_weight = torch.zeros(chains * n, dtype=torch.float64, device=z.device)
    with torch.enable_grad():
        state = _look(log_prior, log_likelihood, z)
        if not bool(torch.isfinite(state[0] + state[1]).all()):
            raise UserError("a chain of annealed importance sampling starts where the density is 0 or not finite.")
        for t, (before, beta) in enumerate(zip(betas[:-1].tolist(), betas[1:].tolist(), strict=True)):
            log_weight += (beta - before) * state[1].double()
            z, state, accepted = _move(log_prior, log_likelihood, z, state, beta, steps.reshape(-1, 1), Draw(seed, t))
            if chains > 1:
                rate = accepted.reshape(chains, n).to(steps.dtype)
                others = (rate.sum(0) - rate) / (chains - 1)
                steps = (steps * torch.exp(0.1 * (others - TARGET))).clamp(1e-4, 10)
    return log_weight.reshape(chains, n)


State = tuple[Tensor, Tensor, Tensor, Tensor]


def _look(log_prior: Density, log_likelihood: Density, z: Tensor) -> State:
    """Both log-densities (R,) and their gradients (R, d)."""
    z = z.detach().requires_grad_()
    prior, likelihood = log_prior(z), log_likelihood(z)
    (of_prior,) = torch.autograd.grad(prior.sum(), z)
    (of_likelihood,) = torch.autograd.grad(likelihood.sum(), z)
    return prior.detach(), likelihood.detach(), of_prior, of_likelihood


def _move(
    log_prior: Density, log_likelihood: Density, z: Tensor, state: State, beta: float, step: Tensor, draw: Draw
) -> tuple[Tensor, State, Tensor]:
    """A move of Hamiltonian Monte Carlo (Neal 2011, section 3.2) that leaves P(z) P(x given z)^beta as it is."""
    momentum = draw.normal("momentum", tuple(z.shape), z.device)
    # Steps of one length may return to where they started, of any number of them: the length is drawn, too.
    step = step * (0.5 + draw.uniform("length", (len(z), 1), z.device))
    energy = normal_log_prob(momentum) + state[0] + beta * state[1]
    place, now, speed = z, state, momentum + 0.5 * step * (state[2] + beta * state[3])
    for i in range(LEAPFROG):
        place = place + step * speed
        now = _look(log_prior, log_likelihood, place)
        speed = speed + (0.5 if i == LEAPFROG - 1 else 1.0) * step * (now[2] + beta * now[3])
    gain = normal_log_prob(speed) + now[0] + beta * now[1] - energy
    # A gain that is not a number comes of a path that ran away: refused.
    accepted = torch.log(draw.uniform("accept", (len(z),), z.device)) < gain
    chosen = [torch.where(accepted.reshape(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(now, state, strict=True)]
    return torch.where(accepted[:, None], place, z), (chosen[0], chosen[1], chosen[2], chosen[3]), accepted


def estimate(log_weights: Tensor) -> Tensor:
    """log P(x) of each image from the weights of its chains, (chains, N) -> (N,): the logarithm of their mean."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))
