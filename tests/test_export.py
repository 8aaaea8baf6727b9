"""Exported files: the same results as the model's, whatever runs them."""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import ganvas
from ganvas import export
from ganvas.data import Dataset, load, pixels
from ganvas.data.loader import to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import Model
from ganvas.models.autoencoder import Autoencoder, DenoisingAutoencoder, FittedAutoencoder
from ganvas.models.base import FAMILIES
from ganvas.models.conditions import Attribute
from ganvas.models.denoiser import Denoiser
from ganvas.models.gan import GAN
from ganvas.models.semisupervised import SemisupervisedGAN
from ganvas.models.vae import VAE
from ganvas.models.vqvae import VQVAE
from ganvas.parts import priors
from ganvas.parts.likelihoods import DiscretisedLogistic, Gaussian
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.spatial import Spatial
from ganvas.parts.quantisers import FiniteScalar
from ganvas.parts.sequences import Transformer
from ganvas.parts.techniques import EMA, GradientPenalty, SpectralNorm, VirtualBatchNorm

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SMALL = MLP(hidden=(20, 12))
CONV = DCGAN(filters=4)
PLACES, TINY = Spatial(channels=2, filters=4), Transformer(width=8, layers=1, heads=2)
GREY, COLOUR, POINTS = (1, 8, 8), (3, 16, 16), (2,)
TWO = priors.StochasticLayer(latent_dim=2, net=MLP(hidden=(6,), activation="tanh"))
THREE = priors.StochasticLayer(latent_dim=3, net=MLP(hidden=(6,)), prior=priors.Vamp(components=4))
ENCODES, SAMPLES = {"encoder", "decoder"}, {"decoder", "sampler"}
CASES: dict[str, tuple[Any, tuple[int, ...], set[str]]] = {
    "vae": (VAE(latent_dim=2, net=SMALL), GREY, ENCODES | SAMPLES),
    "vae, convolutions": (VAE(latent_dim=5, net=CONV, likelihood=Gaussian()), COLOUR, ENCODES | SAMPLES),
    "vae of points": (VAE(latent_dim=2, net=SMALL, likelihood=Gaussian(scale=0.1)), POINTS, ENCODES | SAMPLES),
    "vae, levels": (VAE(latent_dim=3, net=CONV, likelihood=DiscretisedLogistic()), COLOUR, ENCODES | SAMPLES),
    "vae of rows": (VAE(latent_dim=2, net=SMALL, likelihood=Gaussian()), (6,), ENCODES | SAMPLES),
    "vae, mixture": (VAE(latent_dim=3, net=SMALL, prior=priors.Mixture(components=5)), GREY, ENCODES | SAMPLES),
    "vae, vamp": (VAE(latent_dim=3, net=SMALL, prior=priors.Vamp(components=5)), GREY, ENCODES | SAMPLES),
    "vae, flow": (VAE(latent_dim=3, net=SMALL, prior=priors.Flow(layers=3, hidden=8)), GREY, ENCODES | SAMPLES),
    "iwae, two layers": (
        VAE(latent_dim=4, net=SMALL, prior=TWO, bound="iwae", samples=2),
        GREY,
        ENCODES | SAMPLES,
    ),
    "iwae, vamp above": (VAE(latent_dim=4, net=SMALL, prior=THREE), GREY, ENCODES | SAMPLES),
    "autoencoder": (Autoencoder(latent_dim=3, net=DCGAN(filters=4, kernel=5, norm="none")), COLOUR, ENCODES),
    "denoising": (DenoisingAutoencoder(latent_dim=3, net=SMALL), GREY, {*ENCODES, "denoiser"}),
    "denoiser": (Denoiser(filters=4), COLOUR, {"denoiser"}),
    "fitted": (FittedAutoencoder(latent_dim=3, net=SMALL, components=3), GREY, ENCODES | SAMPLES),
    "vq-vae": (VQVAE(net=PLACES, transformer=TINY), GREY, ENCODES),
    "vq-vae, finite scalars": (
        VQVAE(net=PLACES, quantiser=FiniteScalar(levels=(5, 4)), transformer=TINY),
        COLOUR,
        ENCODES,
    ),
    "gan": (GAN(latent_dim=6, generator=MLP(hidden=(12,), activation="maxout", norm="batch")), GREY, SAMPLES),
    "gan of points": (GAN(latent_dim=2, generator=SMALL, output="linear", prior=priors.Bimodal()), POINTS, SAMPLES),
    "dcgan": (GAN(latent_dim=6, generator=CONV, discriminator=CONV, output="tanh"), COLOUR, SAMPLES),
    "dcgan, four fixes": (
        GAN(
            latent_dim=6,
            generator=CONV,
            discriminator=CONV,
            output="tanh",
            prior=priors.Normal(),
            techniques=(VirtualBatchNorm(size=6), SpectralNorm(), EMA()),
        ),
        COLOUR,
        SAMPLES,
    ),
    "virtual norm of an mlp": (
        GAN(latent_dim=6, generator=MLP(hidden=(9,), norm="batch"), techniques=(VirtualBatchNorm(size=6),)),
        GREY,
        SAMPLES,
    ),
    "wgan-gp": (
        GAN(latent_dim=6, generator=CONV, discriminator=CONV, loss="wasserstein", techniques=(GradientPenalty(),)),
        COLOUR,
        SAMPLES,
    ),
    "semi-supervised": (
        SemisupervisedGAN(latent_dim=6, hidden=(20, 10), generator_hidden=(20,), classes=4),
        GREY,
        {*SAMPLES, "classifier"},
    ),
}


