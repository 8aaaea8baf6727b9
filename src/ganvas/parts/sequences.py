"""P of a sequence of tokens, each given those before it: a small transformer (Vaswani et al. 2017)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Fraction, settings


@settings
class Transformer:
    """Settings of a decoder-only transformer.

    Attributes:
        width: numbers of a token within.
        layers: of attention and an MLP of four times the width.
        heads: of attention, which divide the width.
        dropout: of what each layer adds, against learning few codes by heart.
    """

    width: Count = 96
    layers: Count = 3
    heads: Count = 4
    dropout: Fraction = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(f"width is {self.width}: {self.heads} heads do not divide it.")

    def build(self, size: int, length: int, depth: int = 1, told: int = 0) -> Sequence:
        """Of sequences of `length` tokens below `size`, of which each `depth` in a row share a place."""
        return Sequence(self, size, length, depth, told)


class Layer(nn.Module):
    """Attention to the tokens up to one's own, and an MLP; normalised before each (Xiong et al. 2020)."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projected, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, known: Tensor | None = None, at: int = 0) -> Tensor:
        """(N, T, width) -> the same shape; keys and values of T tokens from `at` on are kept in `known`, if given.

        Args:
            x: of all tokens, or of one alone where those before it are known.
            known: (2, N, heads, length, width / heads).
            at: the place of the first token of x.
        """
        n, t, width = x.shape
        q, k, v = self.projected(self.first(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if known is not None:
            known[0, :, :, at : at + t], known[1, :, :, at : at + t] = k, v
            k, v = known[:, :, :, : at + t]
        found = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        dropped = self.dropout if self.training else 0.0
        x = x + F.dropout(self.attended(found.transpose(1, 2).reshape(n, t, width)), dropped)
        return x + F.dropout(self.narrow(F.gelu(self.wide(self.second(x)))), dropped)


class Sequence(nn.Module):
    """P(tokens) = product over t of P(token t given those before it, and what is told)."""

    def __init__(self, config: Transformer, size: int, length: int, depth: int, told: int) -> None:
        super().__init__()
        self.size, self.length, self.depth, self.config = size, length, depth, config
        self.token = nn.Embedding(size * depth + 1, config.width)  # the last one stands before the first
        self.place = nn.Embedding(length, config.width)
        self.told = nn.Linear(told, config.width, bias=False) if told else None
        layers = [Layer(config) for _ in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm, self.head = nn.LayerNorm(config.width), nn.Linear(config.width, size * depth)
        for net in (self.token, self.place, self.head):
            nn.init.normal_(net.weight, 0, 0.02)
        for layer in layers:  # what is added to one row by all layers begins as large as that of one
            for part in (layer.attended, layer.narrow):
                nn.init.normal_(part.weight, 0, 0.02 / math.sqrt(2 * config.layers))
                nn.init.zeros_(part.bias)

    def log_prob(self, tokens: Tensor, told: Tensor | None = None) -> Tensor:
        """log P of tokens (N, length), int64, each given those before it: nats, (N, length).

        Args:
            told: rows (N or 1, told); None: of nothing.
        """
        before = F.pad(tokens[:, :-1], (1, 0))
        logits = self._logits(self._after(before, 0, told), 0)
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    def sample(self, u: Tensor, told: Tensor | None = None) -> Tensor:
        """Tokens (N, length), int64, by the inverse of their distribution functions at u (N, length), within [0, 1)."""
        n = len(u)
        tokens = torch.zeros(n, self.length + 1, dtype=torch.int64, device=u.device)
        heads, width = self.config.heads, self.config.width
        known = u.new_empty((len(self.layers), 2, n, heads, self.length, width // heads))
        for t in range(self.length):
            x = self._after(tokens[:, t : t + 1], t, told, known)
            share = self._logits(x, t)[:, 0].double().softmax(-1).cumsum(-1)
            # the last share is 1 but for rounding
            tokens[:, t + 1] = torch.searchsorted(share, u[:, t : t + 1].double())[:, 0].clamp(max=self.size - 1)
        return tokens[:, 1:]

    def _after(self, before: Tensor, at: int, told: Tensor | None, known: Tensor | None = None) -> Tensor:
        """What the layers make of places from `at` on, of the token before each, (N, T) -> (N, T, width)."""
        places = torch.arange(at, at + before.shape[1], device=before.device)
        start = self.size * self.depth
        x = self.token(torch.where(places == 0, start, before + (places - 1) % self.depth * self.size))
        x = x + self.place(places)
        if told is not None and self.told is not None and at == 0:
            x = x + F.pad(self.told(told)[:, None], (0, 0, 0, x.shape[1] - 1))
        for number, layer in enumerate(self.layers):
            x = layer(x, None if known is None else known[number], at)
        normed: Tensor = self.norm(x)
        return normed

    def _logits(self, x: Tensor, at: int) -> Tensor:
        """Of the token at each place from `at` on, float32 (N, T, size)."""
        logits = self.head(x).float()
        if self.depth == 1:
            return logits  # type: ignore[no-any-return]
        logits = logits.unflatten(-1, (self.depth, self.size))
        levels = torch.arange(at, at + x.shape[1], device=x.device) % self.depth
        return logits[:, torch.arange(x.shape[1], device=x.device), levels]  # type: ignore[no-any-return]
