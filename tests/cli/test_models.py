"""sample, reconstruct, denoise, complete, encode."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli import main
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.ground import plots
from ganvas.parts.priors import Mixture, Normal

Said = Callable[..., str]
Opened = Callable[[Path], np.ndarray]


@pytest.mark.parametrize("name", ["vae", "model"])
def test_sample(name: str, home: Path, said: Said, opened: Opened) -> None:
    picture = Path(said("sample", home / name, "-n", 9).strip())
    assert picture == home / name / "samples-9-seed0.png"
    assert opened(picture).shape == (3 * 58 + 2, 3 * 58 + 2)


def test_samples_as_an_array_and_as_a_folder_are_those_of_the_model(home: Path, tmp_path: Path, said: Said) -> None:
    model = ganvas.load(home / "vae")
    expected = model.sample(1203, seed=5).numpy()
    file, folder = tmp_path / "new" / "many.npy", tmp_path / "pictures"
    assert said("sample", home / "vae", "-n", 1203, "--seed", 5, "--out", file) == f"{file}\n"
    np.testing.assert_array_equal(np.load(file), expected)
    assert said("sample", home / "vae", "-n", 1203, "--seed", 5, "--out", folder) == f"{folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == [f"{i:04d}.png" for i in range(1203)]
    with Image.open(folder / "1202.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.rint(expected[1202, 0] * 255))
    assert "not empty: take another --out" in said("sample", home / "vae", "--out", folder, status=1)
    assert "ends in .png or .npy" in said("sample", home / "vae", "--out", tmp_path / "x.jpg", status=1)
    assert list(file.parent.iterdir()) == [file]


def test_too_many_samples_for_a_picture_are_an_array(
    home: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.cli.models.PICTURED", 8)
    array = Path(said("sample", home / "model", "-n", 9).strip())
    assert array == home / "model" / "samples-9-seed0.npy" and np.load(array).shape == (9, 1, 8, 8)
    array.unlink()
    text = said("sample", home / "model", "-n", 9, "--out", tmp_path / "x.png", status=1)
    assert f"at most 8 images: take --out {tmp_path / 'x.npy'}, or a folder: --out {tmp_path / 'x'}." in text
    text = said("sample", home / "model", "-n", 10**13, "--out", tmp_path / "x.npy", status=1)
    assert "would take" in text and "TB" in text and not list(tmp_path.iterdir())


FLAT = """
import resource, sys
from ganvas.cli import main

def peak(n):
    assert main(["sample", sys.argv[1], "-n", str(n), "--out", sys.argv[2]]) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