def make(config: Any, shape: tuple[int, ...]) -> Model:
    """A model with weights and statistics that nothing else has: as trained ones are."""
    torch.manual_seed(0)
    model = FAMILIES[type(config)](config, shape)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("book"):
                tensor.normal_()
            elif name.endswith(("running_mean", "bias", "logit")):
                tensor.add_(0.3 * torch.randn_like(tensor))
            elif name.endswith(("running_var", "norm.weight")):
                tensor.mul_(0.5 + torch.rand_like(tensor))
    return model.eval()


def asked(folder: Path, name: str, batch: torch.Tensor) -> torch.Tensor:
    """What onnxruntime makes of a batch."""
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return torch.from_numpy(session.run(None, {given.name: batch.numpy()})[0])


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Torch's exporter reads its table of operations anew for each file, which takes as long as all the rest."""
    from torch.onnx._internal.exporter import _registration

    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(_registration.ONNXRegistry.from_torchlib)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(once))
        yield


Exported = Callable[[str], tuple[Model, Path]]

# ---- what a model is told ----

CLASS = Attribute(name="class", column=0, values=("cat", "dog", "owl"))
AGE = Attribute(name="age", column=1, values=("10", "20", "60"), number=True)
NOISE = Attribute(name="noise", column=2, values=("no", "yes"))  # the name of another input
TELLING: dict[str, tuple[Any, tuple[int, ...]]] = {
    "vae": (VAE(latent_dim=3, net=SMALL, condition=(CLASS, AGE), likelihood=Gaussian()), GREY),
    "vae, convolutions": (VAE(latent_dim=3, net=CONV, condition=(CLASS, NOISE), likelihood=Gaussian()), COLOUR),
    "vae, fitted": (
        VAE(
            latent_dim=3,
            net=SMALL,
            prior=priors.Mixture(components=4),
            condition=(CLASS, AGE),
            told_prior=True,
        ),
        GREY,
    ),
    "denoising": (DenoisingAutoencoder(latent_dim=3, net=SMALL, condition=(AGE,)), GREY),
    "gan": (GAN(latent_dim=4, generator=SMALL, condition=(CLASS,)), GREY),
}
SAID: list[dict[str, Any]] = [{}, {"class": "owl"}, {"age": 35}, {"class": "dog", "age": 12.5}, {"noise": "yes"}]


def told(model: Model, said: dict[str, Any], n: int, guidance: float) -> tuple[Model, dict[str, np.ndarray]]:
    """A model that is told, and the inputs of its files that say so."""
    said = {name: value for name, value in said.items() if name in {it.name for it in model.config.condition}}
    inputs = {}
    for it in model.config.condition:
        value = said.get(it.name)
        name = "label noise" if it.name == "noise" else it.name
        if it.number:
            inputs[name] = np.full(n, np.nan if value is None else value, np.float32)
        else:
            inputs[name] = np.full(n, -1 if value is None else it.values.index(value))
    if model.guides:
        inputs["guidance"] = np.array(guidance, np.float32)
    return model.given(said, guidance if model.guides else 1.0) if said else model, inputs


