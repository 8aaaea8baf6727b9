"""One ELBO for both sides: of six weight matrices and their biases, whoever trained them. Runs in both environments."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 10
PROTOCOL = (
    f"ELBO: nats per image, mean over the 10,000 test images, statically binarised (one draw, the same 0/1 for both "
    f"sides in training and test); log p(x|z) Bernoulli summed over pixels, KL in closed form, {SAMPLES} draws of z "
    f"per image, float32; one function computes it from either side's weights."
)


@torch.inference_mode()
def elbo(weights: list[Tensor], images: np.ndarray, seed: int = 0) -> float:
    """The mean ELBO of images (N, 784) of 0 and 1.

    Args:
        weights: W, b of the encoder's three layers, then the decoder's; the encoder ends in mean, log-variance.
        images: (N, 784).
        seed: of z.
    """
    layers = [w.detach().float().cpu() for w in weights]
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for part in np.array_split(images, max(1, len(images) // 1000)):
        x = torch.from_numpy(part).float()
        mean, log_variance = _mlp(layers[:6], x).chunk(2, -1)
        total -= float((0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)).sum())
        for _ in range(SAMPLES):
            z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=generator)
            logits = _mlp(layers[6:], z)
            total += float((x * logits - F.softplus(logits)).sum()) / SAMPLES
    return total / len(images)


def _mlp(layers: list[Tensor], x: Tensor) -> Tensor:
    for i in range(0, len(layers), 2):
        x = F.linear(x if i == 0 else x.relu(), layers[i], layers[i + 1])
    return x
