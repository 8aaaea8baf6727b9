import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from websockets.sync.client import connect

from ganvas.studio import playground

PLANE = {"kind": "plane", "units": 16, "layers": 1, "batch_size": 32}


def unpack(content: bytes):
    """The JSON and the arrays of a picture, by the description in the module's docstring."""
    (length,) = struct.unpack_from("<I", content)
    facts, place, arrays = json.loads(content[4 : 4 + length]), 4 + length, []
    for kind, shape in facts["arrays"]:
        arrays.append(
            np.frombuffer(content, np.dtype(kind).newbyteorder("<"), int(np.prod(shape)), place).reshape(shape)
        )
        place += -(-arrays[-1].nbytes // 4) * 4
    assert place == len(content)
    return facts, arrays


class Page:
    """The page's side of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.options = self.text()["options"]

    def say(self, **words):
        self.connection.send_text(json.dumps(words))

    def text(self):
        return json.loads(self.connection.receive_text())

    def picture(self):
        facts, arrays = unpack(self.connection.receive_bytes())
        if not facts["scene"]:
            self.say(seen=True)
        return facts, arrays


@pytest.fixture
def client():
    with TestClient(Starlette(routes=playground.ROUTES)) as client:
        yield client
    assert not playground._running


@contextmanager
def page(client):
    with client.websocket_connect("/ws/play") as connection:
        yield Page(connection)


def test_a_gan_in_the_plane_is_played_paused_stepped_and_begun_again(client):
    with page(client) as it:
        assert {"wasserstein", "minimax"} <= it.options["losses"].keys()
        assert it.options["techniques"]["clip"]["value"] == 0.01
        assert not {"augment", "mirror", "freeze"} & it.options["techniques"].keys(), "they are of images or of --init"
        it.say(settings=PLANE)
        scene, (real,) = it.picture()
        assert scene["scene"] and scene["modes"] == 8
        assert np.linalg.norm(real, axis=1) == pytest.approx(1, abs=0.1)  # a ring of radius 1
        first, (before, _, heat) = it.picture()
        assert first["step"] == 0 and heat.shape == (56 * 56,) and heat.dtype == np.uint8
        it.say(steps=3)
        while (now := it.picture())[0]["step"] < 3:
            pass
        assert now[0]["step"] == 3
        assert not np.array_equal(now[1][0], before)
        assert set(now[0]["losses"]) >= {"discriminator/loss", "generator/loss"}
        it.say(settings=PLANE, again=True)
        assert it.picture()[0]["scene"]
        facts, (after, *_) = it.picture()
        assert facts["step"] == 0
        assert np.array_equal(after, before)  # one seed, one start
        it.say(run=True)
        while it.picture()[0]["step"] < 20:
            pass


def test_a_rate_changes_while_it_goes_and_another_loss_begins_again(client):
    with page(client) as it:
        it.say(settings=PLANE, steps=2)
        assert it.picture()[0]["scene"]
        while it.picture()[0]["step"] < 2:
            pass
        it.say(settings={**PLANE, "lr_generator": 1e-5})
        facts, _ = it.picture()
        assert (facts["scene"], facts["step"]) == (False, 2)
        it.say(settings={**PLANE, "loss": "hinge"})
        facts, _ = it.picture()
        assert (facts["scene"], facts["step"]) == (True, 0)


REFUSED = {
    "mirror is of images": {"techniques": {"mirror": 5}},
    "take the loss minimax or non-saturating": {"loss": "hinge", "techniques": {"label-smoothing": 0.9}},
    "both bound the critic's slope": {"techniques": {"clip": 0.01, "r1": 1}},
    "augment is of images": {"techniques": {"augment": True}},
    "more than the playground takes": {"techniques": {"minibatch-discrimination": 10**9}},
    "Did you mean 'wasserstein'": {"loss": "wasserstin"},
    "units: 1000000 is refused": {"units": 10**6},
    "unknown setting 'colour'": {"colour": 1},
    "unknown game 'moon'": {"kind": "moon"},
    "lr_generator: 0.0 is refused": {"lr_generator": 0.0},
}


def test_what_ganvas_refuses_is_said_in_its_words(client):
    with page(client) as it:
        for says, settings in REFUSED.items():
            it.say(settings={**PLANE, **settings})
            assert says in it.text()["error"]
        for message in ("[1]", "{", "[" * 4000, json.dumps({"settings": "x" * 10_000}), '{"steps": "many"}'):
            it.connection.send_text(message)
            assert it.text().keys() == {"error"}
        it.say(settings=PLANE)
        assert it.picture()[0]["scene"]


def test_on_the_line_d_saturates_and_the_critic_keeps_its_slope(client):
    with page(client) as it:
        it.say(settings={"kind": "line", "bound": "gradient-penalty", "lr_critic": 1e-3}, steps=200)
        _, (x,) = it.picture()
        while (now := it.picture())[0]["step"] < 200:
            pass
        facts, (d, critic, minimax, non_saturating, wasserstein) = now
        between = (x > -4) & (x < 5)
        assert d[x < -5].min() > 0.99 and d[x > 5].max() < 0.01
        assert np.abs(facts["at"]["minimax"]) < 1e-3 < 1 < np.abs(facts["at"]["non-saturating"])
        # The gradient of the critic's cost is the slope of the critic, and near 1 in size: no calculation of ours.
        assert wasserstein[between][1:-1] == pytest.approx(np.gradient(critic, x)[between][1:-1], abs=0.2)
        assert (wasserstein[between] < -0.5).all()
        middle = np.abs(x) < 0.5  # where float32 has D and 1 - D, and differences do for derivatives
        d = d[middle].astype(float)
        assert np.gradient(np.log(d), x[middle])[1:-1] == pytest.approx(non_saturating[middle][1:-1], rel=0.1, abs=0.1)
        assert np.gradient(-np.log1p(-d), x[middle])[1:-1] == pytest.approx(minimax[middle][1:-1], rel=0.1, abs=0.1)


def test_gaussians_are_moved_while_it_goes_and_fakes_move_by_themselves_if_free(client):
    line = {"kind": "line", "units": 16, "loss": "non-saturating", "lr_generator": 0.1}
    with page(client) as it:
        it.say(settings=line, steps=1)
        it.picture()
        while it.picture()[0]["step"] < 1:
            pass
        it.say(settings={**line, "fake": 2.5, "real": -1})
        facts, _ = it.picture()
        assert (facts["step"], facts["real"][0], facts["fakes"]["critic"]) == (1, -1, [2.5, 1.0])
        it.say(settings={**line, "fake": 2.5, "real": -1, "free": True}, run=True)
        while it.picture()[0]["fakes"]["discriminator"][0] > 2:
            pass


def test_a_game_rests_while_its_pictures_are_not_seen(client):
    with page(client) as it:
        it.say(settings=PLANE)
        it.picture()
        it.say(run=True)
        facts, _ = unpack(it.connection.receive_bytes())
        child = next(iter(playground._running)).pid
        used = -1.0
        deadline = time.monotonic() + 120
        while (now := cpu(child)) != used and time.monotonic() < deadline:
            used = now
            time.sleep(1.2)  # of rest, a second at least
        assert now == used
        it.say(seen=True)
        assert it.picture()[0]["step"] > facts["step"]


def test_a_third_training_is_told_to_wait(client):
    with page(client) as first, page(client), client.websocket_connect("/ws/play") as third:
        assert "close another playground" in json.loads(third.receive_text())["ended"]
        first.say(settings=PLANE)
        assert first.picture()[0]["scene"]


def test_without_interest_it_ends(client, monkeypatch):
    monkeypatch.setattr(playground, "INTEREST", 3.0)
    with page(client) as it:
        it.say(settings=PLANE, run=True)
        child = next(iter(playground._running)).pid
        it.picture()
        while "text" not in (message := it.connection.receive()):
            it.say(seen=True)
        assert "start it again" in json.loads(message["text"])["ended"]
        wait_until(lambda: not alive(child))


def test_a_process_that_dies_is_said_to_have(client):
    with page(client) as it:
        os.kill(next(iter(playground._running)).pid, signal.SIGKILL)
        assert "by itself" in it.text()["ended"]


def test_the_process_ends_with_its_page(client):
    with page(client) as it:
        it.say(settings=PLANE, run=True)
        it.picture()
        child = next(iter(playground._running)).pid
        assert os.getpriority(os.PRIO_PROCESS, child) >= os.getpriority(os.PRIO_PROCESS, 0) + playground.NICE
    wait_until(lambda: not alive(child))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the process in /proc")
def test_the_process_ends_with_a_server_that_is_killed(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import uvicorn; from starlette.applications import Starlette; from ganvas.studio.playground import ROUTES;"
        f"uvicorn.run(Starlette(routes=ROUTES), port={port}, log_level='error')"
    )
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until(lambda: answers(port))
        with connect(f"ws://127.0.0.1:{port}/ws/play") as connection:
            assert "options" in connection.recv(120)
            connection.send(json.dumps({"settings": PLANE, "run": True}))
            assert isinstance(connection.recv(120), bytes)
            (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            assert alive(int(child))
            server.kill()
            server.wait()
            wait_until(lambda: not alive(int(child)))
    finally:
        server.kill()
        server.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cpu(pid):
    """Clock ticks that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return float(fields[11]) + float(fields[12])


def wait_until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
