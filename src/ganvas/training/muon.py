"""Muon (Jordan et al. 2024): momentum, orthogonalised, for the matrices of a net; Adam for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """A matrix (m, n) moves by 0.2 sqrt(max(m, n)) lr times the orthogonal matrix nearest to its momentum.

    All else moves by Adam. With that factor a move's root mean square is Adam's, and so is the rate (Liu et al. 2025,
    *Muon is scalable for LLM training*, section 2.2). Each part is torch's own.

    Args:
        parameters: of a player.
        lr: the rate of both.
        betas: of Adam.
        eps: of Adam.
        fused: of Adam.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float], eps: float, fused: bool = False
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        every = self.param_groups[0]["params"]
        matrices, others = ([p for p in every if (p.dim() == 2) == flat] for flat in (True, False))
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        if others:
            self.parts.append(torch.optim.Adam(others, lr, betas=betas, eps=eps, fused=fused))
        self._share()

    def _share(self) -> None:
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for part in self.parts:
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()