@pytest.mark.parametrize("name", TELLING)
def test_files_of_a_model_that_is_told(name: str, tmp_path: Path) -> None:
    model = make(*TELLING[name])
    written = export.write_onnx(model, tmp_path / "out")
    assert max(file.difference or 0 for file in written) < 1e-5
    n, shape = 5, model.shape
    draw = Draw(1)
    batches = {"decoder": draw.normal("codes", (n, model.latent_dim))}
    batches |= dict.fromkeys(("encoder", "denoiser"), draw.uniform("images", (n, *shape)))
    verbs = {"decoder": "decode", "encoder": "encode", "denoiser": "denoise"}
    seen = set()
    for said in SAID:
        for guidance in (1.0, 2.5):
            it, inputs = told(model, said, n, guidance)
            for part in {file.name.removesuffix(".onnx") for file in written} & verbs.keys():
                session = onnxruntime.InferenceSession(tmp_path / "out" / f"{part}.onnx")
                first, *others = (given.name for given in session.get_inputs())
                assert others == [name for name in inputs if part == "decoder" or name != "guidance"]
                given = {first: batches[part].numpy(), **{name: inputs[name] for name in others}}
                (found,) = session.run(None, given)
                expected = getattr(it, verbs[part])(batches[part])
                np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-4)
                if part == "decoder":
                    seen.add(found.tobytes())
    assert len(seen) > 1
    facts = onnxruntime.InferenceSession(tmp_path / "out" / "decoder.onnx").get_modelmeta().custom_metadata_map
    if "class" in inputs:
        assert facts["input class"] == "int64 (N,), -1: not told; 0 cat, 1 dog, 2 owl"
    if "age" in inputs:
        assert facts["input age"] == "float32 (N,), a number, in the training 10 to 60; NaN: not told"


def test_a_sampler_that_is_told_draws_from_that_prior(tmp_path: Path) -> None:
    model = make(*TELLING["vae, fitted"])
    with torch.no_grad():
        for mixture in (model.prior, model.prior_given):
            mixture.mean.normal_(0, 3)
        model.prior_given.by.normal_(0, 2)
    parts = {part.name: part for part in export._parts(model, None)}
    export._write(model, parts["prior"], tmp_path, {})
    session = onnxruntime.InferenceSession(tmp_path / "prior.onnx")
    n = 5000
    for said in SAID[:4]:
        it, inputs = told(model, said, n, 1.0)
        del inputs["guidance"]
        (found,) = session.run(None, {"noise": Draw(2).normal("noise", (n, 4)).numpy(), **inputs})
        drawn = it.prior.sample(Draw(3), (n, 3)).numpy()
        assert all(stats.ks_2samp(found[:, j], drawn[:, j]).pvalue > 1e-3 for j in range(3))


