"""Images that are decoded when they are asked for, beside those of the cache."""

import dataclasses
import io
import os
import shutil
import sys
import tarfile
import tracemalloc
import warnings
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.data import Dataset, Split, describe, folder, load, streamed
from ganvas.data.loader import Batches, to_tensor
from ganvas.evaluate import average
from ganvas.ground.errors import UserError
from ganvas.models import MODELS, Model
from ganvas.models.base import FAMILIES

Pictures = Callable[..., Path]


def flat(pictures: Pictures, tmp_path: Path) -> Path:
    return pictures(20)


def classes(pictures: Pictures, tmp_path: Path) -> Path:
    pictures(7, where="set/a"), pictures(9, where="set/b")
    return tmp_path / "set"


def given_splits(pictures: Pictures, tmp_path: Path) -> Path:
    for split in ("train", "test"):
        pictures(12, where=f"set/{split}/a"), pictures(3, where=f"set/{split}/b")
    return tmp_path / "set"


def zipped(pictures: Pictures, tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(classes(pictures, tmp_path).rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
    return tmp_path / "set.zip"


def shard(pictures: Pictures, tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for i, file in enumerate(sorted(pictures(12).iterdir())):
            tar.add(file, file.name)
            label = tarfile.TarInfo(f"{file.stem}.cls")
            label.size = 1
            tar.addfile(label, io.BytesIO(str(i % 3).encode()))
    return tmp_path / "set.tar"


def table(pictures: Pictures, tmp_path: Path) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [file.read_bytes() for file in sorted(pictures(12).iterdir())]
    rows = pa.table({"image": pa.array(images, pa.binary()), "label": [i % 2 for i in range(12)]})
    pq.write_table(rows, tmp_path / "set.parquet", row_group_size=5)
    return tmp_path / "set.parquet"


def pages(pictures: Pictures, tmp_path: Path) -> Path:
    where = pictures(12)
    for name in ("a", "b"):
        stack = [Image.fromarray(np.full((8, 8), 100 + i, np.uint8)) for i in range(3)]
        stack[0].save(where / f"{name}.tif", save_all=True, append_images=stack[1:])
    return where


def volumes(pictures: Pictures, tmp_path: Path) -> Path:
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 5)).astype(np.int16)
    values[..., 1] = 0  # an empty slice, which is left out
    for i in range(11):
        nibabel.save(nibabel.Nifti1Image(values + np.int16(i), np.eye(4)), pictures(0) / f"{i:02d}.nii.gz")
    return pictures(0)


def wide(pictures: Pictures, tmp_path: Path) -> Path:
    where = pictures(6, (8, 8))
    for i in range(6):
        Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 100 + i).save(where / f"wide{i}.png")
    return where


def mixed(pictures: Pictures, tmp_path: Path) -> Path:
    pictures(5, (9, 12, 3)), pictures(4, (20, 17), where="photos/grey")
    return pictures(3, (40, 70, 3), where="photos/large", suffix="jpg").parent


def damaged(pictures: Pictures, tmp_path: Path) -> Path:
    (where := pictures(20)).joinpath("0003.png").write_bytes(b"no image")
    return where


MADE = [flat, classes, given_splits, zipped, shard, table, pages, volumes, wide, mixed, damaged]


def same(one: Dataset, other: Dataset) -> None:
    assert (one.shape, one.classes, one.preparation) == (other.shape, other.classes, other.preparation)
    assert (one.range, one.levels, one.name, one.source) == (other.range, other.levels, other.name, other.source)
    for name, part in one.splits.items():
        like = other.splits[name]
        assert (part.images.shape, part.images.dtype) == (like.images.shape, like.images.dtype)
        for field in ("images", "labels", "names", "order"):
            np.testing.assert_array_equal(getattr(part, field), getattr(like, field))


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_the_same_rows_as_from_the_cache(make: Any, pictures: Pictures, tmp_path: Path) -> None:
    source = make(pictures, tmp_path)
    for how in ({}, {"size": (6, 5), "channels": 1}, {"limit": 4}, {"range": (10, 90)}):
        kept, found = load(source, **how), load(source, stream=True, **how)
        same(found, kept)
        assert isinstance(found.splits["train"].images, streamed.Images) and found.how["stream"]
        assert not kept.how["stream"] and isinstance(kept.splits["train"].images, np.memmap)
        assert found.report == (*kept.report, "streamed, which means decoded when they are asked for: as asked")
        assert found.fingerprint not in (kept.fingerprint, load(source, stream=True).fingerprint if how else "")
        again = load(found)
        assert again.fingerprint == found.fingerprint and again.how == found.how