print(peak(5_000), peak(200_000))
"""


def test_memory_does_not_grow_with_the_number_of_samples(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.npy"
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(home / "vae"), str(file)], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.splitlines()[-1].split())
    assert file.stat().st_size > 50e6 and many - few < 10e6


@pytest.mark.parametrize("name", ["vae", "model"])
def test_reconstruct_takes_images_of_another_size_and_colour(
    name: str, home: Path, photos: Path, said: Said, opened: Opened
) -> None:
    picture = home / f"{name}.png"
    assert said("reconstruct", home / name, "--data", photos, "--out", picture) == f"{picture}\n"
    assert opened(picture).shape == (118, 60)  # one test image of twelve, above its reconstruction


def test_reconstruct_takes_the_runs_data(home: Path, said: Said, opened: Opened) -> None:
    picture = Path(said("reconstruct", home / "vae", "-n", 20).strip())
    assert opened(picture).shape == (4 * 58 + 2, 582)


@pytest.mark.parametrize(("name", "data"), [("vae", []), ("model", ["--data", "digits"])])
def test_encode_is_the_models_encode(name: str, data: list[str], home: Path, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "new" / "codes.npz"
    assert said("encode", home / name, *data, "--out", file, "--device", "cpu") == f"{file}\n"
    splits, model = load("digits").splits, ganvas.load(home / name)
    with np.load(file, allow_pickle=False) as codes:
        assert set(codes) == {"classes", *(f"{split}{end}" for split in splits for end in ("", "_labels", "_order"))}
        for split, part in splits.items():
            assert codes[split].dtype == np.float32
            assert np.array_equal(codes[split], model.encode(to_tensor(part.images)))
            assert np.array_equal(codes[f"{split}_labels"], part.labels)
    assert list(file.parent.iterdir()) == [file]


def test_encode_without_labels(home: Path, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    assert main(["encode", str(home / "dae"), "--data", str(photos), "--out", str(file)]) == 0
    with np.load(file) as codes:
        assert {name: part.shape for name, part in codes.items() if "_" not in name} == {
            "train": (10, 3),
            "validation": (1, 3),
            "test": (1, 3),
        }
        assert {name for key in codes if key.endswith("names") for name in codes[key]} <= {
            file.relative_to(photos).as_posix() for file in photos.rglob("*")
        }
    table = tmp_path / "codes.csv"
    assert main(["encode", str(home / "dae"), "--data", str(photos), "--out", str(table)]) == 0
    head, *lines = table.read_text().splitlines()
    assert head == "split,name,label,order,z0,z1,z2" and len(lines) == 12
    with np.load(file) as codes:
        first = lines[0].split(",")
        assert first[:2] == ["train", str(codes["train_names"][0])] and first[3] == str(codes["train_order"][0])
        assert np.allclose([float(value) for value in first[4:]], codes["train"][0])


def test_denoise_takes_files_of_any_mode(home: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    (noisy / "more").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12), np.uint8)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        Image.fromarray(pixels).convert(mode).save(noisy / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(noisy / "more" / "I16.png")
    Image.fromarray(pixels.astype(np.float32) / 255).save(tmp_path / "F.tif")
    (noisy / "notes.txt").write_text("no image")

    printed = said("denoise", home / "dae", noisy, tmp_path / "F.tif", "--out", clean)
    assert printed == f"{clean}\n{home / 'dae' / 'denoised.png'}\n"
    names = ["1.png", "CMYK.png", "F.png", "L.png", "LA.png", "P.png", "RGB.png", "RGBA.png", "more/I16.png"]
    assert sorted(path.relative_to(clean).as_posix() for path in clean.rglob("*.png")) == sorted(names)
    outcomes = [opened(clean / name) for name in names]
    assert {outcome.shape for outcome in outcomes} == {(8, 8)}
    assert opened(home / "dae" / "denoised.png").shape == (2 * 58 + 2, 9 * 58 + 2)
    model = ganvas.load(home / "dae")
    seen = load(noisy, size=8, channels=1).splits["test"].images[:1]  # any one of them, by the other road
    wanted = (model.denoise(to_tensor(seen))[0, 0] * 255).round().byte().numpy()
    assert any(np.abs(outcome.astype(int) - wanted).max() <= 1 for outcome in outcomes)


def test_denoise_puts_the_models_noise_on_first(home: Path, photos: Path, said: Said, opened: Opened) -> None:
    picture = home / "dae" / "denoised.png"
    said("denoise", home / "dae", photos / "0.png", "--noise", 0.5)
    once = opened(picture)
    assert once.shape == (3 * 58 + 2, 60)  # given, noisy, denoised
    assert not np.array_equal(once[2:58], once[60:116])
    said("denoise", home / "dae", photos / "0.png", "--noise", 0.5)
    assert np.array_equal(once, opened(picture))
    for wrong in (-1, "nan", "inf"):
        told = said("denoise", home / "dae", photos / "0.png", "--noise", wrong, status=1)
        assert told == f"ganvas: --noise {wrong}: it takes 0 or more.\n"


def test_a_denoiser_leaves_images_their_size(tmp_path: Path, said: Said, opened: Opened) -> None:
    from ganvas.models.denoiser import Denoiser, DenoiserModel

    model, run, clean = DenoiserModel(Denoiser(filters=4), (1, 16, 16)), tmp_path / "run", tmp_path / "clean"
    model.save(run / "model")
    grey = np.random.default_rng(0).integers(0, 256, (3, 21, 34), np.uint8)
    pages = [Image.fromarray(page) for page in grey]
    pages[0].save(tmp_path / "scan.png")
    pages[1].save(tmp_path / "two.tif", save_all=True, append_images=pages[2:])
    printed = said("denoise", run, tmp_path / "scan.png", tmp_path / "two.tif", "--out", clean)
    assert printed == f"{clean}\n{run / 'denoised.png'}\n"
    wanted = (model.denoise(grey) * 255).round().byte().numpy()[:, 0]
    for name, page in zip(("scan.png", "two-0.png", "two-1.png"), wanted, strict=True):
        np.testing.assert_array_equal(opened(clean / name), page)
    assert opened(run / "denoised.png").shape == (2 * 50 + 2, 3 * 50 + 2), "cells of the model's size, enlarged"


def test_denoise_refuses_two_images_of_one_name(home: Path, photos: Path, said: Said) -> None:
    other = photos / "sub"
    other.mkdir()
    shutil.copy(photos / "0.png", other)
    told = said("denoise", home / "dae", photos / "0.png", other / "0.png", status=1)
    assert "have one name" in told


def test_fit_prior_gives_a_denoising_autoencoder_samples(
    home: Path, tmp_path: Path, said: Said, opened: Opened
) -> None:
    said("sample", home / "dae", status=1)
    folder = tmp_path / "fitted"
    lines = said("fit-prior", home / "dae", "--components", 3, "--out", folder).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["P(z) fitted", "model", "next"]
    picture = Path(said(*lines[-1].split()[2:], "--out", tmp_path / "samples.png").strip())
    assert opened(picture).shape == (8 * 58 + 2, 8 * 58 + 2)
    assert not np.array_equal(opened(picture), opened(Path(said("sample", folder, "-n", 64, "--seed", 1).strip())))


def test_fit_prior_beside_the_prior_of_a_vae(home: Path, said: Said) -> None:
    lines = said("fit-prior", home / "vae").splitlines()
    values = [float(line.split()[2]) for line in lines[:2]]
    assert [line[:11] for line in lines[:2]] == ["P(z) fitted", "P(z) before"] and values[0] > values[1]
    assert ganvas.load(home / "vae").config.prior == Normal()
    assert ganvas.load(home / "vae" / "fitted").config.prior == Mixture(components=10)


def test_fit_prior_refuses_what_has_no_fit(home: Path, said: Said) -> None:
    assert "-n 0" in said("fit-prior", home / "vae", "-n", 0, status=1)
    assert "10 components take" in said("fit-prior", home / "vae", "-n", 19, status=1)
    assert "components: 0 is refused" in said("fit-prior", home / "vae", "--components", 0, status=1)


def test_other_data_are_read_in_the_range_of_the_training(tmp_path):
    from ganvas.cli.models import load_data
    from ganvas.models.autoencoder import Autoencoder, AutoencoderModel
    from ganvas.parts.nets.mlp import MLP

    model = AutoencoderModel(Autoencoder(latent_dim=2, net=MLP(hidden=())), (1, 4, 4))
    deep = np.linspace(-900, 2500, 20 * 16).round().reshape(20, 4, 4)
    for known, values, expected in (
        ((-1000.0, 3000.0), deep.astype(np.int16), (-1000, 3000)),
        ((-1000.0, 3000.0), deep.astype(np.float32), (-1000, 3000)),
        ((0.0, 4095.0), (deep + 900).astype(np.uint16), (0, 4095)),
        ((0.0, 4095.0), (deep / 20).clip(0).astype(np.uint8), (0, 255)),
        ((-1000.0, 3000.0), ((deep + 900) / 3400).astype(np.float32), (0, 1)),
        (None, deep.astype(np.int16), (-900, 2500)),
    ):
        model.range = known
        np.save(tmp_path / "scans.npy", values)
        assert load_data(tmp_path, model, str(tmp_path / "scans.npy")).range == expected


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE of digits that is told their class."""
    run = tmp_path_factory.mktemp("told") / "run"
    assert main(["train", "vae", "--data", "digits", "--condition", "class", "--epochs", "1", "--out", str(run)]) == 0
    return run


