import asyncio
import functools
import itertools
import json
import math
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from starlette.applications import Starlette
from starlette.websockets import WebSocket

from ganvas.models import MODELS
from ganvas.models.base import FAMILIES, Model
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.layers import BatchNorm
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.techniques import TECHNIQUES
from ganvas.studio import decoder as thread
from ganvas.studio import decoding, quick, studied
from ganvas.studio.studied import CannotError

PATIENCE = 30.0  # seconds after which a test that waits has failed


def make(name: str, shape: tuple[int, ...] = (1, 8, 8), **settings: Any) -> Model:
    """A model whose batch norms have seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FAMILIES[MODELS[name]](MODELS[name](**settings), shape)
        for module in model.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.normal_(module.bias, 0, 0.3)
            if isinstance(module, torch.nn.ConvTranspose2d):
                module.weight.data.normal_(0, 2 / math.sqrt(module.weight.numel() / module.out_channels / 4))
    return model.eval()


def bytes_of(model: Model, codes: np.ndarray) -> np.ndarray:
    """`model.decode` as (n, h, w, c) from 0 to 255."""
    images = model.decode(torch.from_numpy(codes)).permute(0, 2, 3, 1)
    return (images * 255).round().byte().numpy().astype(int)


def drawn(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d), np.float32)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class Gate:
    """A decoder of one-pixel images, whose grey level is the code, which waits until it is opened."""

    def __init__(self, shape: tuple[int, ...] = (1, 1, 1)) -> None:
        self.latent_dim, self.shape = 1, shape
        self.opened, self.began = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def decoded(self, z: torch.Tensor) -> torch.Tensor:
        self.batches.append([round(level) for level in z[:, 0].tolist()])
        self.began.set()
        assert self.opened.wait(PATIENCE)
        return z[:, :, None, None] / 255


def level(*levels: float) -> np.ndarray:
    return np.array(levels, np.float32)[:, None]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


# The model


GENERATORS = {
    "64 px": (DCGAN(filters=8), (3, 64, 64), "tanh"),
    "kernel 5": (DCGAN(filters=8, kernel=5), (1, 28, 28), "sigmoid"),
    "oblong": (DCGAN(filters=8, norm="none"), (3, 32, 48), "tanh"),
    "constant": (DCGAN(filters=8, kernel=5, norm="none", widen=False), (1, 48, 32), "linear"),
    "mlp": (MLP(hidden=(40, 30), norm="batch"), (1, 7, 5), "sigmoid"),
    "maxout": (MLP(hidden=(40, 30), activation="maxout"), (1, 7, 5), "tanh"),
}


@pytest.mark.parametrize("name", list(GENERATORS))
def test_the_quicker_model_gives_the_same_images(name: str) -> None:
    net, shape, output = GENERATORS[name]
    model = make("gan", shape, generator=net, output=output)
    quicker = quick.quicker(model)
    z = torch.from_numpy(drawn(9, 100))
    assert model.decode(z).std() > 0.03
    torch.testing.assert_close(quicker.decode(z), model.decode(z), atol=1e-4, rtol=0)
    doublings = [module for module in quicker.modules() if isinstance(module, quick.Doubling)]
    assert (len(doublings) > 0) == isinstance(net, DCGAN)
    assert not any(isinstance(module, torch.nn.ConvTranspose2d) for module in quicker.modules())
    assert any(isinstance(module, torch.nn.ConvTranspose2d) for module in model.modules()) == isinstance(net, DCGAN)


@pytest.mark.parametrize("technique", ["ema", "virtual-batch-norm"])
def test_the_quicker_model_with_a_technique(technique: str) -> None:
    model = make("gan", (1, 16, 16), generator=DCGAN(filters=8), techniques=(TECHNIQUES[technique](),))
    z = torch.from_numpy(drawn(5, 100))
    torch.testing.assert_close(quick.quicker(model).decode(z), model.decode(z), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7])
def test_a_doubling_convolution_of_any_kernel(kernel: int) -> None:
    layer = torch.nn.ConvTranspose2d(3, 5, kernel, 2, (kernel - 1) // 2, output_padding=kernel % 2)
    assert quick._doubles(layer)
    x = torch.from_numpy(drawn(2 * 3 * 4, 6).reshape(2, 3, 4, 6))
    torch.testing.assert_close(quick.Doubling(layer, None)(x), layer(x).detach(), atol=1e-5, rtol=0)


def test_other_transposed_convolutions_stay() -> None:
    model = make("gan", (1, 16, 16), generator=DCGAN(filters=8))
    net = model.generator.net
    net[4] = torch.nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=8)
    net[-1] = torch.nn.ConvTranspose2d(8, 1, 3, 1, 1)
    quicker = quick.quicker(model)
    assert sum(isinstance(module, torch.nn.ConvTranspose2d) for module in quicker.modules()) == 2
    z = torch.from_numpy(drawn(5, 100))
    torch.testing.assert_close(quicker.decode(z), model.decode(z), atol=1e-5, rtol=0)


# Decoding


@pytest.mark.parametrize(
    "model",
    [
        make("vae", (1, 28, 28), latent_dim=2),
        make("autoencoder", (3, 8, 6), latent_dim=5),
        make("gan", (3, 64, 64), generator=DCGAN(filters=8), output="tanh"),
        make("semisupervised-gan", (1, 8, 8), latent_dim=4, generator_hidden=(30,)),
    ],
    ids=["vae", "autoencoder", "dcgan", "semisupervised-gan"],
)
@pytest.mark.parametrize("n", [1, 70])
def test_the_pixels_are_those_of_decode(model: Model, n: int) -> None:
    codes = drawn(n, model.config.latent_dim)
    pixels = run(thread.Decoder(quick.quicker(model)).decode(codes))
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == (n, *model.shape[1:], model.shape[0])
    assert np.abs(pixels - bytes_of(model, codes)).max() <= 1
    assert (pixels == bytes_of(model, codes)).mean() > 0.999


def test_requests_that_wait_are_one_batch_and_each_gets_its_own(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "FEWEST", 100)

    async def main() -> None:
        decoder = thread.Decoder(gate)
        first = asyncio.create_task(decoder.decode(level(7)))
        await until(gate.began.is_set)
        others = [asyncio.create_task(decoder.decode(level(*range(10 * i, 10 * i + i)))) for i in range(1, 6)]
        await until(lambda: len(decoder._waiting) == 5)
        gate.opened.set()
        assert (await first).ravel().tolist() == [7]
        for i, other in enumerate(others, 1):
            assert (await other).ravel().tolist() == list(range(10 * i, 10 * i + i))

    run(main())
    assert [len(batch) for batch in gate.batches][:2] == [1, 15]


def test_a_large_request_does_not_keep_a_small_one_waiting(gate: Gate) -> None:
    async def main() -> None:
        decoder = thread.Decoder(gate)
        large = asyncio.create_task(decoder.decode(level(*[3] * 1024)))
        await until(gate.began.is_set)
        small = asyncio.create_task(decoder.decode(level(9)))
        await until(lambda: len(decoder._waiting) == 2)
        gate.opened.set()
        assert (await small).ravel().tolist() == [9]
        assert (await large).ravel().tolist() == [3] * 1024

    run(main())
    assert 9 in gate.batches[1], "it is in the very next batch"
    assert len(gate.batches[0]) < 1024


def test_a_batch_is_of_one_model_and_they_take_turns(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "FEWEST", 3)
    monkeypatch.setattr(thread, "MOST", 3)
    other = Gate()
    other.opened.set()

    async def main() -> None:
        decoder = thread.Decoder(gate)
        first = asyncio.create_task(decoder.decode(level(7)))
        await until(gate.began.is_set)
        asked = [(gate, 1), (other, 101), (gate, 11), (other, 111)]
        tasks = [asyncio.create_task(decoder.decode(level(*range(i, i + 5)), it)) for it, i in asked]
        await until(lambda: len(decoder._waiting) == 4)
        gate.opened.set()
        await first
        for task, (_, i) in zip(tasks, asked, strict=True):
            assert (await task).ravel().tolist() == list(range(i, i + 5))
        assert (await decoder.decode(level(9))).ravel().tolist() == [9], "its own model where none is named"

    run(main())
    assert sorted(itertools.chain(*gate.batches)) == [1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 14, 15]
    assert sorted(itertools.chain(*other.batches)) == [101, 102, 103, 104, 105, 111, 112, 113, 114, 115]


def test_what_nobody_waits_for_is_not_decoded(gate: Gate) -> None:
    async def main() -> None:
        decoder = thread.Decoder(gate)
        first = asyncio.create_task(decoder.decode(level(1)))
        await until(gate.began.is_set)
        gone = asyncio.create_task(decoder.decode(level(*[2] * 1000)))
        await until(lambda: len(decoder._waiting) == 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.opened.set()
        await first
        assert (await decoder.decode(level(3))).ravel().tolist() == [3]

    run(main())
    assert gate.batches == [[1], [3]]


def test_a_model_that_fails_fails_those_who_asked_alone(gate: Gate) -> None:
    gate.opened.set()
    decoded = gate.decoded

    def fails(z: torch.Tensor) -> torch.Tensor:
        if (z == 13).any():
            raise RuntimeError("no 13")
        return decoded(z)

    gate.decoded = fails  # type: ignore[method-assign]

    async def main() -> None:
        decoder = thread.Decoder(gate)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no 13"):
                await decoder.decode(level(*[13] * 50))
            assert (await decoder.decode(level(4))).ravel().tolist() == [4]

    run(main())


def test_the_thread_ends_without_work_and_begins_with_it(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "IDLE", 0.01)
    gate.opened.set()

    async def main() -> None:
        decoder = thread.Decoder(gate)
        for i in range(3):
            assert (await decoder.decode(level(i))).ravel().tolist() == [i]
            await until(lambda: decoder._thread is None)

    run(main())


def test_a_loop_that_is_closed_harms_nobody(gate: Gate) -> None:
    decoder = thread.Decoder(gate)

    async def leave() -> None:
        task = asyncio.create_task(decoder.decode(level(1)))
        await until(gate.began.is_set)
        task.cancel()

    run(leave())
    gate.opened.set()
    assert run(decoder.decode(level(2))).ravel().tolist() == [2]


def test_batches_are_about_as_long_as_they_should_be() -> None:
    class Slow(Gate):
        def decoded(self, z: torch.Tensor) -> torch.Tensor:
            self.batches.append([len(z)])
            end = time.perf_counter() + 0.001 * len(z)
            while time.perf_counter() < end:
                pass
            return z[:, :, None, None] / 255

    slow = Slow()
    run(thread.Decoder(slow).decode(level(*[1] * 150)))
    sizes = [size for (size,) in slow.batches]
    assert sum(sizes) == 150 and max(sizes) <= 21, "a millisecond a code, so at most 20 of them"


# Messages


def test_codes_are_checked() -> None:
    model = SimpleNamespace(latent_dim=3, shape=(1, 4, 4))
    z = drawn(5, 3)
    assert (decoding.codes(z.tobytes(), model) == z).all()
    for bad in (b"", b"1234", z.tobytes()[:-1], bytes(12 * 1025)):
        with pytest.raises(
            ValueError, match=rf"^{len(bad):,} bytes: this model takes from 1 to 1,024 codes of 12 bytes"
        ):
            decoding.codes(bad, model)
    for value in (np.nan, np.inf, -np.inf):
        z[4, 1] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            decoding.codes(z.tobytes(), model)
    model.shape = (2,)
    with pytest.raises(CannotError, match="points"):
        decoding.codes(drawn(5, 3).tobytes(), model)


class Models:
    """Stands for `Studied`: any run has this model."""

    def __init__(self, model: Any) -> None:
        self.model, self.decoder = model, thread.Decoder(model)
        self.told = functools.lru_cache(functools.partial(studied.told, model))

    async def held(self, run: str) -> Any:
        if run != "it":
            raise CannotError(f"no {run!r}")
        return self


class Client:
    """A connection as the server sees it; `sent` is what it has sent, `close` goes away."""

    def __init__(self, app: Starlette, run: str = "it") -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.sent: list[dict[str, Any]] = []
        self.readable = asyncio.Event()  # while it is not set, the client reads nothing
        self.readable.set()
        scope = {"type": "websocket", "path": "/ws/decode", "query_string": f"run={run}".encode(), "headers": []}
        socket = WebSocket(scope | {"app": app}, self.inbox.get, self._send)
        self.task = asyncio.create_task(decoding.connection(socket))

    async def _send(self, message: Any) -> None:
        await self.readable.wait()
        self.sent.append(message)

    def ask(self, sequence: int, codes: np.ndarray | bytes) -> None:
        body = codes if isinstance(codes, bytes) else codes.astype("<f4").tobytes()
        self.inbox.put_nowait({"type": "websocket.receive", "bytes": sequence.to_bytes(4, "little") + body})

    @property
    def answers(self) -> list[dict[str, Any]]:
        return self.sent[1:]  # after the acceptance

    @property
    def sequences(self) -> list[int]:
        return [int.from_bytes(it["bytes"][:4], "little") for it in self.answers]

    async def close(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.task, PATIENCE)


def connected(model: Any, main: Callable[[Callable[..., Client]], Awaitable[None]]) -> None:
    """Run `main(connect)` and close what is still open."""

    async def body() -> None:
        app, clients = Starlette(), []
        app.state.studied = Models(model)

        def connect(run: str = "it") -> Client:
            clients.append(Client(app, run))
            return clients[-1]

        await main(connect)
        for client in clients:
            if not client.task.done():
                await client.close()

    run(body())


def test_a_picture_by_its_number() -> None:
    model = make("vae", (3, 6, 4), latent_dim=3)
    z = drawn(7, 3)

    async def main(connect: Callable[..., Client]) -> None:
        client = connect()
        for sequence in (0, 2**32 - 1):
            client.ask(sequence, z)
            await until(lambda: len(client.answers) == 1)
            answer = client.sent.pop()["bytes"]
            assert int.from_bytes(answer[:4], "little") == sequence
            pixels = np.frombuffer(answer[4:], np.uint8).reshape(7, 6, 4, 3)
            assert np.abs(pixels - bytes_of(model, z)).max() <= 1

    connected(model, main)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "a message of 4 bytes"),
        (b"123", "1,024 codes"),
        (bytes(4 * 1025), "1,024 codes"),
        (np.float32(np.nan).tobytes(), "NaN"),
        (bytes(decoding.LARGEST), "4,194,304 at most"),
    ],
    ids=["nothing", "a part", "too many", "NaN", "too large"],
)
def test_a_bad_request_is_told_so_and_the_next_is_answered(gate: Gate, message: bytes, says: str) -> None:
    gate.opened.set()

    async def main(connect: Callable[..., Client]) -> None:
        client = connect()
        client.ask(77, message)
        await until(lambda: client.answers)
        error = json.loads(client.answers[0]["text"])
        assert error["sequence"] == 77 and says in error["error"]
        client.ask(78, level(5))
        await until(lambda: len(client.answers) == 2)
        assert client.answers[1]["bytes"] == b"\x4e\0\0\0\x05"

    connected(gate, main)
    assert gate.batches == [[5]]


def test_a_model_that_fails_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Gate):
        def decoded(self, z: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

    async def main(connect: Callable[..., Client]) -> None:
        client = connect()
        for i in range(2):
            client.ask(i, level(1))
            await until(lambda i=i: len(client.answers) == i + 1)
            assert "failed (ZeroDivisionError)" in json.loads(client.answers[i]["text"])["error"]

    connected(Broken(), main)
    assert "ZeroDivisionError" in caplog.text


def test_text_and_unknown_runs_are_told_so(gate: Gate) -> None:
    async def main(connect: Callable[..., Client]) -> None:
        client, other = connect(), connect("none")
        client.inbox.put_nowait({"type": "websocket.receive", "text": "0.5, 0.5"})
        other.ask(3, level(1))
        await until(lambda: client.answers and other.answers)
        assert json.loads(client.answers[0]["text"])["sequence"] == 0
        assert json.loads(other.answers[0]["text"]) == {"sequence": 3, "error": "no 'none'"}

    connected(gate, main)


def test_the_latest_wins(gate: Gate) -> None:
    async def main(connect: Callable[..., Client]) -> None:
        client = connect()
        client.ask(1, level(1))
        await until(gate.began.is_set)
        for sequence in range(2, 50):
            client.ask(sequence, level(sequence))
        await until(client.inbox.empty)
        gate.opened.set()
        await until(lambda: len(client.answers) == 2)
        assert client.sequences == [1, 49]
        assert [it["bytes"][4] for it in client.answers] == [1, 49]

    connected(gate, main)
    assert gate.batches == [[1], [49]]


def test_several_connections_share_a_batch(gate: Gate) -> None:
    async def main(connect: Callable[..., Client]) -> None:
        clients = [connect() for _ in range(5)]
        clients[0].ask(0, level(0))
        await until(gate.began.is_set)
        for i in range(1, 5):
            clients[i].ask(i, level(i))
        await until(lambda: all(client.inbox.empty() for client in clients))
        waiting = clients[0].task  # the decoder is that of the app
        assert not waiting.done()
        await until(lambda: len(gate_decoder(gate)._waiting) == 4)
        gate.opened.set()
        await until(lambda: all(client.answers for client in clients))
        assert [client.answers[0]["bytes"][4] for client in clients] == list(range(5))

    decoders: list[thread.Decoder] = []

    def gate_decoder(_: Gate) -> thread.Decoder:
        return decoders[0]

    original = thread.Decoder.__init__

    def remember(self: thread.Decoder, model: Any) -> None:
        original(self, model)
        decoders.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread.Decoder, "__init__", remember)
        connected(gate, main)
    assert sorted(itertools.chain(*gate.batches)) == list(range(5)) and len(gate.batches) == 2


def test_a_client_that_goes_away_takes_its_request_along(gate: Gate) -> None:
    async def main(connect: Callable[..., Client]) -> None:
        leaving, staying = connect(), connect()
        staying.ask(1, level(1))
        await until(gate.began.is_set)
        leaving.ask(2, level(*[2] * 1000))
        await until(leaving.inbox.empty)
        await leaving.close()
        gate.opened.set()
        await until(lambda: staying.answers)
        staying.ask(3, level(3))
        await until(lambda: len(staying.answers) == 2)
        assert not leaving.answers

    connected(gate, main)
    assert gate.batches == [[1], [3]]


def test_a_client_that_floods_or_never_reads_costs_nobody_else(gate: Gate) -> None:
    gate.opened.set()

    async def main(connect: Callable[..., Client]) -> None:
        flood, deaf, other = connect(), connect(), connect()
        deaf.readable.clear()
        for sequence in range(20_000):
            flood.ask(sequence, level(1))
        deaf.ask(1, level(*[2] * 1000))
        for sequence in range(20):
            other.ask(sequence, level(3))
            await until(lambda sequence=sequence: len(other.answers) == sequence + 1)
        assert other.sequences == list(range(20)) and not deaf.answers
        await until(lambda: flood.answers and flood.sequences[-1] == 19_999)
        deaf.readable.set()

    connected(gate, main)


def test_a_run_on_disk_over_a_real_connection(tmp_path: Path, client: Any, runs: Path, make_run: Any) -> None:
    model = make("vae", latent_dim=20)
    model.save(make_run("it").path / "model")
    z = drawn(3, 20)
    with client.websocket_connect("ws://127.0.0.1:8765/ws/decode?run=it") as socket:
        socket.send_bytes(b"\7\0\0\0" + z.tobytes())
        answer = socket.receive_bytes()
        assert answer[:4] == b"\7\0\0\0"
        assert np.abs(np.frombuffer(answer[4:], np.uint8).reshape(3, 8, 8, 1) - bytes_of(model, z)).max() <= 1
    with client.websocket_connect("ws://127.0.0.1:8765/ws/decode?run=none") as socket:
        socket.send_bytes(b"\7\0\0\0" + z.tobytes())
        assert socket.receive_json() == {"sequence": 7, "error": "there is no 'none'."}
