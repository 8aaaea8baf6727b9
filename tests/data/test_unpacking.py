"""What unpacks to far more than it is: refused, or read with flat memory."""

import gzip
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import arrays, load, look, store, unpacking
from ganvas.ground.errors import UserError

PEAK = """if True:
    import resource, sys
    import numpy as np
    import ganvas.data

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    ganvas.data.load(np.zeros((10, 28, 28), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None])
    before = peak()
    print(len(ganvas.data.load(sys.argv[1]).splits["train"]), peak() - before)
"""


def of_zeros(path: Path, n: int, shape: tuple[int, ...], dtype: str = "|u1", name: str = "images") -> Path:
    """An .npz of n rows of zeros, and a last one of ones, which is never whole in memory either."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": (n + 1, *shape)})
        for start in range(0, n, 1000):
            file.write(bytes(size * min(1000, n - start)))
        file.write(np.ones(shape, dtype).tobytes())
    return path


def test_an_array_that_unpacks_to_200_mb_is_read_with_flat_memory(tmp_path: Path) -> None:
    path = of_zeros(tmp_path / "set.npz", 50_000, (64, 64))
    assert path.stat().st_size < 0.5e6
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 40_001 and grown < 60e6


def test_what_unpacks_to_more_is_refused_unless_it_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = of_zeros(tmp_path / "set.npz", 2000, (8, 8))
    for factor in ("FREE", "RATIO"):
        monkeypatch.setattr(unpacking, factor, 10)
    says = r"set\.npz is refused as a decompression bomb: [\d,]+ bytes that unpack to 128,192 .*set GANVAS_UNPACK=any"
    with pytest.raises(UserError, match=says):
        load(path)
    monkeypatch.setenv("GANVAS_UNPACK", "any")
    assert len(load(path).splits["train"]) == 1601


def test_one_guard_for_all_that_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png, tiff, plain = io.BytesIO(), io.BytesIO(), Image.new("L", (64, 64))
    plain.save(png, "png")
    plain.save(tiff, "tiff", save_all=True, append_images=[plain] * 9, compression="tiff_deflate")
    files = {"a.png": png.getvalue(), "a.tiff": tiff.getvalue()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.bmp", bytes(10**6))
    try:
        import nibabel
        import pyarrow as pa
        import pyarrow.parquet as pq

        files["a.nii.gz"] = gzip.compress(nibabel.Nifti1Image(np.ones((30, 30, 5), np.int16), np.eye(4)).to_bytes())
        column = pa.array([bytes(10**6)] * 2)
        pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet", use_dictionary=False)
    except ImportError:
        pass
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(unpacking, "FREE", 1000)
    monkeypatch.setattr(unpacking, "RATIO", 1)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match=f"{path.name}.* refused as a decompression bomb: .* unpack to"):
            load(path)
    monkeypatch.setenv("GANVAS_UNPACK", "any")
    assert len(load(tmp_path / "a.tiff").splits["test"]) == 10, "what was refused is looked at anew"


def test_equal_images_of_a_parquet_file_are_in_memory_once(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(out, "png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for name, column in {
        "dict.parquet": pa.array([{"bytes": out.getvalue(), "path": "x"}] * 1000, kind),
        "plain.parquet": pa.array([out.getvalue()] * 1000),
    }.items():
        pq.write_table(pa.table({"image": column}), tmp_path / name, dictionary_pagesize_limit=10**7)
        before = pa.total_allocated_bytes()
        files = look.packed(str(tmp_path / name))
        assert files is not None and files.read(files.names[-1]) == out.getvalue()
        assert pa.total_allocated_bytes() - before < 5e6 < 1000 * len(out.getvalue())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<f8", "?", "i8"])
def test_rows_of_a_member_are_those_of_the_array(order: str, save, dtype: str, tmp_path: Path) -> None:
    values = np.asarray(np.random.default_rng(0).integers(0, 2, (1300, 5, 4)), dtype, order)
    save(tmp_path / "set.npz", images=values, labels=np.arange(1300))
    found = arrays.read(tmp_path / "set.npz")
    member = found["images"]
    assert (member.shape, member.dtype, len(member)) == (values.shape, values.dtype, 1300)
    for rows in (slice(0, 512), slice(512, 1024), slice(1024, 1300), slice(1299, None), slice(0, 3), slice(7, 7)):
        np.testing.assert_array_equal(member[rows], values[rows])
    np.testing.assert_array_equal(np.asarray(found["labels"]), np.arange(1300))
    assert store.digest(member) == store.digest(np.ascontiguousarray(values)), "the cache knows it by its numbers"
    assert look.look(str(tmp_path / "set.npz"))[0][1].endswith("values from 0 to 1")


def npz(path: Path, header: bytes | dict, data: bytes = b"", name: str = "images.npy") -> Path:
    out = io.BytesIO()
    if isinstance(header, dict):
        np.lib.format.write_array_header_1_0(out, header)
    else:
        out.write(header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, out.getvalue() + data)
    return path


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"descr": "|u1", "fortran_order": False, "shape": (10**12, 28, 28)}, "and it has 8"),
        ({"descr": "|u1", "fortran_order": True, "shape": (10**12, 28, 28)}, "and it has 8"),
        ({"descr": "|O", "fortran_order": False, "shape": (2,)}, "an array of object"),
        ({"descr": "|u1", "fortran_order": False, "shape": (-8, -1)}, r"\(-8, -1\)"),
        ({"descr": [("a", "<f4")], "fortran_order": False, "shape": (2,)}, "numbers are needed|accepted are"),
        ({"descr": "<M8[s]", "fortran_order": False, "shape": (1, 1)}, "numbers are needed"),
        ({"descr": "|u1", "fortran_order": False, "shape": ()}, "accepted are"),
        (b"nothing of the sort", "cannot be read as a NumPy file"),
        (b"\x93NUMPY\x03\x00" + bytes(20), r"an array of format \(3, 0\)"),
        (b"", "cannot be read as a NumPy file"),
    ],
)
def test_members_that_are_no_arrays(header, says: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "set.npz", header, bytes(8))
    with pytest.raises(UserError, match=says) as caught:
        load(path)
    assert "set.npz" in str(caught.value)
    assert json.dumps(str(caught.value))


def test_other_files_in_an_npz_and_damage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it holds 'readme\.txt', which is no array"):
        load(npz(tmp_path / "set.npz", b"x", name="readme.txt"))
    path = of_zeros(tmp_path / "cut.npz", 5000, (8, 8))
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 255
    path.write_bytes(spoilt)
    with pytest.raises(UserError, match=r"cut\.npz cannot be read as a NumPy file"):
        load(path)


def test_a_cache_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: int) -> None:
        raise store.NoRoomError(size, 5)

    monkeypatch.setattr(store, "check_room", full)
    with pytest.raises(UserError, match=r"6,400 bytes to keep, 5 are free in the cache, '.*': make room, or set"):
        load(np.arange(6400, dtype=np.uint8).reshape(100, 8, 8))
