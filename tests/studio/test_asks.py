import base64
import copy
import dataclasses
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from starlette.testclient import TestClient

from ganvas.data import Dataset, load, pixels
from ganvas.data.loader import to_tensor
from ganvas.ground.randomness import Draw
from ganvas.models import Model
from ganvas.models.autoencoder import corrupt
from ganvas.models.base import FAMILIES
from ganvas.models.conditions import Attribute
from ganvas.parts.priors import Mixture
from ganvas.recipes import RECIPES, Data
from ganvas.studio import asks
from ganvas.studio.app import make_app

SETTINGS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "vae": ("vae", {"latent_dim": 3}, (1, 8, 8)),
    "ae": ("autoencoder", {"latent_dim": 3}, (1, 8, 8)),
    "denoiser": ("denoising-autoencoder", {"latent_dim": 3}, (1, 8, 8)),
    "masking": ("denoising-autoencoder", {"latent_dim": 3, "noise": "masking", "level": 0.3}, (1, 8, 8)),
    "gan": ("gan", {"latent_dim": 3}, (1, 8, 8)),
    "ring": ("clustered-gan", {}, (2,)),
    "colour": ("vae", {"latent_dim": 3}, (3, 6, 9)),
    "told": ("vae", {"latent_dim": 3}, (1, 8, 8)),
}


KIND = Attribute(name="kind", column=0, values=("cat", "dog"))
AGE = Attribute(name="age", column=1, values=("10", "20", "60"), number=True)
TOLD = {"condition": (KIND, AGE), "told_prior": True, "prior": Mixture(components=4), "fit": 0}


@pytest.fixture(scope="module", autouse=True)
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load("digits", progress=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> dict[str, Model]:
    return {}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, digits: Dataset, models: dict[str, Model]) -> Iterator[TestClient]:
    """The studio of a run of each sort, whose models are in `models`."""
    runs = tmp_path_factory.mktemp("runs")
    for name, (recipe, settings, shape) in SETTINGS.items():
        folder = runs / name
        folder.mkdir()
        it = dataclasses.replace(RECIPES[recipe](**settings), data=Data(source="digits"))
        if name == "told":
            it = dataclasses.replace(it, model=dataclasses.replace(it.model, **TOLD))
        (folder / "recipe.json").write_text(it.to_json())
        facts = {"fingerprint": digits.fingerprint, "shape": shape, "preparation": "", "versions": {}}
        (folder / "data.json").write_text(json.dumps(facts))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models[name] = FAMILIES[type(it.model)](it.model, shape).eval()
            if name == "told":
                for mixture in (models[name].prior, models[name].prior_given):
                    mixture.mean.data.normal_(0, 3)
                models[name].prior_given.by.normal_(0, 2)
        models[name].save(folder / "model")
    with TestClient(make_app(runs, host="127.0.0.1", port=8765), base_url="http://127.0.0.1:8765") as client:
        yield client


def opened(url: str) -> np.ndarray:
    """The pixels of a data URL."""
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image)


def file(image: np.ndarray | Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **settings)
    return out.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def as_bytes(images: torch.Tensor) -> np.ndarray:
    return (images[0] * 255).round().byte().permute(1, 2, 0).numpy().squeeze()


def refused(answer: Any, status: int, says: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and says in answer.json()["error"]


# What there is of a model


def test_space_and_atlas(studio: TestClient, digits: Dataset) -> None:
    space = studio.get("/api/space?run=vae")
    assert space.headers["content-type"] == "application/json" and space.json()["id"] == "vae"
    atlas = studio.get("/api/atlas?run=vae").json()
    picture = studio.get("/api/atlas.png?run=vae")
    assert picture.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(picture.content)) as sheet:
        assert sheet.size == (8 * atlas["columns"], 8 * 16)
        assert (np.asarray(sheet)[8:16, 8:16] == digits.splits["test"].images[atlas["rows"][17], :, :, 0]).all()


def test_points_have_a_space_and_no_atlas(studio: TestClient) -> None:
    assert studio.get("/api/space?run=ring").json()["shape"] == [2]
    for what in ("atlas", "atlas.png"):
        refused(studio.get(f"/api/{what}?run=ring"), 409, "points of shape (2,)")


@pytest.mark.parametrize("what", ["space", "atlas", "atlas.png", "samples"])
def test_a_run_that_is_not_there(studio: TestClient, what: str) -> None:
    refused(studio.get(f"/api/{what}?run=none"), 404, "'none'")
    refused(studio.get(f"/api/{what}"), 400, "needs run=")
    refused(studio.get(f"/api/{what}?run=../vae"), 403, "no path")


