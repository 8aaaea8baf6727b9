"""Each verb on one tiny run, and what it answers when it can't."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganvas
import ganvas.recipes
from ganvas.cli import VERBS, main
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.errors import UserError
from ganvas.flags import Command, flags
from ganvas.recipe import RECIPES
from ganvas.training.run import Run

TINY = ["--data", "digits", "--epochs", "1", "--latent-dim", "3", "--device", "cpu", "--out"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each sort, trained by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    for name, recipe in (("vae", "vae"), ("dae", "denoising-autoencoder")):
        assert main(["train", recipe, *TINY, str(folder / name)]) == 0
    shutil.copytree(folder / "vae" / "model", folder / "model")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Colour images of two sizes, none the model's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(12):
        pixels = random.integers(0, 256, (20, 20 + i % 2 * 5, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    """What a command prints: on stdout, or, where it fails, on stderr."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    captured = capsys.readouterr()
    if status:
        assert captured.out == ""
        assert captured.err.startswith("ganvas: ") and captured.err.count("\n") <= 2
    return captured.err if status else captured.out


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


# Help


def _helps() -> list[list[str]]:
    return [[], ["train"], *(["train", name] for name in RECIPES), *(verb.split() for verb in VERBS)]


@pytest.mark.parametrize("words", _helps(), ids=" ".join)
def test_help_fits_a_screen_and_has_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *words, "--help")
    lines = text.splitlines()
    assert len(lines) <= (40 if words[:1] == ["train"] else 24)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("usage: ganvas ")
    assert re.search(r"^example: ganvas ", text, re.M)
    assert "None" not in text and "{" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_a_help_text(verb: str) -> None:
    assert all(flag.help for flag in Command(verb, VERBS[verb]).flags)


def test_a_flags_help_comes_from_the_docstring() -> None:
    def recipe(latent_dim: int = 20, batch_norm: bool = True, k: int | None = None) -> None:
        """A recipe.

        Args:
            latent_dim: size of z,
                at least 1
            batch_norm (bool): in both nets
            k: moves

        Returns:
            nothing: at all
        """

    found = {flag.word: str(flag).split() for flag in flags(recipe)}
    assert found["--latent-dim"] == ["--latent-dim", "INT", "size", "of", "z,", "at", "least", "1", "(default:", "20)"]
    assert found["--no-batch-norm"] == ["--no-batch-norm", "in", "both", "nets"]
    assert found["-k"] == ["-k", "INT", "moves"]


