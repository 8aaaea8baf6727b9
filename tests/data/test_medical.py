"""DICOM and NIfTI files that are written here, against what they were written from."""

import gzip
import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganvas.data import load, medical, unpacking
from ganvas.data.reading import read_rows
from ganvas.ground.errors import UserError

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
HU = np.random.default_rng(0).integers(-1024, 3000, (6, 8, 8)).astype(np.int16)


def dicom(stored: np.ndarray | None, **facts: Any) -> bytes:
    """A DICOM file of stored values (H, W), (frames, H, W) or (H, W, 3)."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
    made.Modality = "CT" if stored is not None else "SR"
    if stored is not None:
        colour = stored.ndim == 3 and stored.shape[2] == 3
        made.SamplesPerPixel, made.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
        if colour:
            made.PlanarConfiguration = 0
        elif stored.ndim == 3:
            made.NumberOfFrames = len(stored)
        made.Rows, made.Columns = stored.shape[:2] if colour else stored.shape[-2:]
        made.BitsAllocated = made.BitsStored = 8 * stored.itemsize
        made.HighBit, made.PixelRepresentation = 8 * stored.itemsize - 1, int(stored.dtype.kind == "i")
        made.PixelData = stored.tobytes()
    for name, value in facts.items():
        setattr(made, name, value)
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def values(source: Path, **how: Any) -> np.ndarray:
    """All images in the source's order, in its units."""
    found = load(source, **how)
    rows = np.concatenate([part.images for part in found.splits.values()]).astype(np.float64)
    order = np.concatenate([part.order for part in found.splits.values()])
    low, high = found.range
    return (rows / np.iinfo(found.splits["train"].images.dtype).max * (high - low) + low)[np.argsort(order)][..., 0]


def test_rescaled_values_and_names(tmp_path):
    files = {f"{i}.dcm": dicom(((HU[i] + 1024) * 2).astype(np.uint16), RescaleSlope=0.5, RescaleIntercept=-1024)
             for i in range(6)}  # fmt: skip
    found = load(write(tmp_path, files))
    assert found.range == (HU.min(), HU.max()) and found.shape == (1, 8, 8)
    assert sorted(n for part in found.splits.values() for n in part.names) == sorted(files)
    np.testing.assert_allclose(values(tmp_path), HU, atol=0.1)
    asked = values(tmp_path, range=(-100, 100))
    np.testing.assert_allclose(asked, HU.clip(-100, 100), atol=0.4)  # 8 bits


@pytest.mark.parametrize(("function", "ends"), [("LINEAR", (-160, 239)), ("LINEAR_EXACT", (-160, 240))])
def test_a_window_is_black_to_white(tmp_path, function, ends):
    how = {"WindowCenter": [40, 300], "WindowWidth": [400, 2000], "VOILUTFunction": function}
    write(tmp_path, {f"{i}.dcm": dicom(HU[i], **how) for i in range(6)})
    assert load(tmp_path).range == ends
    np.testing.assert_allclose(values(tmp_path), HU.clip(*ends), atol=0.1)
    write(tmp_path, {"6.dcm": dicom(HU[0], WindowCenter=40, WindowWidth=0)})  # no window
    assert load(tmp_path).range == (min(HU[0].min(), ends[0]), max(HU[0].max(), ends[1]))


