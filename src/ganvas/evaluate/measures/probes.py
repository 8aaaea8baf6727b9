"""What simple classifiers find in codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Positive

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)  # to choose from, on validation codes
Labels = NDArray[np.int64]


@checked
def linear_probe(train: Any, labels: Any, test: Any, decay: Positive = 1e-4) -> Labels:
    """The labels (T,) that logistic regression on codes gives to others (Alain & Bengio 2016).

    Minimises the mean cross-entropy + decay / 2 |W|^2 over the training codes, each dimension scaled to mean 0 and
    variance 1; float64, L-BFGS. It equals scikit-learn's LogisticRegression of those codes with C = 1 / (N decay).

    Args:
        train: codes (N, d).
        labels: whole numbers (N,), 0 to K - 1.
        test: codes (T, d).
        decay: of the weights, not of the biases.

    Raises:
        UserError: NaN, different d, labels that are none or of one value, a decay that is not positive.
    """
    train, test, labels = _checked(train, labels, test)
    centre, scale = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale[scale == 0] = 1
    x, y = torch.from_numpy((train - centre) / scale), torch.from_numpy(labels)
    classes = int(y.max()) + 1
    with torch.enable_grad():
        weight = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=500, tolerance_grad=1e-6, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def cost() -> torch.Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(x @ weight + bias, y) + 0.5 * decay * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(cost)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scores = torch.from_numpy((test - centre) / scale) @ weight + bias
    return np.asarray(scores.argmax(1), np.int64)


@checked
def k_nearest(train: Any, labels: Any, test: Any, k: Count = 5) -> Labels:
    """The labels (T,) that the k nearest training codes give to others; of as many votes the smaller label.

    Args:
        train: codes (N, d).
        labels: whole numbers (N,), 0 to K - 1.
        test: codes (T, d).
        k: how many vote.

    Raises:
        UserError: NaN, different d, labels that are none or of one value, a k that is not from 1 to N.
    """
    train, test, labels = _checked(train, labels, test)
    if not 1 <= k <= len(train):
        raise UserError(f"k is {k}; 1 to {len(train)}, the training codes, are possible.")
    votes = labels[nearest(test, train, k)[1]]
    counts = np.zeros((len(test), int(labels.max()) + 1), np.int64)
    np.add.at(counts, (np.arange(len(test))[:, None], votes), 1)
    found: Labels = counts.argmax(1)
    return found


def _checked(train: Any, labels: Any, test: Any) -> tuple[Array, Array, Labels]:
    train, test = checks.features(train=train, test=test)
    labels = checks.array(labels)
    if labels.shape != (len(train),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UserError(f"labels of shape {labels.shape}, {labels.dtype}: whole numbers ({len(train)},) from 0 needed.")
    if labels.min() == labels.max():
        raise UserError(f"all labels are {labels[0]}: there is nothing to tell apart.")
    return train, test, labels.astype(np.int64)