def test_rows_are_taken_as_those_of_an_array(pictures: Pictures) -> None:
    source = pictures(20)
    rows, kept = (load(source, stream=stream).splits["train"].images for stream in (True, False))
    for taken in (0, -1, np.int64(3), slice(2, 9, 3), slice(0, 0), [5, 1, 5], np.arange(16) % 2 == 0, slice(None)):
        assert (rows[taken] == kept[taken]).all() and rows[taken].shape == kept[taken].shape
    assert (len(rows), rows.shape, rows.nbytes) == (len(kept), kept.shape, kept.nbytes)
    assert (np.stack(list(rows)) == kept).all() and (np.asarray(rows, np.float32) == kept).all()
    assert (to_tensor(rows) == to_tensor(kept)).all()
    with pytest.raises(IndexError):
        rows[16]
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)


Usage = namedtuple("Usage", "total used free")


def test_what_the_cache_has_no_room_for(pictures: Pictures, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    source, needed = pictures(100, (16, 16, 3)), 2 * 100 * 16 * 16 * 3 / 0.9
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(needed) - 10))
    found = load(source)
    assert found.how["stream"] and isinstance(found.splits["test"].images, streamed.Images)
    assert found.report[-1].endswith("kept, they would take 7.68e-05 GB, and 0.000171 GB are free in the cache")
    assert not load(source, size=4).how["stream"]
    with pytest.raises(UserError, match="--binarise keeps the pixels that it draws, and 'photos' is streamed: leave"):
        load(source, binarise=True)
    shown = dict(describe(found))
    assert shown["size on disk"] == "0.1 MB decoded, of which none is kept: streamed" and "duplicates" not in shown
    kept = load(source, stream=False)
    same(found, kept)
    assert load(source).fingerprint == kept.fingerprint, "what is there needs no room"


def test_nothing_is_written_but_what_was_seen(pictures: Pictures, cache: Path) -> None:
    found = load(pictures(100, (32, 32, 3)), stream=True)
    assert len(found.splits["train"].images[:]) == 80
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"notes", "locks"}
    assert sum(path.stat().st_size for path in files) < 1000


def test_files_are_looked_at_once(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pictures(20)
    first = load(source, stream=True)
    monkeypatch.setattr(folder, "_in_threads", lambda *_: pytest.fail("the files are looked at again"))
    assert load(source, stream=True).fingerprint == first.fingerprint
    assert load(source, stream=True, size=5).shape == (3, 5, 5)


@pytest.mark.parametrize("change", ["touched", "added", "renamed"])
def test_the_fingerprint_is_of_names_sizes_and_times(change: str, pictures: Pictures) -> None:
    source = pictures(20)
    before = load(source, stream=True).fingerprint
    if change == "touched":
        os.utime(source / "0003.png", (1, 1))
    elif change == "added":
        shutil.copy(source / "0003.png", source / "9999.png")
    else:
        (source / "0003.png").rename(source / "9999.png")
    assert load(source, stream=True).fingerprint != before


def test_a_file_that_fails_later_is_named(pictures: Pictures) -> None:
    source = pictures(20, (64, 64, 3), suffix="jpg")
    cut = source / "0003.jpg"
    cut.write_bytes(cut.read_bytes()[:2000])  # its header is whole
    found = load(source, stream=True)
    assert sum(map(len, found.splits.values())) == 20 and len(found.report) == 1
    with pytest.raises(UserError, match=r"'0003.jpg' cannot be read: image file is truncated.*bring back the file"):
        [part.images[:] for part in found.splits.values()]
    cut.unlink()
    with pytest.raises(UserError, match=r"'0003.jpg' cannot be read: .*No such file"):
        [part.images[:] for part in found.splits.values()]


def test_unreadable_files_at_the_start(pictures: Pictures, tmp_path: Path) -> None:
    source = damaged(pictures, tmp_path)
    found = load(source, stream=True)
    assert found.report[:2] == (
        "1 of 20 files could not be read and were left out:",
        "  0003.png: not an image, or its header is damaged",
    )
    with pytest.raises(UserError, match=r"'0003.png' cannot be read: .*dropping --strict"):
        load(source, stream=True, strict=True)
    for file in source.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"none of the 20 images can be read; the first: 0000.png: not an image"):
        load(source, stream=True)


