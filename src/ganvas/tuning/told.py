"""What a search's figures can tell: which values of each setting are no worse than the best, as far as one can see.

A Gaussian process is fitted to all figures, over the settings and the length of the training. Its noise is learnt from
them: that of seeds and of the images that judge. A value of a setting is told from the best if the model that is best
with it, whatever the others are then, is worse with 95 %.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganvas.evaluate.figures import Z
from ganvas.tuning.space import Axis, shown

GRID = 33  # values of a setting that are looked at
AROUND, CANDIDATES = 8, 256  # settings that a value is tried with: the best that were tried, and drawn ones
LEAST = 6  # figures that a process is fitted to
Floats = NDArray[np.float64]


class Row(NamedTuple):
    """A figure.

    Attributes:
        settings: of the training.
        minutes: that it took.
        value: the less the better; infinite where it failed.
    """

    settings: Mapping[str, Any]
    minutes: float
    value: float


class Told(NamedTuple):
    """What is known of a setting.

    Attributes:
        axis: the setting.
        best: its value in the best settings.
        values: that were looked at, in order.
        worse: by how much each is worse than the best, as `warped` has it.
        error: standard error of that.
    """

    axis: Axis
    best: Any
    values: list[Any]
    worse: Floats
    error: Floats

    @property
    def equal(self) -> list[Any]:
        """Those that can't be told from the best."""
        return [value for value, far, sd in zip(self.values, self.worse, self.error, strict=True) if far <= Z * sd]

    def __str__(self) -> str:
        equal, name = self.equal, self.axis.name
        if len(equal) == len(self.values):
            return f"{name}: all of {self.axis.words} can't be told apart"
        if self.axis.choices:
            if len(equal) == 1:
                return f"{name}: {equal[0]} is better than {', '.join(str(v) for v in self.values if v not in equal)}"
            return f"{name}: {', '.join(map(str, equal))} can't be told apart"
        # The values are of one piece where the process is; where it is not, what holds the best one is said.
        inside = sorted({*equal, self.best})
        return f"{name}: {shown(inside[0])} to {shown(inside[-1])} can't be told apart"


def tell(axes: Sequence[Axis], rows: Sequence[Row], best: Mapping[str, Any], seed: int = 0) -> list[Told]:
    """What is known of each setting; nothing of fewer than 6 figures.

    Args:
        axes: what was varied.
        rows: all figures.
        best: the best settings of those that were trained longest.
        seed: of the settings that values are tried with.
    """
    if len(rows) < LEAST:
        return []
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    longest = max(row.minutes for row in rows)
    spans = max(1.0, math.log(longest / min(row.minutes for row in rows)))

    def places(settings: Mapping[str, Any], minutes: float) -> list[float]:
        own = [part for axis in axes for part in axis.place(settings[axis.name])]
        return [*own, math.log(longest / minutes) / spans]

    x = np.array([places(row.settings, row.minutes) for row in rows])
    y = warped(rows)
    smooth = Matern(np.ones(x.shape[1]), [(0.1, 30.0)] * x.shape[1], nu=2.5)
    kernel = ConstantKernel(1.0, (0.05, 100.0)) * smooth + WhiteKernel(0.1, (1e-4, 2.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a setting that does nothing
        process.fit(x, y)
    widened = _widened(process, x)

    generator = np.random.default_rng(seed)
    grids = {axis.name: axis.grid(GRID) for axis in axes}
    drawn = [{name: grid[generator.integers(len(grid))] for name, grid in grids.items()} for _ in range(CANDIDATES)]
    tried = [dict(rows[i].settings) for i in np.argsort(y)[:AROUND]]
    around = [dict(best), *tried, *drawn]
    found = []
    for axis in axes:
        values = grids[axis.name]
        if best[axis.name] not in values:
            values = sorted([*values, best[axis.name]])
        at = []
        for value in values:
            those = np.array([places({**each, axis.name: value}, longest) for each in around])
            at.append(those[int(np.argmin(process.predict(those)))])
        # The best of all is the best of these: so no value is worse than it by less than nothing.
        mean, covariance = process.predict(np.array(at), return_cov=True)
        # With a WhiteKernel it is that of a new figure, its noise too; what is asked for is the model's.
        covariance[np.diag_indices_from(covariance)] -= process.kernel_.k2.noise_level * y.var()
        top = int(np.argmin(mean))
        variance = np.diag(covariance) + covariance[top, top] - 2 * covariance[top]
        error = np.sqrt(np.maximum(variance, 0.0))
        found.append(Told(axis, best[axis.name], values, mean - mean[top], widened * error))
    return found


def _widened(process: Any, x: Floats) -> float:
    """By how much errors are larger as the noise was learned from few figures: it has the degrees of freedom that the
    process has not taken, the trace of its smoother, as in a linear regression; and Student's t has them."""
    from scipy import stats  # type: ignore[import-untyped]  # which scikit-learn brings

    smooth, noise = process.kernel_.k1(x), process.kernel_.k2.noise_level
    taken = float(np.trace(np.linalg.solve(smooth + (noise + 1e-9) * np.eye(len(x)), smooth)))
    left = max(1.0, len(x) - taken)
    return float(stats.t.ppf(0.975, left)) / Z * math.sqrt(len(x) / left)


def warped(rows: Sequence[Row]) -> Floats:
    """Figures by how far they are above the least one, in units of their median: plain below it, then a logarithm.

    So trainings that failed, or nearly, don't decide how the good ones are told apart. One that failed counts as the
    worst that did not.
    """
    values = np.array([row.value for row in rows])
    values[~np.isfinite(values)] = values[np.isfinite(values)].max()
    above: Floats = values - values.min()
    unit = float(np.median(above))
    return np.asarray(np.arcsinh(above / unit) if unit > 0 else above)