@pytest.mark.parametrize("signed", [True, False])
def test_monochrome1_is_turned_over(tmp_path, signed):
    stored = HU // 2 if signed else (HU + 1024).astype(np.uint16)
    write(tmp_path, {f"{i}.dcm": dicom(one, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
                     for i, one in enumerate(stored)})  # fmt: skip
    np.testing.assert_allclose(values(tmp_path), (-1 if signed else 4095) - stored.astype(float), atol=0.1)
    how = {"WindowCenter": 100.5, "WindowWidth": 101}
    write(tmp_path, {f"{i}.dcm": dicom(one, PhotometricInterpretation="MONOCHROME1", **how)
                     for i, one in enumerate(stored)})  # fmt: skip
    np.testing.assert_allclose(values(tmp_path), 200 - stored.clip(50, 150).astype(float), atol=0.1)


def test_a_model_reads_another_file_in_the_range_of_its_training(tmp_path):
    how = {"WindowCenter": 0, "WindowWidth": 50}
    write(tmp_path, {"a.dcm": dicom(HU[0], **how), "b.dcm": dicom(HU[0], RescaleSlope=2.5, RescaleIntercept=0)})
    for name, slope in (("a.dcm", 1), ("b.dcm", 2.5)):
        found = read_rows(tmp_path / name, (1, 8, 8), known=(-1000.0, 2000.0))[0, 0].numpy()
        np.testing.assert_allclose(found, ((slope * HU[0] + 1000) / 3000).clip(0, 1), atol=1e-4)


def test_frames_colour_bytes_and_files_without_a_suffix(tmp_path, random):
    write(tmp_path / "frames", {"a.dcm": dicom(HU)})
    np.testing.assert_allclose(values(tmp_path / "frames"), HU, atol=0.1)
    colours = random.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    write(tmp_path / "colour", {f"IM{i}.DCM": dicom(one) for i, one in enumerate(colours)})
    found = load(tmp_path / "colour")
    rows = np.concatenate([part.images for part in found.splits.values()])
    order = np.concatenate([part.order for part in found.splits.values()])
    assert found.range == (0, 255) and (rows[np.argsort(order)] == colours).all()
    grey = {f"1.2.{i}": dicom(one[..., 0]) for i, one in enumerate(colours)} | {"DICOMDIR": dicom(None)}
    assert (values(write(tmp_path / "bare", grey)) == colours[..., 0]).all()


def test_a_dicom_without_pixels_is_named(tmp_path):
    write(tmp_path, {f"{i}.dcm": dicom(HU[i]) for i in range(3)} | {"report.dcm": dicom(None)})
    found = load(tmp_path)
    assert "  report.dcm: a DICOM without pixels (modality SR)" in found.report
    with pytest.raises(UserError, match=r"'report.dcm' cannot be read: a DICOM without pixels"):
        load(tmp_path, strict=True)
    with pytest.raises(UserError, match=r"the first: report.dcm: a DICOM without pixels"):
        load(write(tmp_path / "alone", {"report.dcm": dicom(None)}))


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_slices_of_a_volume(tmp_path, suffix, version, random):
    stored = random.integers(1, 3000, (5, 7, 9)).astype(np.int16)
    stored[:, :, [0, 8]] = 3  # empty slices
    image = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}[version](stored, np.eye(4))
    image.header.set_slope_inter(2, -100)
    raw = image.to_bytes()
    write(tmp_path, {f"brain.{suffix}": gzip.compress(raw) if suffix.endswith("gz") else raw})
    for source in (tmp_path, tmp_path / f"brain.{suffix}"):
        found = load(source)
        assert found.shape == (1, 7, 5)
        assert any(line.startswith("2 empty slices, each of one value, were left out") for line in found.report)
        np.testing.assert_allclose(
            values(source), [np.rot90(2.0 * stored[:, :, i] - 100) for i in range(1, 8)], atol=0.1
        )
        names = np.concatenate([part.names for part in found.splits.values()])
        assert sorted(names) == [f"brain.{suffix}#{i}" for i in range(1, 8)]


def test_volumes_in_time_and_images_of_one_file_in_one_split(tmp_path, random):
    stored = random.integers(0, 3000, (4, 4, 3, 2)).astype(np.float32)
    raw = nibabel.Nifti1Image(stored, np.eye(4)).to_bytes()
    frames, empty = medical.frames(raw)
    assert len(frames) == 6 and empty == 0
    np.testing.assert_array_equal(frames[4].values, np.rot90(stored[:, :, 1, 1]))
    write(tmp_path, {f"{i:02d}.nii": raw for i in range(12)})
    found = load(tmp_path)
    files = [{name.split("#")[0] for name in part.names} for part in found.splits.values()]
    assert sum(map(len, files)) == 12 and "images of one file are all in one split" in found.report
    assert "images of one file are all in one split" in found.preparation


def nifti(stored: np.ndarray) -> bytes:
    return nibabel.Nifti1Image(stored, np.eye(4)).to_bytes()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (nifti(np.zeros((4, 4, 3), np.int16)), "all 3 slices are empty"),
        (nifti(np.full((4, 4, 3), np.nan, np.float32) * np.arange(3, dtype=np.float32)), "not numbers"),
        (nifti(np.zeros((4, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "no colour"),
        (nifti(np.zeros(5, np.int16)), "two axes at least"),
        (nifti(np.ones((4, 4, 3), np.int16))[:370], "."),
        (gzip.compress(nifti(np.ones((4, 4, 3), np.int16)), mtime=0)[:60], "."),
    ],
)
def test_volumes_that_are_none(tmp_path, data, says):
    write(tmp_path, {"a.nii": data})
    with pytest.raises(UserError, match=rf"none of the 1 images can be read; the first: a.nii: .*{says}"):
        load(tmp_path)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE", 1000)
    monkeypatch.setattr(unpacking, "RATIO", 0)
    write(tmp_path, {"a.nii.gz": gzip.compress(nifti(np.ones((9, 9, 9), np.int16)))})
    with pytest.raises(UserError, match="decompression bomb"):
        load(tmp_path)
    write(tmp_path / "other", {"a.dcm": dicom(np.zeros((40, 40), np.uint8))})
    with pytest.raises(UserError, match=r"decompression bomb: .* unpack to 1,600 "):
        load(tmp_path / "other")


@pytest.mark.parametrize(("package", "name", "data"), [
    ("pydicom", "a.dcm", dicom(HU[0])), ("nibabel", "a.nii", nifti(np.ones((4, 4, 3), np.int16))),
])  # fmt: skip
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, name, data):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"files need the extra: pip install 'ganvas\[medical\]'"):
        load(write(tmp_path, {name: data}))


def test_other_files_are_neither():
    assert not medical.is_medical(b"") and not medical.is_medical(b"\x1f\x8b") and not medical.is_medical(bytes(400))
    assert not medical.is_medical(struct.pack("<i", 348) + bytes(400))


def test_a_range_that_holds_none_of_the_values(tmp_path):
    write(tmp_path, {f"{i}.dcm": dicom(HU[i]) for i in range(6)})
    says = rf"--range 5000 6000 holds none of its values, which go from {HU.min()} to {HU.max()}"
    with pytest.raises(UserError, match=says):
        load(tmp_path, range=(5000, 6000))
