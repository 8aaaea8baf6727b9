import subprocess
import sys

import numpy as np
import pytest

from ganvas.data import avatars, describe, load, names
from ganvas.ground.errors import UserError


def sizes(dataset) -> list[int]:
    return [len(dataset.splits[name]) for name in ("train", "validation", "test")]


def test_names_are_described():
    known = names()
    assert {"mnist", "fashion-mnist", "digits", "avatars", "stacked-mnist", "ring", "grid"} <= set(known)
    assert all(len(text) > 20 for text in known.values())


def test_unknown_name():
    with pytest.raises(UserError, match=r"unknown data set 'mnits'\. Did you mean 'mnist'\?.*path.*no '.*mnits'"):
        load("mnits")


def test_not_a_set_and_wrong_settings(tmp_path):
    (tmp_path / "one.txt").touch()
    with pytest.raises(UserError, match="neither a folder, nor"):
        load(tmp_path / "one.txt")
    with pytest.raises(UserError, match="size is 0; give a side"):
        load("digits", size=0)
    with pytest.raises(UserError, match=r"size is \(8, 8, 8\)"):
        load("digits", size=(8, 8, 8))
    with pytest.raises(UserError, match="channels is 2"):
        load("digits", channels=2)
    with pytest.raises(UserError, match="has its own labels"):
        load("digits", labels=np.zeros(1797, int))


def test_importing_and_listing_needs_neither_torch_nor_pillow():
    code = "import sys; from ganvas.data import names; names(); print({'torch', 'PIL', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_digits():
    dataset = load("digits")
    assert sizes(dataset) == [1297, 250, 250] and dataset.shape == (1, 8, 8) and len(dataset.classes) == 10
    stored = np.concatenate([part.images.reshape(len(part), -1) for part in dataset.splits.values()])
    assert stored.min() == 0 and stored.max() == 255
    from sklearn.datasets import load_digits

    assert sorted(map(bytes, stored)) == sorted(map(bytes, np.rint(load_digits().data * 255 / 16).astype(np.uint8)))
    assert load("digits", size=16, channels=3, binarise=True).shape == (3, 16, 16)


def test_photographs():
    dataset = load("photographs")
    assert sizes(dataset) == [18_668, 516, 598] and dataset.shape == (1, 32, 32)
    from skimage import data
    from skimage.color import rgb2gray

    camera, coffee = data.camera(), np.rint(rgb2gray(data.coffee()) * 255)
    test = dataset.splits["test"].images[:, :, :, 0].astype(int)
    np.testing.assert_array_equal(test[17], camera[32:64, 32:64])  # 16 patches a row
    assert np.abs(test[-1] - coffee[352:384, 544:576]).max() < 40  # other weights of the colours: Pillow's


@pytest.mark.parametrize(("name", "modes", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_gaussians(name, modes, sigma):
    dataset = load(name)
    assert sizes(dataset) == [100_000, 10_000, 10_000] and dataset.shape == (2,)
    points, labels = dataset.splits["train"].images, dataset.splits["train"].labels
    centres = np.stack([points[labels == mode].mean(axis=0) for mode in range(modes)])
    np.testing.assert_allclose((points - centres[labels]).std(), sigma, rtol=0.01)
    if name == "ring":
        np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-3)
    else:
        np.testing.assert_allclose(centres, np.stack(np.divmod(np.arange(25), 5), axis=1) * 2.0 - 4, atol=5e-3)


def test_avatars_are_a_function_of_seed_and_index():
    images, labels = avatars.draw(6, progress=False)
    again, _ = avatars.draw(3, progress=False)
    assert images.shape == (6, 64, 64, 3) and images.dtype == np.uint8 and labels.shape == (6, 7)
    np.testing.assert_array_equal(images[:3], again)
    np.testing.assert_array_equal(avatars.face(*avatars.parameters(avatars.SEED, 4)), images[4])
    assert len({image.tobytes() for image in images}) == 6


def test_blocks_join_in_order(monkeypatch):
    whole, _ = avatars.draw(3, progress=False)
    monkeypatch.setattr(avatars, "BLOCK", 2)
    np.testing.assert_array_equal(avatars.draw(3, progress=False)[0], whole)


def test_every_value_of_every_attribute_changes_the_face():
    middle = [0, 0, 2, 1, 1, 0, 1]
    for place, (name, values) in enumerate(avatars.VALUES.items()):
        faces = [
            avatars.face((*middle[:place], value, *middle[place + 1 :])).astype(int) for value in range(len(values))
        ]
        for one in range(len(faces)):
            for other in range(one):
                changed = (np.abs(faces[one] - faces[other]).max(axis=2) > 24).sum()
                assert changed >= 15, (name, values[one], values[other], changed)


def test_glasses_change_the_eyes_and_beards_the_chin():
    def changed(place: int, value: int) -> float:
        values = [0, 0, 2, 1, 1, 0, 1]
        plain = avatars.face(tuple(values)).astype(int)
        values[place] = value
        return float(np.nonzero(np.abs(avatars.face(tuple(values)) - plain).sum(axis=2))[0].mean())

    assert changed(0, 3) < 34 < changed(1, 3)


def test_missing_extra(monkeypatch):
    monkeypatch.setattr(avatars, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[avatars\]'"):
        avatars.draw(1, progress=False)


def test_described_attributes(monkeypatch):
    draw = avatars.draw
    monkeypatch.setattr(
        avatars, "draw", lambda count, progress: tuple(np.resize(a, (20_000, *a.shape[1:])) for a in draw(9, progress))
    )
    dataset = load("avatars")
    assert sizes(dataset) == [16_000, 2_000, 2_000] and dataset.attributes == tuple(avatars.VALUES)
    assert dict(describe(dataset))["attribute lean"].startswith("left ")
