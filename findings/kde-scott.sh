#!/usr/bin/env bash
# A Parzen window takes its width by Scott's or Silverman's rule. One expects the rule of scikit-learn's KernelDensity to be
# that of SciPy's gaussian_kde, as both have the name and on standard normal data agree. scikit-learn's width is the
# factor n^(-1/(d + 4)) alone, whatever the data's spread: 0.25 of 1,000 numbers, be their deviation 0.01 or 100. SciPy
# multiplies the factor by the data's covariance. On data in [0, 1], as images and codes often are, scikit-learn's smears
# all structure away, and on wide data it overfits: log-likelihoods are off by 0.5 to 7 nats of one number, without a word.
# scikit-learn 1.9.1, SciPy 1.17.1. ganvas's Parzen figure is not touched: it chooses the width on validation images.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q scikit-learn==1.9.1 scipy==1.17.1 numpy
"$dir/env/bin/python" - <<'PYTHON'
import numpy as np
import scipy
import sklearn
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

print("scikit-learn", sklearn.__version__, "SciPy", scipy.__version__)
seen = []
for deviation in (0.01, 0.1, 1.0, 100.0):
    train, test = np.random.default_rng(0).normal(0, deviation, (2, 1000, 1))
    truth = (-0.5 * (test / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))).mean()
    for rule in ("scott", "silverman"):
        ours, theirs = KernelDensity(bandwidth=rule).fit(train), gaussian_kde(train.T, rule)
        widths = ours.bandwidth_, float(np.sqrt(theirs.covariance[0, 0]))
        lost = [truth - figure.mean() for figure in (ours.score_samples(test), theirs.logpdf(test.T))]
        seen.append((deviation, widths[0], *lost))
        print(
            f"1,000 numbers of deviation {deviation:<5g} {rule:9} width: scikit-learn {widths[0]:.3g}, SciPy {widths[1]:.3g}; "
            f"nats below the true density: {lost[0]:.2f}, {lost[1]:.2f}"
        )
one_width = len({round(width, 3) for _, width, *_ in seen}) == 2  # one for each rule
far = all(sklearn_lost > 0.4 for deviation, _, sklearn_lost, _ in seen if deviation != 1)
near = all(scipy_lost < 0.05 for *_, scipy_lost in seen) and all(lost < 0.05 for deviation, _, lost, _ in seen if deviation == 1)
raise SystemExit(not (one_width and far and near))
PYTHON
