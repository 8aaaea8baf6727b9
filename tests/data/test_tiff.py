"""Grey TIFFs of every kind of sample, against what was written."""

import io
import sys

import numpy as np
import pytest

from ganvas.data import load, pixels, ranges
from ganvas.ground.errors import UserError

tifffile = pytest.importorskip("tifffile")
KINDS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")


def written(values: np.ndarray, photometric: str = "minisblack", byteorder: str = "<") -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, photometric=photometric, byteorder=byteorder)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_kind_of_sample(kind, photometric, byteorder):
    values = np.linspace(-100 if np.dtype(kind).kind in "if" else 0, 120, 64).reshape(8, 8).round().astype(kind)
    data = written(values, photometric, byteorder)
    light = values.astype(np.float64)
    if photometric == "miniswhite":
        ends = np.iinfo(kind) if np.dtype(kind).kind in "iu" and np.dtype(kind).itemsize <= 2 else None
        light = -light if ends is None else float(ends.max) + float(ends.min) - light
    asked = (light.min(), light.max())
    scale = pixels.scale_of(pixels.survey(data), "it", asked)
    found = pixels.decode(data, scale=ranges.Scale(*asked, None, 16) if scale.bits == 16 or kind != "uint8" else None)
    if found.dtype == np.uint16:
        expected = (light - asked[0]) / (asked[1] - asked[0]) * 65535
        np.testing.assert_allclose(found[..., 0], expected, atol=1)
    else:
        np.testing.assert_array_equal(found[..., 0], light)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floats_in_0_to_1_whose_zero_is_white_stay_in_it(kind, tmp_path):
    values = np.linspace(0, 1, 64).reshape(8, 8).astype(kind)
    for i in range(4):
        (tmp_path / f"{i}.tif").write_bytes(written(values, "miniswhite" if i % 2 else "minisblack"))
    found = load(tmp_path)
    assert found.range == (0, 1)
    for part in found.splits.values():
        for row, name in zip(part.images, part.names, strict=True):
            expected = 1 - values if int(name[0]) % 2 else values
            np.testing.assert_allclose(row[..., 0] / 65535, expected, atol=1e-4)


def test_pages_of_float64(tmp_path):
    stack = np.random.default_rng(0).normal(size=(5, 8, 8))
    (tmp_path / "stack.tif").write_bytes(written(stack))
    found = load(tmp_path)
    assert sum(map(len, found.splits.values())) == 5 and found.range == pytest.approx((stack.min(), stack.max()))


def test_samples_are_not_read_in_the_range_of_bytes():
    for kind in ("float32", "float64"):
        with pytest.raises(ValueError, match="in the range of bytes, which is not theirs"):
            pixels.decode(written(np.zeros((4, 4), kind)), scale=ranges.Scale())


def test_colour_of_odd_samples_and_the_missing_package(tmp_path, monkeypatch):
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((8, 8, 3)), photometric="rgb")
    (tmp_path / "a.tif").write_bytes(out.getvalue())
    with pytest.raises(UserError, match=r"a.tif: a TIFF whose page 0 is float64 \(8, 8, 3\): grey is needed"):
        load(tmp_path)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[tiff\]'"):
        load(tmp_path)
