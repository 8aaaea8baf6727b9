"""One conformance test walks every model with every net; then what all of them refuse."""

import contextlib
import dataclasses
import math
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import settings_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganvas.data import Dataset, Split
from ganvas.data.loader import Batch
from ganvas.ground import tensors
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import MODELS, Model, load
from ganvas.models.base import FAMILIES, VERBS, UnsupportedError, fast_products
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.nets import NETS
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.residual import Residual
from ganvas.parts.nets.spatial import Spatial
from ganvas.parts.priors import Bimodal, Flow, Mixture, Normal, StochasticLayer, TruncatedNormal, Uniform, Vamp

SMALL = {MLP: MLP(hidden=(16,)), DCGAN: DCGAN(filters=4), Residual: Residual(filters=4)}
SMALL[Spatial] = Spatial(channels=1, filters=4)
IMAGE, POINT = (1, 16, 16), (2,)


def make(kind: str, shape: tuple[int, ...], net: Any) -> Model:
    """A model of that kind with `net` wherever it has one."""
    config = MODELS[kind]
    fields = {field.name: getattr(config(), field.name) for field in dataclasses.fields(config)}
    chosen = {name: net for name, value in fields.items() if type(value) in NETS.values()}
    if shape == POINT and "likelihood" in fields:
        chosen["likelihood"] = Gaussian()
    torch.manual_seed(0)
    if kind == "gan-encoder":
        chosen["gan"] = {"generator": net, "discriminator": net}
    latent_dim = 16 if isinstance(net, Spatial) else 3
    model = FAMILIES[config](settings_of(kind, latent_dim=latent_dim, **chosen), shape)
    rows = Draw(6).uniform("rows", (200, *shape)).numpy()
    images = (rows.transpose(0, 2, 3, 1) * 255).astype(np.uint8) if len(shape) == 3 else rows
    split = Split(images, np.arange(200) % 10)
    model.prepare(
        Dataset("made up", "", dict.fromkeys(("train", "validation", "test"), split), shape, None, None, "", (), ""), 0
    )
    return model


def examples(shape: tuple[int, ...], n: int = 6) -> torch.Tensor:
    return Draw(7).uniform("examples", (n, *shape))