def test_the_example_tells(tmp_path: Path, alone: Callable[..., str]) -> None:
    model = make(*TELLING["vae"])
    export.write_onnx(model, tmp_path / "out")
    assert alone(tmp_path / "out", "class=dog", "age=12.5", "guidance=2") == "samples.png\n"
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 3), np.float32))
    expected = (model.given({"class": "dog", "age": 12.5}, 2.0).decode(noise) * 255).round().clamp(0, 255)
    with Image.open(tmp_path / "samples.png") as picture:
        found = np.asarray(picture).reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(64, 1, 8, 8)
    assert np.abs(found - expected.numpy()).max() <= 1
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)).save(photo)
    assert alone(tmp_path / "out", str(photo), "class=owl").startswith("code: [")
    with pytest.raises(AssertionError, match="class=wolf: it takes one of cat, dog, owl"):
        alone(tmp_path / "out", "class=wolf")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One of the cases and its folder, exported once."""

    @functools.cache
    def once(name: str) -> tuple[Model, Path]:
        model, out = make(*CASES[name][:2]), tmp_path_factory.mktemp("exported") / "out"
        written = export.write_onnx(model, out, {"run": "first", "recipe": name, "data": "digits"})
        assert {path.name for path in out.iterdir()} == {file.name for file in written}
        assert {path.stat().st_size for path in out.iterdir()} == {file.size for file in written}
        assert max(file.difference or 0 for file in written) < 1e-5
        return model, out

    return once


@pytest.mark.parametrize("name", CASES)
def test_every_file_gives_what_the_model_gives(name: str, exported: Exported) -> None:
    _, shape, parts = CASES[name]
    model, folder = exported(name)
    assert {path.name for path in folder.iterdir()} == {f"{part}.onnx" for part in parts} | {"example.py"}
    verbs: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "encoder": lambda x: model.encode(x).flatten(1),
        "decoder": lambda z: model.decode(z),
        "denoiser": lambda x: model.denoise(x),
        "classifier": lambda x: model.classify(x),
    }
    for n in (1, 5, 8):
        draw = Draw(n)
        inputs = {
            "decoder": draw.normal("codes", (n, getattr(model, "latent_dim", 1))),
            **dict.fromkeys(("encoder", "denoiser", "classifier"), draw.uniform("images", (n, *shape))),
        }
        for part in parts - {"sampler"}:
            found, expected = asked(folder, part, inputs[part]), verbs[part](inputs[part])
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_sampler_of_a_normal_prior_takes_its_codes(exported: Exported) -> None:
    model, folder = exported("vae")
    noise = Draw(3).normal("prior", (20, 2))
    torch.testing.assert_close(asked(folder, "sampler", noise), model.sample(20, seed=3))


def cdf(prior: Any, values: np.ndarray, j: int) -> np.ndarray:
    """Of P(z_j), from the formula."""
    if isinstance(prior, priors.Uniform):
        return stats.uniform(-prior.bound, 2 * prior.bound).cdf(values)
    if isinstance(prior, priors.Bimodal):
        return (stats.norm(-1, prior.std).cdf(values) + stats.norm(1, prior.std).cdf(values)) / 2
    mean, log_variance, log_weight = (part.detach().double().numpy() for part in prior.components())
    each = stats.norm(mean[:, j], np.exp(log_variance[:, j] / 2)).cdf(values[:, None])
    return each @ np.exp(log_weight)


@pytest.mark.parametrize("prior", ["uniform", "bimodal", "mixture", "vamp"])
def test_standard_noise_becomes_codes_of_the_prior(prior: str) -> None:
    torch.manual_seed(0)
    settings = {
        "uniform": priors.Uniform(bound=0.5),
        "bimodal": priors.Bimodal(std=0.3),
        "mixture": priors.Mixture(components=3),
        "vamp": priors.Vamp(components=4),
    }[prior]
    model = make(VAE(latent_dim=3, net=SMALL), GREY)
    own = settings.build(3, GREY, model.posterior)
    k, to_code = own.from_noise(3)
    with torch.no_grad():
        z = to_code(Draw(1).normal("noise", (20_000, k))).numpy()
    assert z.shape == (20_000, 3)
    for j in range(3):
        assert stats.kstest(z[:, j], lambda x, j=j: cdf(own, x, j)).pvalue > 1e-3
    if prior == "bimodal":
        assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.03


def test_standard_noise_becomes_codes_of_a_layer_above() -> None:
    model = make(*CASES["iwae, vamp above"][:2])
    k, to_code = model.prior.held().from_noise(4)
    assert k == 4 + 3 + 1  # eps of z, eps of u, u's component
    with torch.no_grad():
        z, other = to_code(Draw(1).normal("noise", (20_000, k))), model.prior.sample(Draw(2), (20_000, 4))
    assert all(stats.ks_2samp(z[:, j], other[:, j]).pvalue > 1e-3 for j in range(4))


def test_the_files_say_what_they_are(exported: Exported) -> None:
    import onnx

    _, folder = exported("semi-supervised")
    for name in ("decoder", "sampler", "classifier"):
        file = folder / f"{name}.onnx"
        onnx.checker.check_model(file, full_check=True)
        found = onnx.load(file)
        facts = {item.key: item.value for item in found.metadata_props}
        assert facts["ganvas"] == ganvas.__version__
        assert (facts["run"], facts["recipe"], facts["data"]) == ("first", "semi-supervised", "digits")
        assert json.loads(facts["shape"]) == [1, 8, 8] and json.loads(facts["model"])["kind"] == "semisupervised-gan"
        assert [found.opset_import[0].version] == [export.OPSET]
        (given,), (made,) = found.graph.input, found.graph.output
        for what, item in (("input", given), ("output", made)):
            assert facts[f"{what} {item.name}"].startswith("float32 (N, ")
            assert item.type.tensor_type.shape.dim[0].dim_param == "N"
    sampler = onnx.load(folder / "sampler.onnx")
    assert "N(0, 1)" in {item.key: item.value for item in sampler.metadata_props}["input noise"]
    assert not any(word in path.read_bytes() for path in folder.glob("*.onnx") for word in (b"site-packages", b"/src/"))


# ---- whole or not there ----


def test_a_file_that_differs_is_refused_and_nothing_stays(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = exported("dcgan")[0], tmp_path / "out"
    shutil.copytree(exported("dcgan")[1], out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    real = model.decode
    monkeypatch.setattr(model, "decode", lambda codes: real(codes) + 3e-4)
    for place in (out, tmp_path / "other"):
        with pytest.raises(UserError, match=r"sampler.onnx differs from the model by 0.0003, more than 0.0001"):
            export.write_onnx(model, place)
    assert {path: path.read_bytes() for path in out.iterdir()} == before and list(tmp_path.iterdir()) == [out]
    monkeypatch.setattr(model, "decode", lambda codes: real(codes) * float("nan"))
    with pytest.raises(UserError, match=r"differs from the model by nan"):
        export.write_onnx(model, tmp_path / "other")


def test_an_export_takes_the_place_of_an_earlier_one_alone(exported: Exported, tmp_path: Path) -> None:
    out, model = tmp_path / "out", exported("dcgan")[0]
    shutil.copytree(exported("vae")[1], out)
    export.write_onnx(model, out)
    assert sorted(path.name for path in out.iterdir()) == ["decoder.onnx", "example.py", "sampler.onnx"]
    for name in ("denoiser", "denoiser", "vae"):
        export.write_onnx(exported(name)[0], out)
    assert "denoiser.onnx" not in {path.name for path in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than an export"):
        export.write_onnx(model, out)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="holds something else than an export"):
        export.write_onnx(model, tmp_path / "file")
    assert (out / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(UserError, match=r"onnxruntime: pip install 'ganvas\[onnx\]'"):
        export.write_onnx(make(*CASES["vae"][:2]), tmp_path / "out")


# ---- the example ----


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., str]:
    """Runs an export's example where neither ganvas nor torch can be imported."""
    blocked = "import runpy, sys; sys.modules.update(ganvas=None, torch=None); sys.argv = sys.argv[1:]; "

    def run(folder: Path, *words: str) -> str:
        command = [sys.executable, "-c", blocked + "runpy.run_path(sys.argv[0], run_name='__main__')"]
        done = subprocess.run(
            [*command, str(folder / "example.py"), *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_example_runs_without_ganvas(exported: Exported, tmp_path: Path, alone: Callable[..., str]) -> None:
    model, folder = exported("vae, convolutions")
    assert alone(folder) == "samples.png\n"
    noise = np.random.default_rng(0).standard_normal((64, 5), np.float32)
    expected = (model.decode(torch.from_numpy(noise)) * 255).round()
    with Image.open(tmp_path / "samples.png") as picture:
        found = np.asarray(picture).reshape(8, 16, 8, 16, 3).transpose(0, 2, 4, 1, 3).reshape(64, 3, 16, 16)
    assert np.abs(found - expected.numpy()).max() <= 1

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 31, 4), np.uint8)).save(photo)
    assert alone(folder, str(photo)).startswith("code: [")
    seen = pixels.decode(photo.read_bytes(), (16, 16), 3)
    with Image.open(tmp_path / "made.png") as picture:
        found = np.asarray(picture)
    assert np.array_equal(found[:, :16], seen)
    made = model.reconstruct(to_tensor(seen[None]))[0].permute(1, 2, 0) * 255
    assert np.abs(found[:, 16:] - made.round().numpy()).max() <= 1