def test_dark_images_are_as_they_are(tmp_path: Path) -> None:
    for i in range(5):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"{i}.png")
    assert load(tmp_path).range == (0, 4) and load(tmp_path, stream=True).range == (0, 255)


@pytest.mark.parametrize("source", ["ring", "array", "pictures"])
def test_what_is_no_file_of_images_is_not_streamed(source: str) -> None:
    given: Any = {
        "array": np.zeros((9, 8, 8), np.uint8),
        "pictures": [Image.new("L", (8, 8), i) for i in range(5)],
    }
    with pytest.raises(UserError, match=r"can't be streamed, which takes image files: .*Leave --stream out"):
        load(given.get(source, source), stream=True)
    assert load(given.get(source, source)).how["stream"] is False


def counted(found: Dataset, split: str = "train") -> tuple[Split, list[str]]:
    """A split of streamed images, and the names of the files that are read, as they are."""
    part, read = found.splits[split], list[str]()
    images: Any = part.images

    def watched(name: str) -> bytes:
        read.append(name)
        return images.files.read(name)

    files = dataclasses.replace(images.files, read=watched)
    return dataclasses.replace(part, images=dataclasses.replace(images, files=files)), read


def test_processes_decode_their_own_rows(pictures: Pictures) -> None:
    found = load(pictures(50), stream=True)
    kept = Batches(load(found.source, stream=False).splits["train"], 8, seed=3)
    shares = []
    for rank in range(2):
        split, read = counted(found)
        share = Batches(split, 8, seed=3, rank=rank, world=2)
        for step in range(5):
            assert (share[step].images == kept[step].images[4 * rank : 4 * rank + 4]).all()
        share._begun[5]()  # the next one is decoded meanwhile
        shares.append(sorted(read))
    assert [len(read) for read in shares] == [20 + 4, 20 + 4]
    # The first epoch has 5 batches of 8, and the sixth is of the second one, in another order.
    own = [set(np.asarray(found.splits["train"].names)[_order(kept, rank)]) for rank in range(2)]
    assert not own[0] & own[1] and all(own[rank] <= set(shares[rank]) for rank in range(2))


def _order(batches: Batches, rank: int) -> np.ndarray:
    return np.concatenate([batches._rows(step)[4 * rank : 4 * rank + 4] for step in range(5)])


def test_a_batch_is_decoded_once_for_all_players(pictures: Pictures) -> None:
    split, read = counted(load(pictures(50), stream=True))
    batches = Batches(split, 8, seed=0)
    for step in (0, 0, 1, 1, 2):
        batches[step]
    batches._begun[3]()
    assert len(read) == 4 * 8 and len(batches._begun) == 2
    whole = Batches(split, 8, seed=0)
    for step in (7, 2, 4):
        assert (whole[step].images == Batches(split, 8, seed=0)[step].images).all(), "in any order"


def test_a_validation_decodes_each_image_once(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[average.__module__], "ROWS", 5)
    found = load(pictures(60), stream=True)
    config = MODELS.parse({"kind": "vae", "latent_dim": 2})
    model: Model = FAMILIES[type(config)](config, found.shape)
    split, read = counted(found)
    whole = average(model, split, seed=0)
    assert len(read) == 48
    parts = []
    for rank, blocks in enumerate([5, 6]):  # of ten; the second looks at the first one too, for the names of figures
        read.clear()
        parts.append(average(model, split, seed=0, rank=rank, world=2))
        assert 5 * blocks - 2 <= len(read) <= 5 * blocks
    assert parts[0]["loss"] + parts[1]["loss"] == pytest.approx(whole["loss"])


def test_memory_is_flat(pictures: Pictures) -> None:
    batches = Batches(load(pictures(200, (64, 64, 3)), stream=True).splits["train"], 4, seed=0)
    batches[0]
    tracemalloc.start()
    try:
        for step in range(len(batches)):
            batches[step]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one = 64 * 64 * 3
    assert len(batches) == 40 and most < 40 * one, "of 160 images; a batch is 4, and of floats 4 times as large"


def test_odd_metadata_is_not_said(pictures: Pictures) -> None:
    where = pictures(10, suffix="jpg")
    for file in where.iterdir():
        image = Image.open(file)
        image.load()
        image.save(file, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")  # more entries than it has
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streamed._pool.cache_clear()
        assert len(load(where, stream=True).splits["train"].images[:]) == 8
