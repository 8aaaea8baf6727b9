#!/usr/bin/env bash
# scikit-learn's GaussianProcessRegressor: whether predict(return_std=True) is of the function or of a new noisy observation depends on
# how the same noise was said. As `alpha` it is of the function; as a WhiteKernel in the kernel it is of an observation, and
# predict(return_cov=True) has the noise on its diagonal, even at points that were observed. So the standard deviation of a difference of two
# predictions jumps, from 0 for a point with itself to sqrt(2) times the noise for two that are next to each other. The documentation of
# `alpha` calls it equivalent to adding a WhiteKernel, which it is for the fit and the mean. scikit-learn 1.9.1, Python 3.11.
# ganvas finds by such a process which settings can't be told apart (tuning/told.py): it takes the noise from the diagonal again; with it,
# nothing could be told apart that the noise of a single training hides. Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q scikit-learn==1.9.1
"$dir/env/bin/python" - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

noise = 0.25
x = np.repeat(np.linspace(0, 1, 5), 40)[:, None]  # 40 observations of each point
y = np.sin(3 * x[:, 0]) + np.sqrt(noise) * np.random.default_rng(0).normal(size=len(x))
at = np.array([[0.5], [0.501]])
found = {}
for name, kernel, alpha in (
    ("alpha", RBF(1.0, "fixed"), noise),
    ("WhiteKernel", RBF(1.0, "fixed") + WhiteKernel(noise, "fixed"), 1e-10),
):
    process = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(x, y)
    mean, covariance = process.predict(at, return_cov=True)
    apart = float(np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    found[name] = mean, float(np.sqrt(covariance[0, 0])), apart
print("scikit-learn", sklearn.__version__, "noise's standard deviation", noise**0.5)
for name, (mean, deviation, apart) in found.items():
    print(f"{name}: mean {mean[0]:.4f}, its standard deviation {deviation:.4f}, of the difference 0.001 away {apart:.4f}")
same = np.allclose(found["alpha"][0], found["WhiteKernel"][0])
small = found["alpha"][1] < 0.1 and found["alpha"][2] < 0.01
large = found["WhiteKernel"][1] > noise**0.5 and abs(found["WhiteKernel"][2] - (2 * noise) ** 0.5) < 0.01
raise SystemExit(not (same and small and large))
PYTHON
