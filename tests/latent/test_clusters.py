"""Clusters of planted codes: how many there are, who belongs where, and what is refused."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from ganvas.data import load
from ganvas.ground.errors import UserError
from ganvas.latent import clusters
from ganvas.latent.collection import Collection

N = 1500


def collection(codes: np.ndarray) -> Collection:
    """Codes in the order in which the splits have the images."""
    dataset = load(np.zeros((len(codes), 2, 2), np.uint8), progress=False)
    return Collection(dataset, codes.astype(np.float32), torch.ones(codes.shape[1]))


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three normals of different covariances and a bent band, in five dimensions and one that says nothing."""
    random = np.random.default_rng(seed)
    parts = [random.normal(0, 1, (N, 5)) @ np.diag(scale) for scale in ([1, 1, 1, 1, 1], [2, 0.5, 1, 1, 0.3])]
    angle = random.uniform(0, 2, N)
    band = np.stack([8 * np.cos(angle), 8 * np.sin(angle), *random.normal(0, 1, (3, N))], 1)
    band[:, :2] += random.normal(0, 0.5, (N, 2))
    parts = [parts[0] + [0, -12, 0, 0, 0], parts[1] + [0, 0, 8, 0, 0], parts[1][::-1] - [0, 0, 8, 0, 0], band]
    codes = np.concatenate(parts)
    return np.c_[codes, random.normal(0, 0.001, len(codes))], np.repeat(np.arange(4), N)


@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_are_found_and_a_bent_one_is_one(seed: int) -> None:
    codes, truth = planted(seed)
    found = clusters.cluster(collection(codes), seed=seed)
    assert len(found) == 4 and adjusted_rand_score(truth, found.of) > 0.99
    assert max(found.normals) > 1, "the bent one takes several normals"
    assert found.next[0] <= clusters.CONFUSED < found.next[1]


def test_codes_of_one_normal_are_one_cluster() -> None:
    found = clusters.cluster(collection(np.random.default_rng(0).normal(size=(2000, 8))))
    assert len(found) == 1 and found.confusion == [0.0] and (found.probability == 1).all()


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_as_many_as_are_asked_for(n: int) -> None:
    codes, truth = planted(0)
    found = clusters.cluster(collection(codes), n)
    assert len(found) == n == len(set(found.of.tolist()))
    sizes = np.bincount(found.of)
    assert (np.diff(sizes) <= 0).all(), "the largest first"
    if n <= 4:
        assert adjusted_rand_score(truth, found.of) >= (0.3, 0.45, 0.65, 0.99)[n - 1] - 0.31


@pytest.mark.parametrize("apart", [1.0, 2.0, 3.5])
def test_confusion_of_two_normals_is_the_normal_distribution_s_tail(apart: float) -> None:
    """Equal normals that are `apart` away: each is taken for the other beyond the middle, by Phi(-apart / 2)."""
    random = np.random.default_rng(0)
    x = random.normal(0, 1, 200_000) + apart * (np.arange(200_000) % 2)
    own = stats.norm.pdf(x[:, None], [0.0, apart])
    found = clusters.confusion(own / own.sum(1, keepdims=True))
    tail = stats.norm.cdf(-apart / 2)
    np.testing.assert_allclose(found, [[1 - tail, tail], [tail, 1 - tail]], atol=0.003)


def test_those_that_are_confused_most_are_merged_first() -> None:
    """By hand: 0 and 1 share the first six codes, 2 and 3 are hardly confused, 4 with nobody."""
    probability = np.array(
        [[0.6, 0.4, 0, 0, 0]] * 3 + [[0.4, 0.6, 0, 0, 0]] * 3
        + [[0, 0, 0.9, 0.1, 0]] * 5 + [[0, 0, 0.1, 0.9, 0]] * 5 + [[0, 0, 0, 0, 1.0]] * 5
    )  # fmt: skip
    assert clusters.confusion(probability)[0, 1] == pytest.approx(0.4)
    assert clusters.confusion(probability)[2, 3] == pytest.approx(0.1)
    assert clusters.merged(probability.copy(), None, 0.2) == ([[0, 1], [2], [3], [4]], pytest.approx((0.1, 0.4)))
    assert clusters.merged(probability.copy(), None, 0.05)[0] == [[0, 1], [2, 3], [4]]
    assert sorted(map(len, clusters.merged(probability.copy(), 2, 0.05)[0])) in ([1, 4], [2, 3])


def test_codes_far_from_0_and_of_another_scale_are_grouped_alike() -> None:
    codes, _ = planted(1)
    first = clusters.cluster(collection(codes))
    other = clusters.cluster(collection(codes * 40 + 700))
    assert adjusted_rand_score(first.of, other.of) > 0.99


def test_few_images_of_many_dimensions() -> None:
    random = np.random.default_rng(0)
    codes = random.normal(size=(60, 64)) + 9 * (np.arange(60) % 2)[:, None]
    found = clusters.cluster(collection(codes))
    assert len(found) == 2 and adjusted_rand_score(np.arange(60) % 2, found.of) == 1


def test_what_has_no_clusters_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(UserError, match="19 images: clusters take 20 or more"):
        clusters.cluster(collection(codes[:19]))
    with pytest.raises(UserError, match="30 clusters of 40 images: it takes more images, or fewer"):
        clusters.cluster(collection(codes), 30)
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[cluster\]'"):
        clusters.cluster(collection(codes))


def test_a_table_and_a_page(tmp_path: Path) -> None:
    dataset = load("digits")
    labels = np.concatenate([split.labels for split in dataset.splits.values()])  # type: ignore[misc]
    codes = np.random.default_rng(0).normal(size=(len(labels), 3)) + 20 * np.eye(3)[labels % 3]
    here = Collection(dataset, codes.astype(np.float32), torch.ones(3))
    found = clusters.cluster(here)
    clusters.write_table(tmp_path / "clusters.csv", found, here)
    with (tmp_path / "clusters.csv").open(newline="") as file:
        rows: list[Any] = list(csv.DictReader(file))
    assert [int(row["cluster"]) for row in rows] == found.of.tolist()
    ranks = [int(row["typical"]) for row in rows if row["cluster"] == "1"]
    assert sorted(ranks) == list(range(1, len(ranks) + 1))
    said = clusters.lines(found, here)
    assert dict(said)["clusters"].startswith("3 of 1,797")
    text = clusters.page(found, here, said, 5)
    assert text.count("<figure") == 3 and text.count("data:image/png") == 6
    assert "class " in text and f"{max(np.bincount(found.of)):,} images" in text