@pytest.mark.parametrize("known", [(0.0, 255.0), (0.0, 4095.0), (100.0, 200.0)])
def test_the_example_reads_files_as_the_model_does(
    tmp_path: Path, alone: Callable[..., str], known: tuple[float, float]
) -> None:
    model = make(*CASES["denoising"][:2])
    model.range = known
    export.write_onnx(model, tmp_path / "out")
    random = np.random.default_rng(1)
    for given in (random.integers(0, 4096, (8, 8)).astype(np.uint16), random.integers(0, 256, (8, 8), np.uint8)):
        Image.fromarray(given).save(tmp_path / "scan.png")
        alone(tmp_path / "out", str(tmp_path / "scan.png"))
        seen = (model.rows(tmp_path / "scan.png") * 255).round()[0, 0].numpy()
        with Image.open(tmp_path / "made.png") as picture:
            assert np.abs(np.asarray(picture)[:, :8] - seen).max() <= 1


def test_the_example_classifies_denoises_and_draws_points(
    exported: Exported, tmp_path: Path, alone: Callable[..., str]
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)).save(photo)
    with Image.open(photo) as image:
        x = torch.from_numpy(np.array(image))[None, None]
    model, folder = exported("semi-supervised")
    said = alone(folder, str(photo))
    found = [float(word) for word in said.split("[")[1].split("]")[0].split()]
    np.testing.assert_allclose(found, model.classify(x).exp()[0], atol=6e-4)
    model, folder = exported("denoising")
    alone(folder, str(photo))
    with Image.open(tmp_path / "made.png") as picture:
        denoised = (model.denoise(x) * 255).round()[0, 0]
        assert np.abs(np.asarray(picture)[:, 8:] - denoised.numpy()).max() <= 1
    assert alone(exported("gan of points")[1]) == "samples.csv\n"
    assert np.loadtxt(tmp_path / "samples.csv", delimiter=",").shape == (64, 2)


