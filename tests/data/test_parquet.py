"""Parquet files that pyarrow writes as Hugging Face does."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.data import load
from ganvas.ground.errors import UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ROWS = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)


def png(row: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(row).save(out, "PNG")
    return out.getvalue()


def write(path: Path, rows: Any = ROWS, names: list[str] | None = None, **columns: Any) -> Path:
    """A parquet file with a column of {bytes, path}, unless `columns` has an image."""
    images = [{"bytes": png(row), "path": f"{i}.png"} for i, row in enumerate(rows)]
    table = pa.table({"image": images, **columns})
    if names:
        facts = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=5)
    return path


def whole(found: Any, field: str) -> np.ndarray:
    order = np.argsort(np.concatenate([part.order for part in found.splits.values()]))
    return np.concatenate([getattr(part, field) for part in found.splits.values()])[order]


def test_a_file_of_images_with_classes_that_have_names(tmp_path):
    path = write(tmp_path / "pets.parquet", names=["cat", "ant"], label=[i % 2 for i in range(12)])
    found = load(path)
    assert (whole(found, "images") == ROWS).all() and found.classes == ("ant", "cat") and found.name == "pets"
    assert [found.classes[i] for i in whole(found, "labels")] == ["cat", "ant"] * 6
    assert whole(found, "names")[11] == "pets-0000011" and load(path).fingerprint == found.fingerprint


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes_and_plain_labels(tmp_path, kind):
    columns = {"label": ["b", "a"] * 6, "image": pa.array([png(row) for row in ROWS], kind)}
    found = load(write(tmp_path / "a.parquet", **columns))
    assert (whole(found, "images") == ROWS).all() and found.classes == ("a", "b")
    found = load(write(tmp_path / "b.parquet", **{"image": columns["image"]}), size=3, channels=1)
    assert found.classes is None and found.shape == (1, 3, 3)


@pytest.mark.parametrize("where", ["", "data"])
def test_a_folder_whose_files_are_splits(tmp_path, where):
    for i, split in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        write(tmp_path / where / f"{split}.parquet", ROWS[4 * i : 4 * i + 4], label=[0, 1, 0, 1])
    found = load(tmp_path)
    assert {name: len(part) for name, part in found.splits.items()} == {"train": 7, "validation": 1, "test": 4}
    assert (found.splits["test"].images == ROWS[8:]).all()


def test_without_a_test_file_splits_are_random(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / f"{split}-0.parquet")
    found = load(tmp_path)
    assert found.classes is None and sum(map(len, found.splits.values())) == 24


def test_beside_images_it_is_ignored(tmp_path, pictures):
    folder = pictures(4)
    write(folder / "metadata.parquet")
    assert sum(map(len, load(folder).splits.values())) == 4


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"image": list(range(12))}, r"columns \['image'\], and none holds encoded images"),
        ({"label": [0.5] * 12}, "the label of row 0 is 0.5; give whole numbers"),
        ({"image": [b"no image"] * 12}, "none of the 12 images can be read; the first: a-0000000: not an image"),
        ({"image": [{"bytes": None, "path": "x.png"}] * 12}, "its row has a path alone, 'x.png'"),
    ],
)
def test_files_that_can_not_be_read(tmp_path, columns, says):
    with pytest.raises(UserError, match=says):
        load(write(tmp_path / "a.parquet", **columns))


def test_a_row_without_an_image_is_left_out_by_name(tmp_path):
    images = pa.array([None, *(png(row) for row in ROWS[1:])], pa.binary())
    found = load(write(tmp_path / "a.parquet", image=images))
    assert "  a-0000000: its row has no image" in found.report


def test_a_class_that_is_none_other_columns_and_other_files(tmp_path):
    with pytest.raises(UserError, match="row 3: label is 2, no class"):
        load(write(tmp_path / "a.parquet", names=["x", "y"], label=[0, 1, 1, *[2] * 9]))
    for blank in (-1, None):
        found = load(write(tmp_path / "a.parquet", names=["x", "y"], label=[0, 1, 1, *[blank] * 9]))
        assert found.classes == ("x", "y") and "9 of 12 images have no label" in found.report
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read as a parquet file"):
        load(tmp_path / "a.parquet")
    write(tmp_path / "two" / "a.parquet", label=[0] * 12)
    write(tmp_path / "two" / "b.parquet")
    with pytest.raises(UserError, match=r"b.parquet has no column 'label', which a.parquet has"):
        load(tmp_path / "two")
    with pytest.raises(UserError, match="its own labels"):
        load(tmp_path / "two" / "a.parquet", labels=np.arange(12))


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[parquet\]'"):
        load(path)


def test_a_second_start_opens_no_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", label=[0, 1] * 6)
    first = load(path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert load(path).fingerprint == first.fingerprint and load(path).classes == ("0", "1")
