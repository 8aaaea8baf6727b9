"""Valid files of every kind, spoilt from a seed: a set is loaded, or refused by a sentence with the file's name."""

import gzip
import io
import json
import os
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import Dataset, load
from ganvas.ground.errors import UserError

ROUNDS = int(os.environ.get("GANVAS_TEST_MUTATIONS", "5"))  # of each kind
SECONDS = 5
Random = np.random.Generator
GREY = np.random.default_rng(0).integers(0, 256, (12, 9, 7), np.uint8)


def encoded(kind: str, values: np.ndarray = GREY[0], **how: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind, **how)
    return out.getvalue()


def saved(save: Callable[..., None], *values: object, **named: object) -> bytes:
    out = io.BytesIO()
    save(out, *values, **named)
    return out.getvalue()


def shard() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i, image in enumerate(GREY[:6]):
            for end, content in (("png", encoded("png", image)), ("cls", str(i % 2).encode())):
                member = tarfile.TarInfo(f"{i:03d}.{end}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, image in enumerate(GREY[:6]):
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", encoded("png", image))
    return out.getvalue()


def table() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"image": [encoded("png", image) for image in GREY], "label": [i % 3 for i in range(12)]}
    return saved(lambda out: pq.write_table(pa.table(columns), out))


def volume() -> bytes:
    import nibabel

    return bytes(nibabel.Nifti1Image(GREY.astype(np.int16), np.eye(4)).to_bytes())


def scan() -> bytes:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    found = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    found.Rows, found.Columns, found.SamplesPerPixel, found.PhotometricInterpretation = 9, 7, 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 12, 11, 0
    found.RescaleSlope, found.RescaleIntercept, found.WindowCenter, found.WindowWidth = "2", "-1000", "40", "400"
    found.PixelData = (GREY[0].astype(np.uint16) * 16).tobytes()
    return saved(lambda out: pydicom.dcmwrite(out, found, enforce_file_format=True))


WIDE = GREY[0].astype(np.uint16) * 200
KINDS: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded("png"),
    "jpg": lambda: encoded("jpeg", np.stack([GREY[0]] * 3, -1)),
    "tif": lambda: encoded("tiff", save_all=True, append_images=[Image.fromarray(GREY[1])]),
    "16.tif": lambda: encoded("tiff", WIDE, compression="tiff_lzw"),
    "16.png": lambda: encoded("png", WIDE),
    "gif": lambda: encoded("gif"),
    "bmp": lambda: encoded("bmp"),
    "webp": lambda: encoded("webp", np.stack([GREY[0]] * 3, -1)),
    "npy": lambda: saved(np.save, GREY),
    "npz": lambda: saved(np.savez_compressed, images=GREY, labels=np.arange(12) % 3),
    "amat": lambda: "\n".join(" ".join(map(str, [*image[:6, :6].ravel(), 3])) for image in GREY).encode(),
    "csv": lambda: b"a,b,c\n" + "\n".join(",".join(map(str, row)) for row in GREY[:, 0, :3]).encode(),
    "tsv": lambda: b"a\tb\n" + "\n".join("\t".join(map(str, row)) for row in GREY[:, 0, :2]).encode(),
    "tar": shard,
    "zip": zipped,
    "parquet": table,
    "nii": volume,
    "nii.gz": lambda: gzip.compress(volume()),
    "dcm": scan,
    "labels.csv": lambda: b"file,label\n" + "\n".join(f"{i}.png,{i % 3}" for i in range(6)).encode(),
    "metadata.csv": lambda: b"file_name,label\n" + "\n".join(f"{i}.png,{i % 3}" for i in range(6)).encode(),
    "metadata.jsonl": lambda: "\n".join(json.dumps({"file_name": f"{i}.png", "label": i}) for i in range(6)).encode(),
}
NEEDS = {"parquet": "pyarrow", "nii": "nibabel", "nii.gz": "nibabel", "dcm": "pydicom"}
WORDS = [
    b"nan",
    b"1e999",
    b"-",
    b"",
    b"\0",
    b"\xff\xfe",
    "é".encode("latin1"),
    b'"',
    b"1" * 5000,
    b"\n",
    b"0x10",
    b"{}",
]


