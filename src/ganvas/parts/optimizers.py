"""How a player moves: settings of torch's optimisers, and of Muon, each with its own.

A new one is a class: its fields are its settings, its `make` gives the optimiser of a player's weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ganvas.ground.registry import Count, Fraction, Positive, Registry, settings

if TYPE_CHECKING:
    import torch
    from torch import nn

LEAST = 1e-6  # that `decay` leaves of a rate


@settings
class Optimizer:
    """What all have.

    Attributes:
        lr: its learning rate.
        rise: steps of the game over which the rate rises to that (Goyal et al. 2017, section 2.2).
        decay: what the rate is divided by after each step of the game; it stays above a millionth.
        weight_decay: what becomes of a weight, beside its move.
    """

    lr: Positive = 1e-3
    rise: Annotated[int, Field(ge=0)] = 0
    decay: Annotated[float, Field(ge=1)] = 1.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a player's weights, fused where the device has it."""
        raise NotImplementedError(type(self).__name__)

    def scheduled(self, share: float, step: int, epoch: float) -> dict[str, float]:
        """Its rate, and what else changes, at a step of the game.

        Args:
            share: of the rate, by the training's schedule.
            step: of the game.
            epoch: passes over the data until then.
        """
        rate = self.lr * share * min(1.0, (step + 1) / max(1, self.rise))
        return {"lr": max(rate * self.decay**-step, min(rate, LEAST))}

    @property
    def moments(self) -> bool:
        """Whether it keeps something of the gradients, which a checkpoint then has."""
        return True

    @property
    def steady(self) -> bool:
        """Whether nothing but its rate ever changes."""
        return True


OPTIMIZERS = Registry("optimizer", Optimizer)


@OPTIMIZERS.register
@settings
class Adam(Optimizer):
    """Adam (Kingma & Ba 2014), as AdamW: lr weight_decay of a weight is taken away (Loshchilov & Hutter 2017).

    Attributes:
        betas: of its first and second moment.
        eps: added to the root of the second moment: a gradient far below it moves little.
    """

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8

    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        """torch's AdamW, which without decay is its Adam."""
        from ganvas.parts.adam import AdamW

        return AdamW(player.parameters(), self.lr, **self._settings(), fused=_fused(player))

    def _settings(self) -> dict[str, Any]:
        return {"betas": self.betas, "eps": self.eps, "weight_decay": self.weight_decay}


@OPTIMIZERS.register
@settings
class Muon(Adam):
    """Orthogonalised momentum of matrices and kernels (Jordan et al. 2024); Adam, whose settings it has, of all else.

    Weights decay as under Adam (Liu et al. 2025).
    """

    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        """That of `ganvas.parts.muon`."""
        from ganvas.parts import muon

        return muon.Muon(player.parameters(), self.lr, **self._settings(), fused=_fused(player))


@OPTIMIZERS.register
@settings
class RMSprop(Optimizer):
    """RMSProp (Tieleman & Hinton 2012), smoothing 0.99; weight_decay times a weight is added to its gradient."""

    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        """torch's."""
        import torch

        return torch.optim.RMSprop(player.parameters(), self.lr, weight_decay=self.weight_decay, foreach=True)


@OPTIMIZERS.register
@settings
class SGD(Optimizer):
    """Gradient descent with momentum; weight_decay times a weight is added to its gradient.

    Attributes:
        momentum: at first.
        last_momentum: what it rises to, by equal amounts, over `momentum_epochs`; None: it stays.
        momentum_epochs: how long it rises.
    """

    momentum: Fraction = 0.5
    last_momentum: Fraction | None = None
    momentum_epochs: Count = 250

    def make(self, player: nn.Module) -> torch.optim.Optimizer:
        """torch's."""
        import torch

        momentum, decay = self.momentum, self.weight_decay
        weights = player.parameters()
        return torch.optim.SGD(weights, self.lr, momentum=momentum, weight_decay=decay, fused=_fused(player))

    def scheduled(self, share: float, step: int, epoch: float) -> dict[str, float]:
        """The momentum too."""
        last = self.momentum if self.last_momentum is None else self.last_momentum
        rise = min(1.0, epoch / self.momentum_epochs) * (last - self.momentum)
        return {**super().scheduled(share, step, epoch), "momentum": self.momentum + rise}

    @property
    def moments(self) -> bool:
        """With momentum."""
        return self.momentum > 0

    @property
    def steady(self) -> bool:
        """With one momentum."""
        return self.last_momentum is None


def chosen(given: Any, **known: Optimizer) -> Optimizer:
    """The one of `known` that is named, another one by its name, or the settings that are given."""
    found: Optimizer = known[given] if isinstance(given, str) and given in known else OPTIMIZERS.parse(given)
    return found


def upgraded(values: Any) -> Any:
    """The JSON of an optimiser, of what was written when there was one class for all of them."""
    if not isinstance(values, dict) or "kind" in values:
        return values
    kind = str(values.get("name", "adam"))
    own = OPTIMIZERS[kind].__pydantic_fields__
    foreign = {name for cls in OPTIMIZERS.values() for name in cls.__pydantic_fields__} - own.keys() | {"name"}
    return {"kind": kind, **{name: value for name, value in values.items() if name not in foreign}}


def _fused(player: nn.Module) -> bool:
    return next(player.parameters()).device.type in ("cpu", "cuda")