# ---- the page ----

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
needs_page = pytest.mark.skipif(not export.BUILT.is_dir(), reason="the page is not built")
needs_browser = pytest.mark.skipif(not CHROMIUM or not export.BUILT.is_dir(), reason="no Chromium, or no page")


@pytest.fixture(scope="module")
def images() -> Dataset:
    """Colour images, 16 x 16."""
    random = np.random.default_rng(0)
    return load(random.integers(0, 256, (120, 16, 16, 3), np.uint8))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> tuple[Path, dict[str, Model]]:
    """A folder of exported pages, and their models."""
    folder = tmp_path_factory.mktemp("pages")
    settings = {
        "vae": (VAE(latent_dim=2, net=CONV, likelihood=Gaussian(scale=0.3)), COLOUR, images),
        "denoiser": (DenoisingAutoencoder(latent_dim=4, net=SMALL, level=0.4), GREY, load("digits")),
        "gan": (GAN(latent_dim=6, generator=SMALL), GREY, None),
        "told": (*TELLING["vae, fitted"], None),
    }
    models = {name: make(config, shape) for name, (config, shape, _) in settings.items()}
    models["vae"].range = (0, 4095)
    with torch.no_grad():
        models["vae"].decoder[0].weight.mul_(100)  # a DCGAN's first weights are so small that one z looks like another
    for name, (_, _, dataset) in settings.items():
        facts = {"run": name, "recipe": "a recipe", "data": "some data"}
        export.write_page(models[name], folder / name, facts, dataset)
    export.write_file(models["gan"], folder / "gan.html", {"run": "gan"})
    return folder, models


@needs_page
def test_the_folder_holds_what_the_page_reads(pages: tuple[Path, dict[str, Model]], images: Dataset) -> None:
    folder, _ = pages
    own = {"index.html", "assets", "onnxruntime-license.txt", "space.json", "atlas.json", "atlas.png", "decoder.onnx"}
    assert {path.name for path in (folder / "vae").iterdir()} == own | {"encoder.onnx", "prior.onnx"}
    assert {path.name for path in (folder / "denoiser").iterdir()} == own | {"encoder.onnx", "denoiser.onnx"}
    assert {path.name for path in (folder / "gan").iterdir()} == own | {"prior.onnx"}
    assert len([*folder.rglob("*.wasm")]) == 4
    space = json.loads((folder / "vae" / "space.json").read_text())
    assert (space["id"], space["name"], space["recipe"], space["data"]) == ("vae", "vae", "a recipe", "some data")
    assert space["shape"] == [3, 16, 16] and "encode" in space["verbs"] and space["range"] == [0, 4095]
    chart = json.loads((folder / "vae" / "atlas.json").read_text())
    with Image.open(folder / "vae" / "atlas.png") as sheet:
        place = divmod(7, chart["columns"])
        first = np.asarray(sheet)[place[0] * 16 :, place[1] * 16 :][:16, :16]
    assert np.array_equal(first, images.splits["test"].images[chart["rows"][7]])
    assert json.loads((folder / "denoiser" / "space.json").read_text())["noise"] == "gaussian"