def assert_pictured(pixels: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(pixels, expected.reshape(expected.shape[:2] + pixels.shape[2:]))


def test_sample_where(told: Path, said: Said, opened: Opened) -> None:
    picture = Path(said("sample", told, "--where", "class=7", "-n", 4).strip())
    model: Any = ganvas.load(told)
    expected = plots.grid(model.given({"class": "7"}).sample(4))
    assert_pictured(opened(picture), expected)
    for words in (["--class", "7", "-n", 4], ["-n", 4, "--class=7"]):
        assert Path(said("sample", told, *words).strip()) == picture
        assert_pictured(opened(picture), expected)
    picture = Path(said("sample", told, "--each", "class", "-n", 30).strip())
    assert picture == told / "samples-each-class-seed0.png"
    expected = plots.grid(torch.cat([model.given({"class": str(c)}).sample(3) for c in range(10)]), 3)
    assert_pictured(opened(picture), expected)


def test_each_image_is_reconstructed_by_its_own_label_or_by_another(told: Path, said: Said, opened: Opened) -> None:
    model: Any = ganvas.load(told)
    split = load("digits").splits["test"]
    x, own = to_tensor(split.images[:6]), split.labels[:6]
    codes = model.encode(x, condition=own)
    for words, given in (((), own), (("--where", "class=3"), {"class": "3"})):
        picture = Path(said("reconstruct", told, "-n", 6, *words).strip())
        assert_pictured(opened(picture), plots.rows(x, model.decode(codes, condition=given)))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("sample", "--where", "7"), "--where 7: it takes NAME=VALUE, each name once"),
        (("sample", "--where", "class=x"), "unknown value of class 'x'"),
        (("sample", "--where", "class=1,class=2"), "each name once"),
        (("sample", "--where", "class=1", "--class", "2"), "each name once"),
        (("sample", "--class", "x"), "unknown value of class 'x'"),
        (("sample", "-n", "2", "--class"), "unknown value of class ''"),
        (("sample", "--each", "clas"), "unknown label 'clas'. Did you mean 'class'?"),
        (("manifold", "--where", "glass=1"), "unknown label 'glass'. Did you mean 'class'?"),
    ],
)
def test_what_a_model_can_t_be_told(told: Path, said: Said, words: tuple[str, ...], text: str) -> None:
    verb, *rest = words
    assert text in said(verb, told, *rest, status=1)


