"""Shards as WebDataset writes them."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.data import load, shards
from ganvas.ground.errors import UserError

ROWS = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)


def png(row: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(row).save(out, "PNG")
    return out.getvalue()


def write(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as shard:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    return path


def groups(rows: Any = ROWS, **kinds: Any) -> dict[str, bytes]:
    """000.png and its companions, whose contents are functions of the row's number."""
    found = {}
    for i, row in enumerate(rows):
        found |= {f"{i:03d}.{kind}": of(i).encode() for kind, of in kinds.items()}
        found[f"{i:03d}.png"] = png(row)
    return found


def whole(found: Any, field: str) -> np.ndarray:
    order = np.argsort(np.concatenate([part.order for part in found.splits.values()]))
    return np.concatenate([getattr(part, field) for part in found.splits.values()])[order]


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        ({"cls": lambda i: f"{i % 3}\n"}, ("0", "1", "2")),
        ({"cls": lambda i: "ab"[i % 2]}, ("a", "b")),
        ({"json": lambda i: json.dumps({"label": i % 2, "caption": "x"})}, ("0", "1")),
        ({"json": lambda i: json.dumps({"caption": "x"})}, None),
        ({"txt": lambda i: "a caption"}, None),
        ({}, None),
    ],
)
def test_groups_of_a_shard(tmp_path, kinds, classes):
    found = load(write(tmp_path / "set.tar", groups(**kinds)))
    assert (whole(found, "images") == ROWS).all() and found.classes == classes and found.name == "set"
    assert whole(found, "names")[11] == "set-011.png"


def test_a_folder_or_a_pattern_of_shards_with_the_same_keys(tmp_path):
    for i in range(3):
        write(tmp_path / f"s-{i:02d}.tar", groups(ROWS[4 * i : 4 * i + 4], cls=lambda k: f"{k}"))
    for source in (tmp_path, tmp_path / "s-{00..02}.tar", str(tmp_path / "s-{00..02}.tar")):
        found = load(source)
        assert (whole(found, "images") == ROWS).all() and len(set(whole(found, "names"))) == 12
        assert load(found.source).fingerprint == found.fingerprint
    assert len(whole(load(tmp_path / "s-{01..02}.tar"), "images")) == 8
    assert [path.name for path in shards.find(str(tmp_path / "s-{0..0}{1..2}.tar"))] == ["s-01.tar", "s-02.tar"]


def test_shards_that_are_named_as_splits(tmp_path):
    write(tmp_path / "train-0.tar", groups(ROWS[:8]))
    write(tmp_path / "test-0.tar", groups(ROWS[8:]))
    found = load(tmp_path)
    assert (found.splits["test"].images == ROWS[8:]).all() and found.classes is None


def test_members_are_read_in_place_and_never_unpacked(tmp_path):
    members = {f"../../{name}": data for name, data in groups().items()}
    assert (whole(load(write(tmp_path / "a" / "b" / "s.tar", members)), "images") == ROWS).all()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["s.tar"]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "holds no images"),
        ({"0.txt": b"x"}, r"holds no images: \{'.txt': 1\}"),
        (groups() | {"000.jpg": b"x"}, "'000' has 2 images, png, jpg: it takes one"),
        (groups(json=lambda i: "{"), "'000': its label cannot be read"),
        (groups(cls=lambda i: "1") | {"003.cls": b"\xff\xfe"}, "'003': its label cannot be read"),
    ],
)
def test_shards_that_are_none(tmp_path, members, says):
    with pytest.raises(UserError, match=says):
        load(write(tmp_path / "s.tar", members))


def test_images_without_a_label_beside_others(tmp_path):
    found = load(write(tmp_path / "s.tar", groups() | {"000.cls": b"1", "001.cls": b"2"}))
    assert found.classes == ("1", "2") and "10 of 12 images have no label" in found.report


def test_what_is_no_tar_or_is_not_there(tmp_path):
    write(tmp_path / "s-0.tar", groups(), "w:gz")
    with pytest.raises(UserError, match="cannot be read as a tar file, not compressed"):
        load(tmp_path / "s-0.tar")
    with pytest.raises(UserError, match=r"2 of 3 shards are not there, the first 's-1.tar'"):
        load(tmp_path / "s-{0..2}.tar")
    with pytest.raises(UserError, match=r"3..1 counts down"):
        load(tmp_path / "s-{3..1}.tar")
    with pytest.raises(UserError, match=r"there is no .*gone.tar"):
        load(tmp_path / "gone.tar")


def test_a_damaged_image_is_left_out_by_name(tmp_path):
    found = load(write(tmp_path / "s.tar", groups() | {"004.png": b"no image"}))
    assert "  s-004.png: not an image, or its header is damaged" in found.report


def test_a_second_start_scans_no_shard(tmp_path, monkeypatch):
    path = write(tmp_path / "s.tar", groups(cls=lambda i: f"{i % 2}"))
    first = load(path)
    with monkeypatch.context() as patched:
        patched.setattr(shards, "_scan", None)
        assert load(path).fingerprint == first.fingerprint and load(path).classes == ("0", "1")
        again = load(path, stream=True)  # whose names are needed at every start
        assert again.classes == ("0", "1") and (whole(again, "images") == whole(first, "images")).all()
    write(path, groups(cls=lambda i: f"{i % 3}"))
    assert load(path).classes == ("0", "1", "2")
    write(path, groups() | {"000.cls": b"1"})
    assert load(path).classes == ("1",)
