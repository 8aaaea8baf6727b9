import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ganvas.data import load, store
from ganvas.ground.errors import UserError


def write(writer: store.Writer, n: int = 20, content: str = "content", how: str = "as is") -> str:
    writer.append(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1))
    return writer.finish(content, how, store.random_splits(n, "it"), np.arange(n))


def test_rows_and_labels_lie_split_after_split():
    entry = store.entry("m", write)
    rows = {name: (images.ravel().tolist(), labels.tolist()) for name, (images, labels) in entry.splits().items()}
    assert all(images == labels for images, labels in rows.values())
    assert sorted(image for images, _ in rows.values() for image in images) == list(range(20))
    assert {name: len(images) for name, (images, _) in rows.items()} == {"train": 16, "validation": 2, "test": 2}


def test_images_are_a_memory_map():
    images, labels = store.entry("m", write).splits()["train"]
    assert isinstance(images, np.memmap) and isinstance(labels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 1


def test_built_once_and_key_from_content_and_preparation_alone():
    calls = []

    def counted(writer):
        calls.append(1)
        return write(writer)

    key = store.entry("m", counted).key
    assert store.entry("m", counted).key == key and len(calls) == 1
    assert store.entry("another manifest", counted).key == key and len(calls) == 2
    assert store.entry("c", lambda writer: write(writer, content="other")).key != key
    assert store.entry("p", lambda writer: write(writer, how="other")).key != key


@pytest.mark.parametrize("n", [3, 4, 9, 10, 1797])
def test_splits_are_disjoint_and_whole_and_depend_on_n_alone(n):
    splits = store.random_splits(n, "it")
    assert all(len(rows) for rows in splits.values())
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(n))
    assert all(np.array_equal(rows, store.random_splits(n, "other")[name]) for name, rows in splits.items())


def test_too_few_rows():
    with pytest.raises(UserError, match=r"it has 2 usable images; at least 3"):
        store.random_splits(2, "it")


def test_a_build_that_fails_leaves_nothing(cache: Path):
    with pytest.raises(RuntimeError):
        store.entry("m", lambda writer: (_ for _ in ()).throw(RuntimeError("no")))
    assert not list((cache / "sets").iterdir()) and not list((cache / "building").iterdir())
    assert store.entry("m", write).key


def test_a_damaged_entry_is_built_again(cache: Path):
    entry = store.entry("m", write)
    with (entry.folder / "images.npy").open("r+b") as file:
        file.truncate(100)
    assert store.entry("m", write).splits()["train"][0].shape == (16, 1, 1, 1)
    (entry.folder / "meta.json").write_text("{")
    assert store.entry("m", write).splits()["train"][0].shape == (16, 1, 1, 1)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "order.npy", "meta.json"])
def test_an_entry_with_a_flipped_bit_is_built_again(name: str, caplog: pytest.LogCaptureFixture):
    """Wherever it is; a file that is cut or gone as well."""
    entry = store.entry("m", write)
    file = entry.folder / name
    whole = file.read_bytes()
    moments = np.random.default_rng(0)
    damaged = [whole[:-1], whole[: len(whole) // 2], b""]
    for place, bit in zip(moments.integers(0, len(whole), 40), moments.integers(0, 8, 40), strict=True):
        damaged += [whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]]
    for content in damaged:
        file.write_bytes(content)
        again = store.entry("m", write)
        assert again.meta == entry.meta and file.read_bytes() == whole
    assert sum("is damaged, and not used" in line for line in caplog.messages) >= 20
    file.unlink()
    assert store.entry("m", write).meta == entry.meta and file.read_bytes() == whole


def test_an_entry_of_an_earlier_release_has_no_checksums():
    entry = store.entry("m", write)
    meta = json.loads((entry.folder / "meta.json").read_text())
    del meta["checksums"], meta["checked"]
    (entry.folder / "meta.json").write_text(json.dumps(meta))

    def build(writer: store.Writer) -> str:
        raise AssertionError("it is taken as it is")

    assert store.entry("m", build).meta == entry.meta


def test_an_array_whose_copy_is_damaged_is_asked_for_again(cache: Path):
    data = load(np.zeros((30, 4, 4), np.uint8))
    file = cache / "sets" / data.fingerprint / "images.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match=r"is not in the cache .*Give that array again"):
        load(data.source)
    assert load(np.zeros((30, 4, 4), np.uint8)).fingerprint == data.fingerprint


SLOW = """
import sys, time
import numpy as np
from ganvas.data import store
def build(writer):
    print("building", flush=True)
    for row in range(20):
        writer.append(np.full((1, 1, 1, 1), row, np.uint8))
        time.sleep(float(sys.argv[1]) / 20)
    return writer.finish("content", "as is", store.random_splits(20, "it"), np.arange(20))
print(store.entry("m", build).key)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOW, str(seconds)], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_build_once():
    one, two = start(0.6), start(0.6)
    said = one.communicate()[0].split(), two.communicate()[0].split()
    assert one.returncode == two.returncode == 0
    assert sum("building" in words for words in said) == 1
    assert said[0][-1] == said[1][-1]


def test_a_killed_builder_is_swept_and_spoils_nothing(cache: Path):
    builder = start(60)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "building\n"
    time.sleep(0.1)
    os.kill(builder.pid, signal.SIGKILL)
    builder.communicate()
    assert len(list((cache / "building").iterdir())) == 1 and not list((cache / "sets").iterdir())
    store.entry("another", lambda writer: write(writer, content="other"))  # sweeps what another manifest left
    assert not list((cache / "building").iterdir())
    assert len(store.entry("m", write).splits()["train"][0]) == 16


def test_a_builder_at_work_is_not_swept(cache: Path):
    builder = start(1.0)
    assert builder.stdout is not None
    builder.stdout.readline()
    store.entry("another", lambda writer: write(writer, content="other"))
    builder.communicate()
    assert builder.returncode == 0
    assert len(list((cache / "sets").iterdir())) == 2


def test_a_build_within_a_build():
    """As stacked-mnist asks for mnist: the inner one must not sweep the outer one's folder away."""

    def outer(writer: store.Writer) -> str:
        writer.append(store.entry("inner", write).splits()["train"][0])
        return writer.finish("outer", "as is", store.random_splits(16, "it"))

    assert sum(len(images) for images, _ in store.entry("outer", outer).splits().values()) == 16


def test_an_array_is_found_again_by_its_source(random: np.random.Generator):
    images = random.integers(0, 256, (12, 4, 4), np.uint8)
    dataset = load(images, size=8)
    again = load(dataset.source, size=8)
    assert dataset.source.startswith("array:") and again.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.splits["train"].images, dataset.splits["train"].images)
    with pytest.raises(UserError, match=r"'array:0123' is not in the cache .* numpy\.save"):
        load("array:0123")


def test_meta_is_json(cache: Path):
    meta = json.loads((store.entry("m", write).folder / "meta.json").read_text())
    assert meta["splits"] == {"train": [0, 16], "validation": [16, 18], "test": [18, 20]}