def ask(model: Model, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every verb answers."""
    codes = Draw(8).normal("codes", (len(x), getattr(model, "latent_dim", 3)))
    mask = torch.zeros(x.shape[-2:] if x.dim() == 4 else x.shape[1:])
    mask[..., 0] = 1
    given: dict[str, tuple[Any, ...]] = {"sample": (len(x), 3), "decode": (codes,), "log_prob": (x, 50)}
    given["complete"] = (x, mask, 1)
    return {verb: getattr(model, verb)(*given.get(verb, (x,))) for verb in VERBS if hasattr(type(model), verb)}


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[str]:
    return sorted(name for name in {*a, *b} if not (name in a and name in b and torch.equal(a[name], b[name])))


def copy(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize(
    ("net", "shape"),
    [(SMALL[net], IMAGE) for net in NETS.values()] + [(MLP(hidden=(16,)), POINT)],
    ids=[*NETS, "points"],
)
def test_conformance(kind: str, net: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    if kind == "denoiser" and shape == POINT:
        pytest.skip("its convolutions take images alone, see test_denoiser.py")
    if kind == "vq-vae" and not isinstance(net, Spatial):
        pytest.skip("its codes have places, see test_vqvae.py")
    model, x = make(kind, shape, net), examples(shape)

    for name, player in model.players().items():
        for other, opponent in model.players().items():
            opponent.requires_grad_(other == name)
        with torch.random.fork_rng():  # noise layers draw from torch's own generator, as the loop seeds it
            parts = player(Batch(x), Draw(0, 1))
        assert all(part.shape == () for part in parts.values())
        with torch.random.fork_rng():
            assert not differing(parts, player(Batch(x), Draw(0, 1))), "equal draws, equal losses"
        parts["loss"].backward()
        without = [n for n, p in player.named_parameters() if p.grad is None or not p.grad.any()]
        assert not without, f"{name}: no gradient for {without}"
    moved = [id(p) for player in model.players().values() for p in player.parameters()]
    own = [id(p) for name, p in model.named_parameters() if not name.startswith(("average", "gan."))]
    assert sorted(moved) == sorted(own), (
        "every parameter belongs to one player, but those of an average, and of a GAN that stands still"
    )

    before = copy(model)
    answers = ask(model.train(), x)
    assert not differing(before, copy(model)), "to ask is not to train"
    assert model.training
    assert not differing(answers, ask(model.eval(), x)), "answers do not depend on the mode"
    assert not model.training
    shapes = {
        "encode": (6, *getattr(model, "code_shape", ())),
        "log_prob": (6,),
        "classify": (6, 10),
        "score_samples": (6,),
    }
    shapes |= {"complete": (6, 1, *shape)}
    for verb, answer in answers.items():
        assert answer.shape == shapes.get(verb, (6, *shape)) and answer.isfinite().all()
        assert not answer.requires_grad and (answer * 1).add_(1) is not None
        if verb in ("sample", "decode", "reconstruct", "denoise", "complete") and shape == IMAGE:
            assert answer.min() >= 0 and answer.max() <= 1
    if "sample" in answers:
        assert not torch.equal(model.sample(6, seed=3), model.sample(6, seed=4))
    if "encode" in answers:
        assert torch.equal(answers["reconstruct"], model.decode(model.encode(x)))
        torch.testing.assert_close(model.encode(x[2]), answers["encode"][2:3])

    assert model.save(tmp_path / "new") == tmp_path / "new"
    again = load(tmp_path / "new")
    assert type(again) is type(model) and again.config == model.config and again.shape == shape and not again.training
    assert not differing(again.state_dict(), model.state_dict()) and not differing(ask(again, x), answers)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_verb_that_is_missing_is_named_with_the_models_that_have_it(kind: str) -> None:
    model = make(kind, IMAGE, SMALL[Spatial] if kind == "vq-vae" else MLP(hidden=(4,)))
    for verb in VERBS:
        have = sorted(name for name in MODELS if hasattr(FAMILIES[MODELS[name]], verb))
        assert have, f"a verb that no model has: {verb}"
        assert hasattr(model, verb) == (kind in have)
        if kind not in have:
            says = f"has no {verb}; it has .* with {verb}: {', '.join(have)}"
            with pytest.raises(UnsupportedError, match=says):
                getattr(model, verb)
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        _ = model.smaple


def test_batches_larger_than_a_chunk_are_whole_and_in_order() -> None:
    model = make("autoencoder", IMAGE, MLP(hidden=(4,)))
    x = examples(IMAGE, 1203)
    codes = model.encode(x)
    assert codes.shape == (1203, 3)
    torch.testing.assert_close(codes[[0, 600, 1202]], model.encode(x[[0, 600, 1202]]))


def test_images_of_bytes_are_those_of_levels() -> None:
    model = make("autoencoder", IMAGE, MLP(hidden=(4,)))
    bytes_ = (examples(IMAGE) * 255).round().byte()
    expected = model.encode(bytes_.float() / 255)
    for images in (bytes_, bytes_.numpy(), bytes_.numpy().astype("float64") / 255):
        assert torch.equal(model.encode(images), expected)


@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("writeable", [True, False])
def test_images_may_be_read_only_or_reversed_views(axis: int | None, writeable: bool) -> None:
    model, images = make("autoencoder", IMAGE, MLP(hidden=(4,))), examples(IMAGE).numpy()
    view = images.view() if axis is None else np.flip(images, axis)
    view.flags.writeable = writeable
    torch.set_warn_always(True)  # else torch warns of read-only arrays once per process
    try:
        codes = model.encode(view)
    finally:
        torch.set_warn_always(False)
    assert torch.equal(codes, model.encode(view.copy()))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.rand(2, 1, 9, 9), r"shape \(2, 1, 9, 9\): this model takes \(N, 1, 16, 16\)"),
        (torch.rand(16, 15), r"this model takes \(N, 1, 16, 16\)"),
        (torch.full((2, 1, 16, 16), 255.0), r"values from 255 to 255: floats must be in \[0, 1\]"),
        (torch.full((2, 1, 16, 16), -0.5), r"values from -0\.5"),
        (torch.full((2, 1, 16, 16), math.nan), "NaN or infinite"),
        (torch.full((2, 1, 16, 16), math.inf), "NaN or infinite"),
    ],
)
def test_wrong_images_are_refused(images: torch.Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make("vae", IMAGE, MLP(hidden=(4,))).encode(images)


def test_fast_products_round_no_inputs() -> None:
    a, b = (torch.randn(256, 256, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with fast_products(torch.device("cpu")):
        product = a @ b
    assert (product - a.double() @ b.double()).abs().max() < 1e-4  # sums of 256 numbers near 1; bfloat16: 0.1


def test_a_run_s_folder_is_loaded_by_its_model(tmp_path: Path) -> None:
    model = make("vae", IMAGE, MLP(hidden=(4,)))
    model.save(tmp_path / "model")
    assert not differing(load(tmp_path).state_dict(), model.state_dict())
    assert not differing(load(str(tmp_path), "cpu").state_dict(), model.state_dict())


def test_a_folder_without_a_model_or_with_another_ones_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model in .*: it has no config\.json"):
        load(tmp_path)
    make("vae", IMAGE, MLP(hidden=(5,))).save(tmp_path / "other")
    make("vae", IMAGE, MLP(hidden=(4,))).save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    (tmp_path / "other" / "model.safetensors").replace(weights)
    with pytest.raises(UserError, match=r"does not fit its config\.json"):
        load(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        load(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load(tmp_path)


SQUARE = MLP(hidden=(4, 4))  # a weight that fits when it is transposed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t + 1j, "complex64"),
        (lambda t: t.long(), "int64"),
        (lambda t: t.double(), "float64"),
        (lambda t: t * math.nan, "not finite"),
        (lambda t: t / 0, "not finite"),
        (lambda t: t[:2], r"\(2, 4\)"),
        (lambda t: t[None], r"\(1, 4, 4\)"),
    ],
)
def test_weights_that_are_none_are_refused(damage: Callable[[Tensor], Tensor], said: str, tmp_path: Path) -> None:
    """As a program may have written them: their checksums are right."""
    model = make("vae", IMAGE, SQUARE)
    weights = model.state_dict()
    model.save(tmp_path)
    tensors.save(tmp_path / "model.safetensors", {**weights, "encoder.3.weight": damage(weights["encoder.3.weight"])})
    with pytest.raises(UserError, match=rf"encoder\.3\.weight is .*?{said}|encoder\.3\.weight is {said}"):
        load(tmp_path)


def test_a_transposed_weight_has_another_checksum(tmp_path: Path) -> None:
    model = make("vae", IMAGE, SQUARE)
    file = model.save(tmp_path) / "model.safetensors"
    weights = load_file(file)
    with safe_open(file, "pt") as opened:
        facts = opened.metadata()
    weights["encoder.3.weight"] = weights["encoder.3.weight"].T.contiguous()
    save_file(weights, file, metadata=facts)
    with pytest.raises(UserError, match=r"damaged \(the checksum of encoder\.3\.weight is another\)"):
        load(tmp_path)


def test_threads_that_ask_leave_the_mode_as_it_was() -> None:
    """Whoever comes first or leaves last; and a call that fails is one that has left."""
    model, modes = make("vae", IMAGE, MLP(hidden=(4,), norm="batch")), []
    decode = type(model).decode

    def seen(it: Any, z: Tensor) -> Tensor:
        modes.append(it.training)
        time.sleep(0.001)
        if z.shape[-1] == 1:
            raise ArithmeticError
        return decode(it, z)

    for training in (True, False):
        model.train(training)

        def ask(i: int) -> None:
            with contextlib.suppress(ArithmeticError), model.asked():
                seen(model, torch.zeros(1, 1 if i % 3 == 0 else model.config.latent_dim))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(200)))
        assert model.training is training and model.encoder.training is training
    assert not any(modes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"shape": [16, 16], "model": {"kind": "vae"}}',
        '{"shape": [1, 0, 16], "model": {"kind": "vae"}}',
        '{"model": {"kind": "vae"}}',
        '{"shape": [2], "model": "nothing"}',
    ],
)
def test_a_damaged_config_is_refused(text: str, tmp_path: Path) -> None:
    make("vae", IMAGE, MLP(hidden=(4,))).save(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError):
        load(tmp_path)


def test_the_range_of_the_training_is_kept(tmp_path: Path) -> None:
    model = make("autoencoder", IMAGE, SMALL[MLP])
    x = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(1, 1, 16, 16)
    assert model.range is None and float(model.rows(x).max()) < 0.07
    split = Split(np.zeros((3, 16, 16, 1), np.uint8), None)
    parts = dict.fromkeys(("train", "validation", "test"), split)
    model.prepare(Dataset("made up", "", parts, IMAGE, None, None, "", (), "", range=(0, 4095)), 0)
    again = load(model.save(tmp_path / "model"))
    assert again.range == (0, 4095)
    np.testing.assert_allclose(again.rows(x), x / 4095, atol=1e-6)
    torch.testing.assert_close(again.reconstruct(x), again.reconstruct(x / 4095))
    file = tmp_path / "model" / "config.json"
    file.write_text(file.read_text().replace("4095", "-1"))
    with pytest.raises(UserError, match=r"range is \[0, -1\]"):
        load(tmp_path / "model")


PRIORS = [
    Normal(),
    Mixture(components=7),
    Vamp(components=5),
    Flow(),
    StochasticLayer(latent_dim=2, prior=Mixture(components=3)),
    StochasticLayer(latent_dim=2, prior=StochasticLayer(latent_dim=2)),
]


@pytest.mark.parametrize(
    "prior", [*PRIORS, Uniform(), Bimodal(), TruncatedNormal()], ids=lambda prior: type(prior).__name__
)
def test_samples_are_the_decoded_draws_of_the_prior_however_many(prior: Any) -> None:
    torch.manual_seed(0)
    config = MODELS["vae" if prior in PRIORS else "gan"]
    model = FAMILIES[config](config(latent_dim=3, prior=prior), IMAGE).eval()
    with torch.no_grad():
        z = model.prior.sample(Draw(4), (1203, 3))
    found = model.sample(1203, seed=4)
    # A net of a prior may round otherwise in a product of other size: draws are equal, sums nearly.
    torch.testing.assert_close(found, model.decode(z), rtol=0, atol=1e-6)
    assert torch.equal(found[:700], model.sample(700, seed=4)), "a number names the same sample among more"
    assert torch.equal(found, torch.cat(list(model.samples(1203, seed=4))))
    assert [len(part) for part in model.samples(1203)] == [500, 500, 203]


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_truncated_samples_are_of_codes_of_the_middle(name: str) -> None:
    torch.manual_seed(0)
    config = MODELS[name]
    model = FAMILIES[config](config(latent_dim=3, prior=Normal()), IMAGE).eval()
    before = model.sample(20)
    narrow = model.truncated(0.5)
    z = narrow.prior.sample(Draw(4), (20, 3))
    assert float(z.abs().max()) <= 0.5
    torch.testing.assert_close(narrow.sample(20, seed=4), model.decode(z), rtol=0, atol=1e-6)
    assert torch.equal(model.sample(20), before), "the model itself stays as it is"
    with pytest.raises(UserError, match="above 0"):
        model.truncated(0)
    with pytest.raises(UserError, match=r"autoencoder has no P\(z\)"):
        FAMILIES[MODELS["autoencoder"]](MODELS["autoencoder"](), IMAGE).truncated(0.5)


def test_a_result_is_held_once_while_it_is_made() -> None:
    code = """if True:
        import resource, torch
        from ganvas.models import MODELS
        from ganvas.models.base import FAMILIES
        from ganvas.parts.nets.mlp import MLP

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        model = FAMILIES[MODELS["vae"]](MODELS["vae"](net=MLP(hidden=(8,))), (1, 28, 28))
        model.sample(1000)
        before = peak()
        size = model.sample(100_000).nbytes
        print((peak() - before) / size)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.15, "a result is held once while it is made"


@pytest.mark.parametrize("name", ["codes", "figures", "decode"])
def test_a_layer_named_as_what_every_model_has_is_refused(name: str) -> None:
    model = make("autoencoder", IMAGE, MLP(hidden=(4,)))
    with pytest.raises(UserError, match=f"{name} is what every model has: give this layer another name"):
        setattr(model, name, torch.nn.Linear(1, 1))