@needs_page
def test_a_large_model_is_no_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(GAN(latent_dim=2, generator=SMALL), GREY)
    monkeypatch.setattr(export, "LARGEST", 5000)
    with pytest.raises(UserError, match="MiB are too much for one file: leave --one-file out"):
        export.write_file(model, tmp_path / "page.html")
    with pytest.raises(UserError, match=r"a name that ends in \.html"):
        export.write_file(model, tmp_path / "page")
    assert not [*tmp_path.iterdir()]


def test_a_page_that_is_not_built_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BUILT", tmp_path / "none")
    with pytest.raises(UserError, match="make studio"):
        export.write_page(make(GAN(latent_dim=2, generator=SMALL), GREY), tmp_path / "page")
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def address(pages: tuple[Path, dict[str, Model]]) -> Iterator[str]:
    """Where the pages are served, as `python -m http.server` does."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(pages[0]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A page of the browser; at the end its console is clean, and nothing was asked of another host."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert said == []
    assert all(url.startswith(("http://127.0.0.1", "file:", "blob:", "data:")) for url in asked)
    page.close()


PICTURE = "canvas[aria-label=Picture]"


def shown(tab: Any, selector: str) -> np.ndarray:
    """The pixels (H, W, 3) of a canvas or of a picture."""
    found = tab.eval_on_selector(
        selector,
        """element => {
            const width = element.naturalWidth ?? element.width, height = element.naturalHeight ?? element.height;
            const canvas = Object.assign(document.createElement("canvas"), { width, height });
            const context = canvas.getContext("2d");
            context.drawImage(element, 0, 0);
            return [height, width, Array.from(context.getImageData(0, 0, width, height).data)];
        }""",
    )
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[:, :, :3]


def of(model: Model, code: Any) -> np.ndarray:
    """`decode` of one code as bytes (H, W, C)."""
    return (model.decode(torch.tensor([code]))[0].permute(1, 2, 0) * 255).round().byte().numpy()


def near(found: np.ndarray, expected: np.ndarray, levels: int = 1) -> bool:
    return bool(np.abs(found.astype(int) - expected.astype(int)).max() <= levels)


def follow(tab: Any, url: str) -> None:
    """Goes to an address and waits until its picture is drawn."""
    tab.goto("about:blank")
    tab.goto(url)
    tab.wait_for_selector(f"{PICTURE}:not([data-sequence='0'])")


@needs_browser
@pytest.mark.parametrize("name", ["vae", "gan"])
def test_the_page_shows_what_the_model_decodes(
    name: str, pages: tuple[Path, dict[str, Model]], address: str, tab: Any
) -> None:
    model = pages[1][name]
    code = [0.25, -1.5] if name == "vae" else [0.5, -0.25, 0.0, 0.75, -1.0, 0.125]
    follow(tab, f"{address}/{name}/#/explore?z={','.join(map(str, code))}")
    assert near(shown(tab, PICTURE), of(model, code))
    assert tab.title() == f"{name} · ganvas"
    before = shown(tab, PICTURE)
    tab.get_by_role("button", name="Random").first.click()
    tab.wait_for_selector(f"{PICTURE}:not([data-sequence='1'])")
    drawn = [float(x) for x in tab.evaluate("location.hash").split("z=")[1].split("&")[0].split(",")]
    assert drawn != code and near(shown(tab, PICTURE), of(model, drawn), 2)  # the address rounds the code
    assert not np.array_equal(before, shown(tab, PICTURE))


@needs_browser
def test_the_page_tells_the_model(pages: tuple[Path, dict[str, Model]], address: str, tab: Any) -> None:
    model, code = pages[1]["told"], [0.5, -0.25, 1.0]
    start = f"{address}/told/#/explore?z={','.join(map(str, code))}"
    follow(tab, f"{start}&given=class:dog;age:35&guidance=2.5")
    assert near(shown(tab, PICTURE), of(model.given({"class": "dog", "age": 35}, 2.5), code))
    follow(tab, f"{start}&given=class:wolf;age:12")  # of what it does not know it is told nothing
    assert near(shown(tab, PICTURE), of(model.given({"age": 12}), code))
    follow(tab, start)
    assert near(shown(tab, PICTURE), of(model, code))
    tab.get_by_label("class", exact=True).select_option("owl")
    tab.wait_for_function("location.hash.includes('given=class%3Aowl')")
    tab.get_by_role("button", name="Random").first.click()
    tab.wait_for_function(f"!location.hash.includes('z={','.join(map(str, code))}'.replaceAll(',', '%2C'))")
    tab.wait_for_timeout(500)
    drawn = [float(x) for x in unquote(tab.evaluate("location.hash")).split("z=")[1].split("&")[0].split(",")]
    assert near(shown(tab, PICTURE), of(model.given({"class": "owl"}), drawn), 2)


@needs_browser
def test_one_file_works_from_a_disk(pages: tuple[Path, dict[str, Model]], tab: Any) -> None:
    folder, models = pages
    code = [0.5, -0.25, 0.0, 0.75, -1.0, 0.125]
    follow(tab, f"{(folder / 'gan.html').as_uri()}#/explore?z={','.join(map(str, code))}")
    assert near(shown(tab, PICTURE), of(models["gan"], code))
    assert tab.title() == "gan · ganvas"


@needs_browser
def test_a_folder_opened_from_a_disk_says_what_to_do(pages: tuple[Path, dict[str, Model]], browser: Any) -> None:
    page = browser.new_page()
    page.goto((pages[0] / "vae" / "index.html").as_uri())
    page.wait_for_function("document.body.innerText.includes('python -m http.server')")
    page.close()


@needs_browser
@pytest.mark.parametrize(
    ("name", "size"), [("vae", (16, 16)), ("vae", (9, 40)), ("vae", (211, 300)), ("denoiser", (57, 33))]
)
def test_an_image_is_seen_as_python_sees_it(
    name: str, size: tuple[int, int], pages: tuple[Path, dict[str, Model]], address: str, tab: Any, tmp_path: Path
) -> None:
    model = pages[1][name]
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)).save(photo)
    follow(tab, f"{address}/{name}/#/explore?tool=image")
    tab.set_input_files("input[type=file]", photo)
    tab.wait_for_selector("img[alt=Reconstruction]")
    seen = pixels.decode(photo.read_bytes(), (model.shape[1], model.shape[2]), model.shape[0])
    assert near(shown(tab, "img[alt='As the model sees it']"), seen)
    made = model.reconstruct(to_tensor(seen[None]))[0].permute(1, 2, 0) * 255
    assert near(shown(tab, "img[alt=Reconstruction]"), made.round().numpy(), 2)
    if name == "denoiser":
        tab.wait_for_selector("img[alt=Denoised]")
        noise = (shown(tab, "img[alt='With noise']").astype(float) - seen) / 255
        inside = (seen[..., 0] > 100) & (seen[..., 0] < 156)  # where 0.3 is seldom cut
        assert 0.15 < noise[inside].std() < 0.45 and abs(noise[inside].mean()) < 0.2
        noisy = torch.from_numpy(shown(tab, "img[alt='With noise']")[..., :1].copy()).permute(2, 0, 1)[None]
        assert near(
            shown(tab, "img[alt=Denoised]"), (model.denoise(noisy)[0].permute(1, 2, 0) * 255).round().numpy(), 3
        )


# ---- its page of the documentation ----


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    (program,) = (part.split("```")[0] for part in text.split("```python\n")[1:])
    train = ganvas.train
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        ganvas, "train", lambda *words, **settings: train(*words, **settings, epochs=1, out="run"), raising=False
    )
    names: dict[str, Any] = {}
    exec(program.replace('"mnist"', '"digits"'), names)
    assert names["facts"]["input noise"] == "float32 (N, 2), numbers drawn from N(0, 1)"
    expected = names["model"].decode(torch.from_numpy(names["noise"]))
    np.testing.assert_allclose(names["images"], expected, atol=1e-5)
    assert {path.name for path in (tmp_path / "taken").iterdir()} == {
        "encoder.onnx",
        "sampler.onnx",
        "decoder.onnx",
        "example.py",
    }