def cut(data: bytearray, random: Random) -> bytes:
    return bytes(data[: int(random.integers(len(data)))])


def flipped(data: bytearray, random: Random) -> bytes:
    for place in random.integers(0, len(data), int(random.integers(1, 9))):
        data[place] ^= 1 << int(random.integers(8))
    return bytes(data)


def head_flipped(data: bytearray, random: Random) -> bytes:
    for place in random.integers(0, min(len(data), 200), int(random.integers(1, 4))):
        data[place] = int(random.integers(256))
    return bytes(data)


def huge(data: bytearray, random: Random) -> bytes:
    """A number somewhere in the head is the largest there is: lengths, sizes, offsets."""
    size, place = int(random.choice([2, 4, 8])), int(random.integers(min(len(data), 400)))
    top = random.choice(["7f", "ff", "80", "00"])
    data[place : place + size] = bytes.fromhex(str(random.choice([top + "ff" * (size - 1), "ff" * (size - 1) + top])))
    return bytes(data)


def digits(data: bytearray, random: Random) -> bytes:
    """A digit among text is another, or becomes many."""
    places = [i for i, byte in enumerate(data[:2000]) if 48 <= byte < 58] or [0]
    place = int(random.choice(places))
    data[place : place + 1] = [b"9", b"9" * 12, b"-1", b"0"][int(random.integers(4))]
    return bytes(data)


def moved(data: bytearray, random: Random) -> bytes:
    a, b, c = sorted(random.integers(0, len(data) + 1, 3).tolist())
    return bytes(data[:a] + data[b:c] + data[a:b] + data[c:])


def left_out(data: bytearray, random: Random) -> bytes:
    a, b = sorted(random.integers(0, len(data) + 1, 2).tolist())
    return bytes(data[:a] + data[b:])


def word(data: bytearray, random: Random) -> bytes:
    place = int(random.integers(len(data)))
    data[place : place + int(random.integers(3))] = WORDS[int(random.integers(len(WORDS)))]
    return bytes(data)


def longer(data: bytearray, random: Random) -> bytes:
    return bytes(data) + random.bytes(int(random.integers(1, 600)))


def zeroed(data: bytearray, random: Random) -> bytes:
    a, b = sorted(random.integers(0, len(data) + 1, 2).tolist())
    data[a:b] = bytes(b - a)
    return bytes(data)


def other(data: bytearray, random: Random) -> bytes:
    return [b"", b"\0", random.bytes(300), b"PK\3\4", b"\x93NUMPY\1\0", b"\x1f\x8b\x08"][int(random.integers(6))]


MUTATIONS = (cut, flipped, head_flipped, huge, digits, moved, left_out, word, longer, zeroed, other)


def attempt(kind: str, content: bytes, place: Path) -> Dataset:
    """The set of a file with this content: by itself, or where it is a table beside images, with these."""
    if not kind.startswith(("labels", "metadata")):
        path = place / f"spoilt.{kind}"
        path.write_bytes(content)
        return load(path, progress=False)
    folder = place / "spoilt"
    folder.mkdir()
    for i, image in enumerate(GREY[:6]):
        (folder / f"{i}.png").write_bytes(encoded("png", image))
    path = (place if kind == "labels.csv" else folder) / kind
    path.write_bytes(content)
    return load(folder, labels=path if kind == "labels.csv" else None, progress=False)


