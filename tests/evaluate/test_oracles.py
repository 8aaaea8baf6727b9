"""The measures and the network of FID beside what others published: torch-fidelity, torchmetrics, prdc."""

import contextlib
import importlib.util
import io
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.evaluate import density_coverage, frechet_distance, precision_recall
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.evaluate.networks import inception

TORCHVISION = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
SETS = [(200, 150, 3, 0.0), (300, 300, 10, 0.5)]  # real rows, samples, features, how far apart


@pytest.fixture(scope="module")
def fidelity() -> Any:
    """torch-fidelity. It imports torchvision, of which the parts used here need nothing."""
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("torch-fidelity is not installed; `make setup` does")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in TORCHVISION:
            patch.setitem(sys.modules, name, MagicMock())
        from torch_fidelity import feature_extractor_inceptionv3, metric_fid, metric_kid, metric_prc
    return SimpleNamespace(inception=feature_extractor_inceptionv3, fid=metric_fid, kid=metric_kid, prc=metric_prc)


@pytest.fixture(scope="module")
def torchmetrics(request: pytest.FixtureRequest) -> Any:
    """The modules `fid` and `kid` of torchmetrics, which imports torch-fidelity where that is installed."""
    if importlib.util.find_spec("torch_fidelity"):
        request.getfixturevalue("fidelity")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchmetrics.image")


def two_sets(n: int, m: int, d: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(n)
    mixed = random.standard_normal((d, d))
    return random.standard_normal((n, d)) @ mixed, random.exponential(size=(m, d)) @ mixed + shift


def by_prdc(real: Any, fake: Any, k: int) -> dict[str, float]:
    prdc = pytest.importorskip("prdc")
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, float] = prdc.compute_prdc(real, fake, k)
    return found


def test_inception(fidelity: Any, accepted: Path) -> None:
    other = fidelity.inception.FeatureExtractorInceptionV3("", ["2048", "logits"], str(accepted))
    net = inception.load(accepted)
    for shape in ((1, 28, 28), (3, 64, 40), (3, 310, 299)):
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8))
        with torch.inference_mode():
            expected, logits = other(images.expand(-1, 3, -1, -1))
        found = inception.extract(net, images / 255)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        torch.testing.assert_close(net.fc(found), logits, rtol=1e-5, atol=1e-5 * float(logits.abs().max()))
        assert expected.diff(dim=0).abs().max() > 1e-2 * expected.abs().max()  # they tell the images apart


@pytest.mark.parametrize(("n", "m", "d", "shift"), SETS)
class TestMeasures:
    def test_frechet_distance_of_torch_fidelity(self, fidelity: Any, n: int, m: int, d: int, shift: float) -> None:
        real, fake = two_sets(n, m, d, shift)
        moments = [fidelity.fid.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (real, fake)]
        other = fidelity.fid.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
        assert frechet_distance(real, fake) == pytest.approx(other, rel=1e-6)

    def test_frechet_distance_of_torchmetrics(self, torchmetrics: Any, n: int, m: int, d: int, shift: float) -> None:
        given = nn.Identity()
        given.num_features = d  # type: ignore[assignment]
        metric = torchmetrics.fid.FrechetInceptionDistance(feature=given).set_dtype(torch.float64)
        real, fake = two_sets(n, m, d, shift)
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(fake), real=False)
        assert frechet_distance(real, fake) == pytest.approx(float(metric.compute()), rel=1e-6)

    def test_kernel_distance_of_torch_fidelity(self, fidelity: Any, n: int, m: int, d: int, shift: float) -> None:
        """One subset of all rows; it takes as many of each kind."""
        real, fake = (torch.from_numpy(rows[: min(n, m)]) for rows in two_sets(n, m, d, shift))
        settings = {"kid_subsets": 1, "kid_subset_size": len(real), "verbose": False}
        other = fidelity.kid.kid_features_to_metric(real, fake, **settings)["kernel_inception_distance_mean"]
        assert kernel_distance(real, fake)[0] == pytest.approx(other, rel=1e-6)

    def test_kernel_distance_of_torchmetrics(self, torchmetrics: Any, n: int, m: int, d: int, shift: float) -> None:
        pytest.importorskip("torch_fidelity")  # torchmetrics has this distance with it alone
        real, fake = (torch.from_numpy(rows[: min(n, m)]) for rows in two_sets(n, m, d, shift))
        other = torchmetrics.kid.poly_mmd(real, fake)
        assert kernel_distance(real, fake)[0] == pytest.approx(float(other), rel=1e-6)

    @pytest.mark.parametrize("k", [1, 3])
    def test_precision_recall(self, fidelity: Any, n: int, m: int, d: int, shift: float, k: int) -> None:
        real, fake = two_sets(n, m, d, shift)
        rows = (torch.from_numpy(fake), torch.from_numpy(real))
        other = fidelity.prc.prc_features_to_metric(*rows, prc_neighborhood=k, verbose=False)
        found = precision_recall(real, fake, k)
        assert found == pytest.approx({name: other[name] for name in found}, rel=1e-6)
        assert 0 < min(found.values()) < 1

    @pytest.mark.parametrize("k", [1, 5])
    def test_all_four_of_prdc(self, n: int, m: int, d: int, shift: float, k: int) -> None:
        """Its balls of precision and recall are open, ours closed: the same, where no row lies on one."""
        real, fake = two_sets(n, m, d, shift)
        found = precision_recall(real, fake, k) | density_coverage(real, fake, k)
        assert found == pytest.approx(by_prdc(real, fake, k), rel=1e-6)
        assert min(found.values()) > 0 and found["density"] != 1


def test_a_sample_on_the_edge_of_a_ball() -> None:
    """Precision and recall have closed balls (Kynkaanniemi et al. 2019, equation 1), those of prdc are open."""
    real, fake = np.array([[0.0], [1], [9]]), np.array([[17.0], [30], [40]])  # the ball around 9 is [1, 17]
    prdc = by_prdc(real, fake, 1)
    assert precision_recall(real, fake, 1)["precision"] == 1 / 3 and prdc["precision"] == 0
    assert {*density_coverage(real, fake, 1).values(), prdc["density"], prdc["coverage"]} == {0}


def test_ties_are_not_left_to_rounding() -> None:
    """On a grid many distances are equal. In steps of 1 both sides see that, in steps of 0.1 only ours does."""
    random = np.random.default_rng(0)
    real, fake = (random.integers(0, 8, (60, 3)).astype(float) for _ in range(2))
    found = density_coverage(real, fake)
    prdc = by_prdc(real, fake, 5)
    assert found == pytest.approx({name: prdc[name] for name in found}, rel=1e-6)
    assert density_coverage(real / 10, fake / 10) == found
    assert by_prdc(real / 10, fake / 10, 5)["density"] != prdc["density"]
