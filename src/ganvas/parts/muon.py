"""Muon (Jordan et al. 2024): momentum, orthogonalised, for the matrices and kernels of a net; Adam for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ganvas.ground.devices import has_fast_bfloat16
from ganvas.parts.adam import AdamW, Unwrapped

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # a x + b x^3 + c x^5 takes singular values from 0 ... 1 to near 1 in five turns
LONG = 3.0  # a gradient so many times as long as they were is shortened to that


class Muon(Unwrapped):
    """A matrix (m, n) moves by 0.2 sqrt(max(m, n)) lr times the orthogonal matrix nearest to its momentum.

    A kernel (o, i, h, w) is seen as a matrix (o, i h w), as Jordan et al. do. All else moves by torch's AdamW. With
    that factor a move's root mean square is Adam's, and so is the rate (Liu et al. 2025, *Muon is scalable for LLM
    training*, section 2.2).

    A move has one length whatever the gradient's. So one very long gradient, which fills the momentum for hundreds of
    steps, would drive a net as far as it can in one direction: it is shortened.

    Args:
        parameters: of a player.
        lr: the rate of both.
        betas: of Adam.
        eps: of Adam.
        weight_decay: lr times this share of a weight is taken away at each move.
        fused: of Adam.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
        fused: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        every = self.param_groups[0]["params"]
        self.matrices = [p for p in every if p.dim() >= 2]
        others = [p for p in every if p.dim() < 2]
        how: dict[str, Any] = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused}
        self.adam = AdamW(others, lr, **how) if others else None
        self.weight_decay = weight_decay
        self._share()

    def _share(self) -> None:
        if self.adam:
            self.adam.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        group = self.param_groups[0]
        lr = group["lr"]
        if self.adam:
            self.adam.param_groups[0] |= {"lr": lr, "capturable": group.get("capturable", False)}
            self.adam.step()
        for p in self.matrices:
            if p.grad is not None:
                if self.weight_decay:
                    p.mul_(1 - lr * self.weight_decay)
                move = orthogonal(self._momentum(p, p.grad).flatten(1)).view(p.shape)
                rate = 0.2 * max(len(p), p[0].numel()) ** 0.5 * lr
                if isinstance(rate, Tensor):  # read where it lies, see `ganvas.training.recorded`
                    p.addcmul_(move, rate, value=-1)
                else:
                    p.add_(move, alpha=-rate)

    def _momentum(self, p: Tensor, gradient: Tensor) -> Tensor:
        """Nesterov's, of gradients that are not much longer than those before."""
        length, state = gradient.norm(), self.state[p]
        if not state:
            state |= {"momentum_buffer": torch.zeros_like(gradient), "length": length.clone()}
        usual = state.setdefault("length", length.clone())
        shorter = (LONG * usual / length.clamp_min(1e-30)).clamp_max(1)
        usual.lerp_(shorter * length, 1 - MOMENTUM)
        gradient = gradient * shorter
        state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum_buffer"], MOMENTUM)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()


def orthogonal(x: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T, by five Newton-Schulz turns: its singular values become 0.7 to 1.2."""
    a, b, c = QUINTIC
    wide = x.mT if x.shape[0] > x.shape[1] else x
    y = wide / wide.norm().clamp_min(1e-7)
    y = y.bfloat16() if has_fast_bfloat16(x.device) else y
    for _ in range(5):
        square = y @ y.mT
        y = a * y + (b * square + c * (square @ square)) @ y
    found: Tensor = y.mT if x.shape[0] > x.shape[1] else y
    return found.to(x.dtype)
