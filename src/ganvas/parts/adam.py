"""Adam (Kingma & Ba 2014; Loshchilov & Hutter 2017) as torch's own, with less around its kernel on a CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


class Unwrapped(torch.optim.Optimizer):
    """An optimiser of one group, without torch's wrappers of its methods.

    Their first call imports torch's compiler, which takes a second and 70 MB of each training.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """No gradients."""
        for p in self.param_groups[0]["params"]:
            p.grad = None


class AdamW(Unwrapped, torch.optim.AdamW):
    """`torch.optim.AdamW` of one group, whose moves on a CPU are calls of its fused kernel and nothing else.

    Of a small net's step, which takes a few milliseconds, what torch does around that call is a twentieth.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        group = self.param_groups[0]
        weights = [p for p in group["params"] if p.grad is not None]
        if not (group["fused"] and weights and weights[0].device.type == "cpu"):
            super().step(closure)
            return
        states = [self.state[p] for p in weights]
        for p, state in zip(weights, states, strict=True):
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            weights,
            [p.grad for p in weights],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    # Else torch wraps it, to call hooks that nobody here sets and to note each step for a profiler.
    step.hooked = True  # type: ignore[attr-defined]