def test_fit_prior_of_codes_that_were_told_apart(told: Path, tmp_path: Path, said: Said) -> None:
    said("fit-prior", told, "--components", 2, "-n", 500, "--out", tmp_path / "fitted")
    model: Any = ganvas.load(tmp_path / "fitted")
    assert model.config.told_prior and not torch.equal(model.prior.mean, model.given({"class": "7"}).prior.mean)


def test_a_model_that_was_told_nothing_says_how_to_train_one(home: Path, said: Said) -> None:
    assert "train one with --condition" in said("sample", home / "vae", "--where", "class=1", status=1)
    assert "unknown label 'class'" in said("sample", home / "vae", "--each", "class", status=1)


def test_complete_test_images(home: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    file, run = tmp_path / "new" / "completed.npy", home / "vae"
    printed = said("complete", run, "--mask", "box", 2, 3, 4, 2, "-n", 3, "--seed", 7, "--out", file).splitlines()
    model, images = ganvas.load(run), to_tensor(load("digits").splits["test"].images[:8])
    found = model.completed(images, "box 2 3 4 2", n=3, seed=7)
    np.testing.assert_array_equal(np.load(file), found.images)
    off = f"missed by {found.distances.median():.3f}, at most by {found.distances.max():.3f}"
    assert printed[0] == str(file) and off in printed[1] and printed[2:] == [str(run / "completed.png")]
    masked = images.clone()
    masked[:, :, 3:5, 2:6] = 0.5
    cells = torch.cat([images[:, None], masked[:, None], found.images], 1).flatten(0, 1)
    np.testing.assert_array_equal(opened(run / "completed.png"), plots.grid(cells, 5)[..., 0])


def test_complete_files_by_a_mask_of_one(home: Path, photos: Path, tmp_path: Path, said: Said, opened: Opened) -> None:
    Image.fromarray(np.pad(np.full((8, 3), 255, np.uint8), ((0, 0), (0, 5)))).save(tmp_path / "hole.png")
    words = ["complete", home / "vae", photos, "--mask", tmp_path / "hole.png", "-n", 2, "--out", tmp_path / "out"]
    assert said(*words).splitlines()[0] == str(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 24
    model = ganvas.load(home / "vae")
    given = model.rows(photos / "3.png")
    for place in range(2):
        made = opened(tmp_path / "out" / f"3-{place}.png")
        np.testing.assert_array_equal(made[:, 3:], (given[0, 0, :, 3:] * 255).round().byte())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--mask nowhere.png", "unknown mask 'nowhere.png'"),
        ("--mask box 1 2 3", "a box takes four whole numbers"),
        ("-n 0", "-n 0: it takes at least 1"),
        ("--out made.jpg", "a name that ends in .npy, or a folder's"),
        ("nothing.png", "there is no 'nothing.png'"),
    ],
)
def test_completions_that_are_none(words: str, says: str, home: Path, said: Said) -> None:
    assert says in said("complete", home / "vae", *words.split(), status=1)


def test_a_denoising_autoencoder_has_no_completions(home: Path, said: Said) -> None:
    assert "has no complete" in said("complete", home / "dae", status=1)