def test_samples_are_the_codes_of_sample(studio: TestClient, models: dict[str, Model]) -> None:
    for name in ("vae", "gan"):
        found = studio.get(f"/api/samples?run={name}&n=5&seed=7").json()
        assert list(found) == ["codes"]
        images = models[name].decode(torch.tensor(found["codes"]))
        torch.testing.assert_close(images, models[name].sample(5, 7))
    assert len(studio.get("/api/samples?run=vae").json()["codes"]) == 16
    refused(studio.get("/api/samples?run=ae"), 409, "no P(z)")


@pytest.mark.parametrize("bad", ["n=0", "n=1025", "n=-1", "n=1.5", "n=", "n=9e9", "seed=-1", f"seed={2**63}", "n=²"])
def test_numbers_are_checked(studio: TestClient, bad: str) -> None:
    refused(studio.get(f"/api/samples?run=vae&{bad}"), 400, f"{bad}: it takes a whole number")


# Images of one's own


def test_encode(studio: TestClient, models: dict[str, Model], digits: Dataset) -> None:
    image = digits.splits["test"].images[3]
    for name in ("vae", "ae"):
        found = studio.post(f"/api/encode?run={name}", content=file(image[..., 0])).json()
        code = models[name].encode(to_tensor(image[None]))
        torch.testing.assert_close(torch.tensor([found["code"]]), code, atol=1e-5, rtol=1e-5)
        assert (opened(found["seen"]) == image[..., 0]).all()
        again = as_bytes(models[name].decode(code)).astype(int)
        assert np.abs(opened(found["reconstruction"]) - again).max() <= 1


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (file(noise(40, 30, 3)), "colour, larger"),
        (file(noise(5, 4)), "smaller"),
        (file(noise(40, 30, 3), "JPEG"), "JPEG"),
        (file(noise(40, 30, 4), "WEBP"), "transparent"),
        (file(Image.fromarray(noise(40, 30)).convert("P"), "GIF"), "a palette"),
        (
            file(Image.fromarray(noise(40, 30, 3)), "TIFF", save_all=True, append_images=[Image.new("RGB", (4, 4))]),
            "pages",
        ),
        (
            file(noise(40, 30, 3), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
            "turned",
        ),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
@pytest.mark.parametrize("run", ["vae", "colour"])
def test_any_image_is_made_as_those_of_a_data_set_are(studio: TestClient, run: str, body: bytes, name: str) -> None:
    channels, height, width = SETTINGS[run][2]
    found = studio.post(f"/api/encode?run={run}", content=body)
    assert found.status_code == 200, found.text
    expected = pixels.decode(body, (height, width), channels).squeeze()
    assert (opened(found.json()["seen"]) == expected).all()


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


FILM = file(Image.fromarray(noise(9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9))])
BAD = {
    "nothing": (b"", "no image"),
    "text": (b"hello" * 100, "no image"),
    "HTML": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
    "a PDF": (b"%PDF-1.4\n1 0 obj\n", "no image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),
    "truncated": (file(noise(90, 90, 3))[:5000], "can't be read"),
    "a truncated JPEG": (file(noise(90, 90, 3), "JPEG")[:2000], "can't be read"),
    "damaged": (file(noise(90, 90, 3))[:200] + bytes(300) + file(noise(90, 90, 3))[500:], "can't be read"),
    "a film": (FILM, "animated GIF"),
    "41 megapixels": (bomb(41_000, 1_000), "41,000 x 1,000 pixels: the studio takes up to 40,000,000"),
    "a bomb": (bomb(60_000, 60_000), "can't be read"),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("ask", ["encode?run=vae", "denoise?run=denoiser&noise=0.3"])
def test_what_is_no_image_is_said_so(studio: TestClient, ask: str, name: str) -> None:
    body, says = BAD[name]
    refused(studio.post(f"/api/{ask}", content=body), 400, says)


def test_a_body_is_bounded(studio: TestClient) -> None:
    refused(studio.post("/api/encode?run=vae", content=bytes(16 * 2**20 + 1)), 413, "16 MiB")


def test_models_that_can_not(studio: TestClient) -> None:
    body = file(noise(8, 8))
    refused(studio.post("/api/encode?run=gan", content=body), 409, "gan has no encode")
    refused(studio.post("/api/denoise?run=vae&noise=0", content=body), 409, "vae has no denoise")
    refused(studio.post("/api/encode?run=ring", content=body), 409, "no encode")


def test_denoise(studio: TestClient, models: dict[str, Model], digits: Dataset) -> None:
    image = digits.splits["test"].images[5]
    x = to_tensor(image[None])
    for name, kind in (("denoiser", "gaussian"), ("masking", "masking")):
        for level in (0.0, 0.4):
            url = f"/api/denoise?run={name}&noise={level}&seed=3"
            found = studio.post(url, content=file(image[..., 0])).json()
            assert found.keys() == {"seen", "noisy", "denoised"}
            assert (opened(found["seen"]) == image[..., 0]).all()
            noisy = corrupt(x, kind, level, Draw(3)).clamp(0, 1) if level else x
            assert (opened(found["noisy"]) == as_bytes(noisy)).all()
            denoised = as_bytes(models[name].denoise(noisy)).astype(int)
            assert np.abs(opened(found["denoised"]) - denoised).max() <= 1
    body = file(image[..., 0])
    for bad in ("-0.1", "nan", "inf", "11", "much", ""):
        refused(studio.post(f"/api/denoise?run=denoiser&noise={bad}", content=body), 400, f"noise={bad}: it takes")
    refused(studio.post("/api/denoise?run=masking&noise=1.5", content=body), 400, "a share of the values")


# Neighbours


def test_neighbours(studio: TestClient, models: dict[str, Model], digits: Dataset) -> None:
    z = np.random.default_rng(0).standard_normal((4, 3)).astype("<f4")
    found = studio.post("/api/neighbours?run=vae&k=3", content=z.tobytes()).json()
    train = digits.splits["train"].images
    images = models["vae"].decode(torch.from_numpy(z)).flatten(1).numpy()
    distances = cdist(images, train.reshape(len(train), -1) / 255)
    np.testing.assert_allclose(found["distances"], np.sort(distances)[:, :3], rtol=1e-4)
    for row, near, pictures, own in zip(found["rows"], found["distances"], found["images"], distances, strict=True):
        np.testing.assert_allclose(own[row], near, rtol=1e-4)
        for place, picture in zip(row, pictures, strict=True):
            assert (opened(picture) == train[place, :, :, 0]).all()
    assert np.shape(studio.post("/api/neighbours?run=vae", content=z.tobytes()).json()["rows"]) == (4, 5)


def test_neighbours_of_what_is_wrong(studio: TestClient) -> None:
    z = np.zeros((17, 3), "<f4")
    refused(studio.post("/api/neighbours?run=vae", content=z.tobytes()), 400, "at most 16")
    refused(studio.post("/api/neighbours?run=vae", content=b"123"), 400, "codes of 12 bytes")
    refused(studio.post("/api/neighbours?run=vae&k=21", content=z[:1].tobytes()), 400, "k=21")
    refused(studio.post("/api/neighbours?run=vae", content=(z[:1] * np.nan).tobytes()), 400, "NaN")
    refused(studio.post("/api/neighbours?run=ring", content=bytes(24)), 409, "points")
    refused(studio.post("/api/neighbours?run=colour", content=z[:1].tobytes()), 409, "not in the cache")


def test_pillow_reads_the_formats_that_are_named() -> None:
    Image.init()
    assert set(asks.FORMATS) <= set(Image.OPEN)
    assert set(asks.MOVING) <= set(asks.FORMATS)


def test_no_address_changes_anything(studio: TestClient, tmp_path: Path) -> None:
    for route in asks.ROUTES:
        allowed = route.methods or set()
        assert allowed in ({"GET", "HEAD"}, {"POST"})
        other = studio.get(f"{route.path}?run=vae") if "POST" in allowed else studio.post(f"{route.path}?run=vae")
        assert other.status_code in (404, 405)


def test_16_bits_are_read_in_the_range_of_the_training(studio: TestClient, models: dict[str, Model]) -> None:
    deep = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)
    model = copy.deepcopy(models["vae"])
    body = file(Image.fromarray(deep))
    for known, top in (((0.0, 4095.0), 4095), ((0.0, 255.0), 65535)):
        model.range = known
        np.testing.assert_allclose(asks.decoded(body, model)[0, 0], deep / top, atol=1e-4)


# What a model is told


def saying(condition: dict[str, Any], guidance: float = 1) -> str:
    return urlencode({"run": "told", "condition": json.dumps(condition), "guidance": guidance})


def test_a_space_says_what_a_model_can_be_told(studio: TestClient) -> None:
    space = studio.get("/api/space?run=told").json()
    assert space["guides"] and space["condition"] == [
        {"name": "kind", "values": ["cat", "dog"], "number": False},
        {"name": "age", "values": ["10.0", "60.0"], "number": True},
    ]
    assert studio.get("/api/space?run=gan").json()["condition"] == []


@pytest.mark.parametrize("said", [{"kind": "dog"}, {"age": 35.5}, {"kind": "cat", "age": "12"}])
def test_answers_of_a_model_that_is_told(studio: TestClient, models: dict[str, Model], said: dict[str, Any]) -> None:
    plain, model = models["told"], models["told"].given(said, 2)
    body = file(noise(8, 8))
    found = studio.post(f"/api/encode?{saying(said, 2)}", content=body).json()
    x = asks.decoded(body, plain)
    code = model.encode(x)
    np.testing.assert_allclose(found["code"], code[0], atol=1e-5)
    made, without = opened(found["reconstruction"]).astype(int), as_bytes(plain.reconstruct(x)).astype(int)
    assert np.abs(made - as_bytes(model.decode(code))).max() <= 1 and np.abs(made - without).max() > 1

    codes = studio.get(f"/api/samples?{saying(said)}&n=50&seed=3").json()["codes"]
    np.testing.assert_allclose(codes, model.prior.sample(Draw(3), (50, 3)), atol=1e-5)
    assert codes != studio.get("/api/samples?run=told&n=50&seed=3").json()["codes"]

    near = studio.post(f"/api/neighbours?{saying(said, 2)}&k=1", content=code.numpy().tobytes()).json()
    train = load("digits").splits["train"]
    apart = cdist(model.decode(code).flatten(1), to_tensor(train.images[:]).flatten(1))
    assert near["distances"][0][0] == pytest.approx(apart.min(), rel=1e-3)


def test_an_empty_condition_tells_nothing(studio: TestClient) -> None:
    plain = studio.get("/api/samples?run=told&n=5").json()
    assert studio.get(f"/api/samples?{saying({}, 2)}&n=5").json() == plain


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (saying({"kind": "cow"}), "unknown value of kind 'cow'"),
        (saying({"sort": "cat"}), "unknown label 'sort'"),
        (saying({"age": "old"}), "age is 'old': it takes a number; those of the training are 10 to 60."),
        (saying({"kind": "cat"}, -1), "guidance is -1"),
        ("run=told&condition=[1]", "a condition is {name: value}"),
        ("run=told&condition={", 'it takes JSON, such as {"class": "7"}'),
        ("run=told&condition=" + "[" * 9000, "it takes JSON"),
        ("run=told&condition=" + "1" * 20000, "20,000 characters"),
        ("run=told&guidance=much", "guidance=much: it takes a number"),
        ("run=vae&condition={%22kind%22:%22cat%22}", "trained without a condition"),
        ("run=gan&condition={%22kind%22:%22cat%22}", "trained without a condition"),
    ],
)
def test_a_bad_condition_is_refused(studio: TestClient, query: str, says: str) -> None:
    refused(studio.get(f"/api/samples?{query}"), 400, says)
    with studio.websocket_connect(f"ws://127.0.0.1:8765/ws/decode?{query}") as socket:
        socket.send_bytes(struct.pack("<I100f", 7, *[0] * 100)[: 4 + 4 * (100 if "gan" in query else 3)])
        answer = json.loads(socket.receive_text())
        assert answer["sequence"] == 7 and says in answer["error"]


def test_decoding_of_a_model_that_is_told(studio: TestClient, models: dict[str, Model]) -> None:
    z = np.random.default_rng(0).standard_normal((4, 3), np.float32)
    with studio.websocket_connect(f"ws://127.0.0.1:8765/ws/decode?{saying({'kind': 'dog'}, 2)}") as socket:

        def asked(model: Model) -> None:
            socket.send_bytes(struct.pack("<I", 5) + z.tobytes())
            found = np.frombuffer(socket.receive_bytes()[4:], np.uint8).reshape(4, 8, 8).astype(int)
            expected = (model.decode(torch.from_numpy(z))[:, 0] * 255).round().clamp(0, 255).numpy()
            assert np.abs(found - expected).max() <= 1

        asked(models["told"].given({"kind": "dog"}, 2))
        for said, guidance in (({"age": 50}, 1), ({"kind": "cat", "age": 10}, 0.5)):  # it can be told other things
            socket.send_text(urlencode({"condition": json.dumps(said), "guidance": guidance}))
            asked(models["told"].given(said, guidance))
        socket.send_text("condition=")
        asked(models["told"])
