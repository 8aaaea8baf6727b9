"""Images that are alike, and images that are there twice."""

import io
import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from ganvas.data import Dataset, load
from ganvas.data.loader import to_tensor
from ganvas.ground.errors import UserError
from ganvas.latent import collection
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.nets.mlp import MLP


def encoder(kind: str = "vae", shape: tuple[int, ...] = (1, 16, 16)) -> Any:
    torch.manual_seed(0)
    how: dict[str, Any] = {"latent_dim": 6, "net": MLP(hidden=(20,))}
    return VAEModel(VAE(**how), shape) if kind == "vae" else AutoencoderModel(Autoencoder(**how), shape)


def photographs(n: int = 60, channels: int = 1) -> np.ndarray:
    """Soft shapes, (n, 16, 16, C): no two are alike."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (n, 5, 5, channels), np.uint8)
    made = [np.asarray(Image.fromarray(one.squeeze()).resize((16, 16), Image.Resampling.BICUBIC)) for one in small]
    return np.stack(made).reshape(n, 16, 16, channels)


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=90, subsampling=0)
    return np.asarray(Image.open(file)).reshape(image.shape)


COPIES = {
    "equal": lambda image: image,
    "JPEG": jpeg,
    "moved right": lambda image: np.pad(image, ((0, 0), (1, 0), (0, 0)), "edge")[:, :-1],
    "moved up and left": lambda image: np.pad(image, ((0, 1), (0, 1), (0, 0)), "edge")[1:, 1:],
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "paler": lambda image: (image * 0.5 + 100).astype(np.uint8),
}


def sources(dataset: Dataset) -> np.ndarray:
    return np.concatenate([split.order for split in dataset.splits.values()])


@pytest.mark.parametrize("channels", [1, 3])
def test_planted_copies_are_found_and_nothing_else(channels: int) -> None:
    images = photographs(60, channels)
    made = [copy(images[3 * i]) for i, copy in enumerate(COPIES.values())]
    dataset = load(np.concatenate([images, np.stack(made)]))
    found = collection.collect(encoder(shape=(channels, 16, 16)), dataset)
    groups = collection.duplicates(found)
    places = sources(dataset)
    assert {tuple(sorted(places[group.places])) for group in groups} == {(3 * i, 60 + i) for i in range(len(COPIES))}
    for group in groups:
        equal = sorted(places[group.places]) == [0, 60]
        assert group.exact.tolist() == [True, equal]
        assert group.alike[0] == 1 and (group.alike[1] == 1 if equal else collection.ALIKE <= group.alike[1] <= 1.00001)


def test_the_worst_group_comes_first_and_copies_of_copies_are_in_it() -> None:
    images = photographs(20)
    more = [images[4], images[7], jpeg(images[7]), COPIES["darker"](jpeg(images[7]))]
    dataset = load(np.concatenate([images, np.stack(more)]))
    groups = collection.duplicates(collection.collect(encoder(), dataset))
    assert [sorted(sources(dataset)[group.places]) for group in groups] == [[7, 21, 22, 23], [4, 20]]


def test_images_of_one_value_are_one_only_if_they_are_equal() -> None:
    flat = np.stack([np.full((16, 16, 1), level, np.uint8) for level in (0, 90, 90, 200)])
    dataset = load(flat, range=(0, 255))
    groups = collection.duplicates(collection.collect(encoder(), dataset))
    assert [sorted(sources(dataset)[group.places]) for group in groups] == [[1, 2]]


def test_correlation_is_numpy_s_over_all_shifts() -> None:
    one, other = torch.rand(5, 2, 7, 6), torch.rand(5, 2, 7, 6)
    other[1] = 0.3 * one[1].roll((1, -1), (1, 2)) + 0.1
    found = collection.correlation(one, other)
    for a, b, value in zip(one.numpy(), other.numpy(), found, strict=True):
        shifts = itertools.product(range(3), range(3))
        each = [np.corrcoef(a[:, 1:-1, 1:-1].ravel(), b[:, y : y + 5, x : x + 4].ravel())[0, 1] for y, x in shifts]
        assert float(value) == pytest.approx(max(each), abs=1e-5)
    assert float(found[1]) == pytest.approx(1, abs=1e-5)


def test_a_spectrum_does_not_see_place_brightness_and_contrast() -> None:
    images = torch.rand(3, 1, 16, 16)
    moved = collection.spectrum(0.5 * images.roll((1, -1), (2, 3)) + 0.2)
    torch.testing.assert_close(moved, collection.spectrum(images), atol=1e-5, rtol=1e-4)
    assert torch.allclose(moved.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_the_nearest_by_codes(kind: str) -> None:
    dataset, model = load(photographs()), encoder(kind)
    found = collection.collect(model, dataset)
    images = np.concatenate([split.images for split in dataset.splits.values()])
    mean, log_variance = model.posterior(to_tensor(images))
    spread = np.sqrt(mean.detach().numpy().var(0) + log_variance.exp().mean(0).detach().numpy())
    codes = mean.detach().numpy() / spread
    np.testing.assert_allclose(found.codes, codes, rtol=1e-4, atol=1e-5)
    asked = to_tensor(images[[7, 59]])
    distances, places = collection.similar(found, model, asked, k=4)
    table = cdist(codes[[7, 59]], codes)
    np.testing.assert_array_equal(places, table.argsort(1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(table, 1)[:, :4], atol=1e-4)
    assert places[:, 0].tolist() == [7, 59]


def test_places_lead_to_images_names_and_splits() -> None:
    dataset = load(photographs(30))
    found = collection.collect(encoder(), dataset)
    places = np.array([29, 0, 17])
    images = np.concatenate([split.images for split in dataset.splits.values()])
    torch.testing.assert_close(found.images(places), to_tensor(images[places]))
    n = len(dataset.splits["train"])
    assert found.names(places) == [f"test:{len(dataset.splits['test']) - 1}", "train:0", f"train:{17}"]
    assert found.splits(places) == ["test", "train", "train"] and n > 17


def test_a_dimension_that_says_nothing_does_not_count() -> None:
    """Its means hardly differ: over their own deviation alone they would be noise as large as all else."""
    model = encoder()
    with torch.no_grad():
        *_, last = (layer for layer in model.encoder.modules() if isinstance(layer, torch.nn.Linear))
        last.weight[0] *= 1e-4  # the mean of the first dimension
        last.weight[6], last.bias[6] = 0, 0  # and its log-variance
    codes = collection.collect(model, load(photographs())).codes
    assert codes.std(0)[0] < 0.01


@pytest.mark.parametrize("n", [3, 4])
def test_few_images(n: int) -> None:
    dataset = load(photographs(n))
    found = collection.collect(encoder(), dataset)
    assert collection.duplicates(found) == []
    with pytest.raises(UserError, match=f"9 nearest of {n} images"):
        collection.similar(found, encoder(), photographs(1), k=9)


def test_rows_of_numbers_have_no_duplicates() -> None:
    model = AutoencoderModel(Autoencoder(latent_dim=2, net=MLP(hidden=(4,))), (2,))
    found = collection.collect(model, load(np.random.default_rng(0).random((30, 2))))
    with pytest.raises(UserError, match="rows of numbers"):
        collection.duplicates(found)


FLAT = """
import resource
import numpy as np
import torch
from types import SimpleNamespace
from ganvas.latent import collection
from ganvas.data import Split
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel
from ganvas.parts.nets.mlp import MLP

model = AutoencoderModel(Autoencoder(latent_dim=4, net=MLP(hidden=(8,))), (1, 16, 16))

def peak(n):
    images = np.broadcast_to(np.zeros((1, 16, 16, 1), np.uint8), (n, 16, 16, 1))
    data = collection.Dataset("d", "d", {"train": Split(images, None)}, (1, 16, 16), None, None, "", (), "")
    collection.similar(collection.collect(model, data), model, torch.zeros(1, 1, 16, 16), k=3)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

few = peak(2_000)
print(peak(100_000) - few)
"""


def test_memory_holds_codes_and_not_images() -> None:
    """98,000 more of 1,024 bytes as floats would be 100 MB; their codes take 1.6, and thrice as much in float64."""
    done = subprocess.run([sys.executable, "-c", FLAT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 25e6