@pytest.mark.parametrize(
    ("words", "absent"), [(["--help"], ("torch", "tyro", "pydantic")), (["train", "vae", "--help"], ("torch",))]
)
def test_help_imports_nothing_heavy(words: list[str], absent: tuple[str, ...]) -> None:
    code = f"import sys; from ganvas.cli import main; main({words}); assert not {set(absent)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Errors


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("smaple", 1, "unknown verb 'smaple'. Did you mean 'sample'?"),
        ("data digits", 1, "takes list or show: ganvas data show digits"),
        ("train", 1, "takes a recipe: "),
        ("train vea", 1, "unknown recipe 'vea'. Did you mean 'vae'?"),
        ("train vae --epcohs 3", 2, "unknown flag '--epcohs'. Did you mean --epochs?"),
        ("train vae --epochs x", 2, "--epochs takes INT, not 'x'."),
        ("train vae --latent_dim=x", 2, "--latent-dim takes INT, not 'x'."),
        ("train vae --net mpl", 2, "--net takes mlp|dcgan, not 'mpl'. Did you mean mlp?"),
        ("train vae --size 8 8 8", 2, "--size takes H [W], not '8 8 8'."),
        ("train vae --lr --epochs 3", 2, "--lr takes FLOAT, not nothing."),
        ("train vae again", 2, "'again' is one word too many."),
        ("train vae --data digits --batch-size 0", 1, "batch_size: 0 is refused"),
        ("train --resume", 2, "--resume takes RUN, not nothing."),
        ("train --resume nowhere", 1, "nowhere is no run"),
        ("train --resume nowhere --epochs 3", 2, "unknown flag '--epochs'."),
        ("data show digits --channels 2", 2, "--channels takes 1|3, not '2'."),
        ("sample", 2, "`ganvas sample` takes RUN. For example: ganvas sample"),
        ("sample nowhere", 1, "no model in nowhere"),
        ("sample nowhere -n x", 2, "-n takes INT, not 'x'."),
        ("sample nowhere -n 0", 1, "-n 0: it takes at least 1."),
        ("show nowhere", 1, "nowhere is no run"),
    ],
)
def test_refusals(words: str, status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in said(capsys, *words.split(), status=status)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("denoise vae missing.png", "a model of kind vae has no denoise"),
        ("sample dae", "has no sample"),
        ("denoise dae", "takes image files"),
        ("denoise dae missing.png", "there is no 'missing.png'"),
        ("denoise dae vae/recipe.json", "cannot be read: not an image"),
        ("denoise dae dae/samples/../checkpoints", "holds no images"),
        ("denoise dae x.png --noise -1", "--noise -1"),
        ("reconstruct model", "say which images with --data"),
        ("encode vae --data nope", "unknown data set 'nope'"),
        ("train --resume vae", "is finished"),
        ("train dcgan --resume vae", "is a run of vae, not of dcgan"),
    ],
)
def test_refusals_of_a_run(
    words: str, says: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    (home / "dae" / "samples").mkdir(exist_ok=True)
    assert says in said(capsys, *words.split(), status=1)


def test_a_verb_that_the_model_lacks_is_refused_before_data_is_read(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "has no denoise" in said(capsys, "denoise", home / "vae", "no-such-file.png", status=1)


def test_debug_shows_the_traceback(home: Path) -> None:
    with pytest.raises(UserError, match="is finished"):
        main(["train", "--debug", "--resume", str(home / "vae")])


# Verbs


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(name in said(capsys, "recipes") for name in RECIPES)
    assert "digits" in said(capsys, "data", "list") == said(capsys, "data")
    shown = said(capsys, "data", "show", "digits", "--size", 6, 4, "--channels", 3)
    assert "3 x 6 x 4 (channels x height x width)" in shown


def test_train_says_how_good_it_is_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    flags = "--binarise --strict --schedule constant --patience 3 --seed 4 --lr 1e-3 --precision float32 --size 6 4"
    printed = said(capsys, "train", "vae", *TINY, run, *flags.split(), "--channels", 3, "--batch-size", 64)
    test = Run(run).state["test"]
    assert f"test ELBO        {test['elbo']:.2f} nats per image = -(reconstruction " in printed
    assert str(run / "samples" / "epoch-0001.png") in printed
    assert f"ganvas encode {run} --out features.npz" in printed
    assert printed.count("\n") <= 8
    recipe = Run(run).recipe
    assert (recipe.data.size, recipe.data.channels, recipe.data.binarise) == ((6, 4), 3, True)
    assert (recipe.training.schedule, recipe.training.patience, recipe.training.seed) == ("constant", 3, 4)
    # Without --data: the run's own, prepared as it was.
    monkeypatch.chdir(tmp_path)
    said(capsys, "encode", run)
    images = load("digits", size=(6, 4), channels=3, binarise=True).splits["test"].images
    assert np.array_equal(np.load("features.npz")["test"], Run(run).model.encode(to_tensor(images)))


def test_other_processes_than_the_first_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["recipes"]) == 0 and main(["smaple"]) == 1
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_is_a_line_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    flags = ["--epochs", "5", "--batch-size", "32", "--latent-dim", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "autoencoder", "--data", "digits", *flags]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 10
    assert all(re.fullmatch(r"step [\d,]+ of 200  loss \S+  [\d,]+ images/s", line) for line in lines)


def test_show(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", home / "vae")
    for line in (
        "recipe           vae",
        "  latent_dim     3",
        "digits, 1 x 8 x 8",
        "test ELBO",
        "finished at step 10 of 10",
    ):
        assert line in shown
    assert "(" not in shown.replace("= -(", "")  # no repr
    assert "validation " in shown and str(home / "vae" / "model") in shown


@pytest.mark.parametrize("name", ["vae", "model"])
def test_sample(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = Path(said(capsys, "sample", home / name, "-n", 9).strip())
    assert picture == home / name / "samples-9-seed0.png"
    assert opened(picture).shape == (3 * 58 + 2, 3 * 58 + 2)


@pytest.mark.parametrize("name", ["vae", "model"])
def test_reconstruct_takes_images_of_another_size_and_colour(
    name: str, home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = home / f"{name}.png"
    assert said(capsys, "reconstruct", home / name, "--data", photos, "--out", picture) == f"{picture}\n"
    assert opened(picture).shape == (118, 60)  # one test image of twelve, above its reconstruction


def test_reconstruct_takes_the_runs_data(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = Path(said(capsys, "reconstruct", home / "vae", "-n", 20).strip())
    assert opened(picture).shape == (4 * 58 + 2, 582)


@pytest.mark.parametrize(("name", "data"), [("vae", []), ("model", ["--data", "digits"])])
def test_encode_is_the_models_encode(
    name: str, data: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "codes.npz"
    assert said(capsys, "encode", home / name, *data, "--out", file, "--device", "cpu") == f"{file}\n"
    splits, model = load("digits").splits, ganvas.load(home / name)
    with np.load(file, allow_pickle=False) as codes:
        assert set(codes) == {f"{split}{end}" for split in splits for end in ("", "_labels")}
        for split, part in splits.items():
            assert codes[split].dtype == np.float32
            assert np.array_equal(codes[split], model.encode(to_tensor(part.images)))
            assert np.array_equal(codes[f"{split}_labels"], part.labels)
    assert list(file.parent.iterdir()) == [file]


def test_encode_without_labels(home: Path, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    assert main(["encode", str(home / "dae"), "--data", str(photos), "--out", str(file)]) == 0
    with np.load(file) as codes:
        assert {name: part.shape for name, part in codes.items()} == {
            "train": (10, 3),
            "validation": (1, 3),
            "test": (1, 3),
        }


def test_denoise_takes_files_of_any_mode(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    (noisy / "more").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12), np.uint8)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        Image.fromarray(pixels).convert(mode).save(noisy / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(noisy / "more" / "I16.png")
    Image.fromarray(pixels.astype(np.float32) / 255).save(tmp_path / "F.tif")
    (noisy / "notes.txt").write_text("no image")

    printed = said(capsys, "denoise", home / "dae", noisy, tmp_path / "F.tif", "--out", clean)
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


def test_denoise_puts_the_models_noise_on_first(home: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = home / "dae" / "denoised.png"
    said(capsys, "denoise", home / "dae", photos / "0.png", "--noise", 0.5)
    once = opened(picture)
    assert once.shape == (3 * 58 + 2, 60)  # given, noisy, denoised
    assert not np.array_equal(once[2:58], once[60:116])
    said(capsys, "denoise", home / "dae", photos / "0.png", "--noise", 0.5)
    assert np.array_equal(once, opened(picture))


def test_denoise_refuses_two_images_of_one_name(home: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = photos / "sub"
    other.mkdir()
    shutil.copy(photos / "0.png", other)
    told = said(capsys, "denoise", home / "dae", photos / "0.png", other / "0.png", status=1)
    assert "have one name" in told