def outcome(kind: str, content: bytes, place: Path) -> str:
    """ "loaded", or the refusal; anything else is a failure."""
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = attempt(kind, content, place)
            for part in found.splits.values():
                assert np.isfinite(np.asarray(part.images)).all()
            said = "loaded"
        except UserError as error:
            said = str(error)
            assert "\n" not in said
            assert "spoilt" in said or kind in said or ".png" in said, f"no file's name in {said!r}"
    assert time.monotonic() - began < SECONDS
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_file_is_loaded_or_refused_by_its_name(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    whole = KINDS[kind]()
    assert outcome(kind, whole, tmp_path_factory.mktemp("whole")) == "loaded"
    random = np.random.default_rng([7, *kind.encode()])
    for number in range(ROUNDS):
        mutate = MUTATIONS[int(random.integers(len(MUTATIONS)))]
        content = mutate(bytearray(whole), random)
        try:
            outcome(kind, content, tmp_path_factory.mktemp("spoilt"))
        except BaseException as error:
            error.add_note(f"{kind}, mutation {number} ({mutate.__name__}), {len(content)} bytes")
            raise


# ---- data of a program that are none ----


class Rows:
    """A map-style data set of these rows."""

    def __init__(self, *rows: object) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> object:
        return self.rows[i]


class Raises(Rows):
    def __getitem__(self, i: int) -> object:
        raise RuntimeError("its own")


class NoArray:
    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("its own")


class Sparse:
    shape = (3, 4)

    def toarray(self) -> None: ...


FLOATS = GREY / 255
NO_DATA: dict[str, object] = {
    "objects": GREY.astype(object),
    "complex": GREY * 1j,
    "fields": np.zeros((5, 4, 4), [("a", "f4")]),
    "dates": np.zeros((5, 4, 4), "M8[s]"),
    "text": GREY.astype(str),
    "bytes": GREY.astype("S"),
    "NaN": np.where(FLOATS > 0.5, np.nan, FLOATS),
    "infinite": np.where(FLOATS > 0.5, np.inf, FLOATS),
    "too far apart": np.where(FLOATS > 0.5, 1.7e308, -1.7e308),
    "too large for float32": np.full((5, 3), 1e300),
    "a scalar": np.array(5),
    "one axis": np.arange(5),
    "five axes": np.zeros((2, 3, 4, 5, 6)),
    "no rows": np.empty((0, 4, 4)),
    "no columns": np.empty((5, 0, 4)),
    "larger than the disk": np.broadcast_to(np.uint8(1), (10**12, 28, 28)),
    "sparse": Sparse(),
    "a sparse tensor": torch.eye(4).to_sparse(),
    "a complex tensor": torch.ones(5, 4, 4, dtype=torch.complex64),
    "a meta tensor": torch.ones(5, 4, 4, device="meta"),
    "no array": NoArray(),
    "a data set that fails": Raises(*range(5)),
    "triples": Rows(*[(GREY[0], 1, 2)] * 5),
    "no images": Rows(*[(None, 1)] * 5),
    "dicts without images": Rows(*[{"a": 5}] * 5),
    "dicts of other names": Rows({"image": GREY[0]}, {"img": GREY[0]}, {"image": GREY[0]}),
    "labels that are dicts": Rows(*[{"image": GREY[0], "label": {}}] * 5),
    "labels that are lists": Rows(*[(GREY[0], [1, 2])] * 5),
    "labels of fractions": Rows(*[(GREY[0], torch.tensor([1.5]))] * 5),
    "fewer labels": (GREY, np.arange(11)),
    "complex labels": (GREY, np.arange(12) * 1j),
    "ragged labels": (GREY, [[1], [2, 3]] * 6),
    "labels that are dates": (GREY, np.array(["2020"] * 12, "M8[Y]")),
    "labels that are fields": (GREY, np.zeros(12, [("a", "i4")])),
    "ragged": [[1, 2], [3]],
    "images of two sizes": [GREY[0], GREY[0][:3]],
    "an array and a path": [GREY[0], "a.png"],
    "a path and a number": ["a.png", 5],
    "nothing": [],
    "None": None,
    "a number": 5,
    "a function": len,
    "a set": {1},
    "raw bytes": b"abc",
    "an empty dict": {},
    "a dict of numbers": {"train": 5},
    "a dict of other names": {"a": GREY},
    "a dict of None": {"train": GREY, "test": None},
    "an empty name": "",
    "no name": "a\0b",
    "a long name": "x" * 5000,
    "nobody's folder": "~nobody-of-that-name/x",
    "very many shards": "x{0..9999999}.tar",
    "no entry": "array:../..",
    "a device": "/dev/zero",
}


@pytest.mark.parametrize("what", NO_DATA)
def test_what_is_no_data_is_refused_by_a_sentence(what: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        load(NO_DATA[what], progress=False)
    assert time.monotonic() - began < SECONDS and "\n" not in str(caught.value)
