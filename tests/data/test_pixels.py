import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganvas.data import pixels, ranges
from ganvas.ground.errors import UserError


def encoded(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
colour = np.stack([ramp, ramp[::-1], ramp.T], axis=-1)


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "tiff", "webp"])
def test_grey_and_colour_in_lossless_formats(kind):
    options = {"lossless": True} if kind == "webp" else {}
    if kind != "gif":
        np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(colour), kind, **options)), colour)
    if kind != "webp":  # which has no grey
        np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(ramp), kind))[..., 0], ramp)


def test_jpeg_in_grey_and_colour():
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    assert (
        np.abs(pixels.decode(encoded(Image.fromarray(smooth), "jpeg", quality=95))[..., 0] - smooth.astype(int)).max()
        < 9
    )
    assert pixels.decode(encoded(Image.fromarray(colour), "jpeg")).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    wide = (ramp.astype(np.uint16) * 257).astype(np.uint16)
    np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(wide), kind))[..., 0], wide)


def test_one_bit():
    bits = ramp > 100
    np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(bits)))[..., 0], bits * 255)


def test_palette_in_colour_and_grey():
    palette = Image.fromarray(colour).quantize(256)
    assert pixels.decode(encoded(palette)).shape == (16, 16, 3)
    np.testing.assert_array_equal(pixels.decode(encoded(palette)), np.asarray(palette.convert("RGB")))
    grey = Image.fromarray(ramp, "L").convert("P")
    np.testing.assert_array_equal(pixels.decode(encoded(grey))[..., 0], ramp)


def test_alpha_is_laid_on_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, 3] = 255
    shown = pixels.decode(encoded(Image.fromarray(rgba)))
    assert shown.shape == (4, 4, 3)
    assert shown[:2].max() == 0 and shown[2:].min() == 255
    grey = pixels.decode(encoded(Image.fromarray(rgba[..., 2:])))
    assert grey.shape == (4, 4, 1)
    assert grey[:2].max() == 0 and grey[2:].min() == 255


def test_transparent_colour_of_a_palette():
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 1), 1)
    shown = pixels.decode(encoded(palette, transparency=0))
    assert shown[0, 0].tolist() == [255, 255, 255] and shown[1, 1].tolist() == [0, 255, 0]


def test_cmyk_becomes_colour():
    shown = pixels.decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "jpeg", quality=95))
    assert shown.shape == (16, 16, 3)
    assert shown[8, 8, 0] > 200 and shown[8, 8, 1:].max() < 60


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright = pixels.decode(encoded(Image.fromarray(colour[:8]), "png", exif=exif))
    np.testing.assert_array_equal(upright, np.rot90(colour[:8], -1))


def test_floats_and_wide_integers_have_a_range():
    for values in (np.float32(ramp), np.float32(ramp / 255), np.int32(ramp), np.int32(ramp) * 10_000):
        found = pixels.decode(encoded(Image.fromarray(values), "tiff"))[..., 0]
        assert np.abs(found * (255 / np.iinfo(found.dtype).max) - ramp).max() < 0.01
    with pytest.raises(ValueError, match="samples that are not numbers"):
        pixels.decode(encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "tiff"))


def test_16_bit_grey_tiff_whose_white_is_zero():
    wide = ramp.astype(np.uint16) * np.uint16(257)
    data = encoded(Image.fromarray(65535 - wide), "tiff", tiffinfo={262: 0})
    np.testing.assert_array_equal(pixels.decode(data)[..., 0], wide)


def png(kind: int, samples: list[int], extra: bytes = b"") -> bytes:
    """A PNG of one line of 16-bit samples."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width = len(samples) // {0: 1, 4: 2}[kind]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, kind, 0, 0, 0))
    rows = b"\0" + struct.pack(f">{len(samples)}H", *samples)
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_grey_with_alpha_stays_grey_and_lies_on_white():
    assert pixels.decode(png(4, [25700, 65535, 40000, 0])).tolist() == [[[100], [255]]]


def test_a_transparent_level_of_16_bits_is_white():
    level = b"tRNS" + struct.pack(">H", 1000)
    extra = struct.pack(">I", 2) + level + struct.pack(">I", zlib.crc32(level))
    assert pixels.decode(png(0, [1000, 40000], extra)).tolist() == [[[65535], [40000]]]


def test_channels_on_request():
    assert pixels.decode(encoded(Image.fromarray(colour)), channels=1).shape == (16, 16, 1)
    np.testing.assert_array_equal(
        pixels.decode(encoded(Image.fromarray(ramp)), channels=3), np.repeat(ramp[..., None], 3, axis=2)
    )


sides = st.integers(1, 90)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sides, sides)
def test_any_size_becomes_exactly_the_target(h, w, height, width):
    image = Image.fromarray(np.full((h, w), 77, np.uint8))
    fitted = np.asarray(pixels.fit(image, (height, width)))
    assert fitted.shape == (height, width)
    assert np.all(np.abs(fitted.astype(int) - 77) <= 1)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sides, sides, st.integers(0, 2**31))
def test_the_crop_is_centred(h, w, height, width, seed):
    """Turning by half and fitting commute, so what is at the centre stays there."""
    image = np.random.default_rng(seed).integers(0, 256, (h, w), dtype=np.uint8)
    one = np.asarray(pixels.fit(Image.fromarray(np.rot90(image, 2)), (height, width))).astype(int)
    other = np.rot90(np.asarray(pixels.fit(Image.fromarray(image), (height, width))), 2).astype(int)
    assert np.abs(one - other).max() <= 2


def test_a_wide_image_loses_its_sides_only():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    assert pixels.decode(encoded(Image.fromarray(image)), size=(10, 10)).min() == 255


def test_a_large_jpeg_is_as_sharp_as_when_decoded_whole():
    y, x = np.mgrid[0:512, 0:768]
    picture = Image.fromarray((127 + 127 * np.sin(x / 40) * np.cos(y / 30)).astype(np.uint8))
    data = encoded(picture, "jpeg", quality=95)
    fast, whole = pixels.decode(data, size=(64, 64)), np.asarray(pixels.fit(picture, (64, 64)))
    assert np.abs(fast[..., 0].astype(int) - whole).mean() < 1.5


def test_convert_rows():
    rows = np.stack([colour, colour[::-1]])
    assert pixels.convert(rows, None, None) is rows
    assert pixels.convert(rows, (8, 4), 1).shape == (2, 8, 4, 1)
    grey = rows[..., :1]
    np.testing.assert_array_equal(pixels.convert(grey, None, 3)[..., 2], grey[..., 0])


def test_rows_of_16_bits_and_of_any_channels_are_fitted():
    rows = np.full((2, 8, 8, 5), 60_000, np.uint16)
    assert pixels.convert(rows, (4, 6), None).tolist() == np.full((2, 4, 6, 5), 60_000).tolist()
    with pytest.raises(UserError, match="images of 5 channels can't be given 3"):
        pixels.convert(rows, None, 3)


def test_transparency_is_kept_on_request():
    rgba = np.zeros((4, 4, 4), np.uint8)
    np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(rgba)), channels=4), rgba)
    assert (
        pixels.convert(rgba[None], None, 3).min() == 255 and pixels.convert(rgba[None, ..., :3], None, 4).max() == 255
    )


def photo(h: int, w: int, low: int = 60, high: int = 195) -> Image.Image:
    """Smooth noise, colour."""
    coarse = np.random.default_rng(h).integers(low, high, (h // 4 + 1, w // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)


TURNED = Image.Exif()
TURNED[0x0112] = 6
JPEGS = {
    "plain": encoded(photo(128, 128), "jpeg"),
    "progressive": encoded(photo(128, 128), "jpeg", progressive=True),
    "grey": encoded(photo(128, 128).convert("L"), "jpeg"),
    "cmyk": encoded(photo(128, 128).convert("CMYK"), "jpeg"),
    "turned": encoded(photo(100, 150), "jpeg", exif=TURNED),
    "wide": encoded(photo(101, 203), "jpeg"),
    "tall": encoded(photo(203, 101), "jpeg"),
    "large": encoded(photo(700, 701), "jpeg"),
    "small": encoded(photo(30, 31), "jpeg"),
    "tiny": encoded(photo(8, 8), "jpeg"),
    "one row": encoded(photo(1, 300), "jpeg"),
}


@pytest.mark.skipif(not pixels._has_lanczos(), reason="this PyTorch has no Lanczos' filter")
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (48, 32)])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_a_jpeg_is_fitted_as_pillow_would(kind, size, channels, monkeypatch):
    found = pixels.decode(JPEGS[kind], size, channels)
    monkeypatch.setattr(pixels, "_has_lanczos", lambda: False)
    by_pillow = pixels.decode(JPEGS[kind], size, channels)
    assert found.shape == by_pillow.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - by_pillow).max() <= 2


@pytest.mark.parametrize("size", [(64, 64), (32, 48)])
def test_where_overshoot_is_cut_a_fitted_jpeg_is_much_as_by_pillow(size, monkeypatch):
    text = Image.fromarray(np.where(np.random.default_rng(0).random((20, 30)) < 0.3, 0, 255).astype(np.uint8))
    data = encoded(text.resize((180, 120), Image.Resampling.NEAREST), "jpeg", quality=95)
    found = pixels.decode(data, size)
    monkeypatch.setattr(pixels, "_has_lanczos", lambda: False)
    assert np.abs(found.astype(int) - pixels.decode(data, size)).mean() < 1.5


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
@pytest.mark.parametrize("shape", [(128, 128), (101, 203)])
def test_other_formats_are_fitted_by_pillow(kind, shape):
    image = photo(*shape, low=0, high=256)
    expected = np.asarray(pixels.fit(image, (64, 64)))
    np.testing.assert_array_equal(pixels.decode(encoded(image, kind), (64, 64)), expected)
    assert pixels.made(encoded(image, kind), pixels.Form((64, 64), 3, ranges.Scale())) == b""


def test_only_a_fitted_jpeg_is_told_from_what_it_was():
    assert pixels.made(JPEGS["plain"], pixels.Form(None, 3, ranges.Scale())) == b""
    assert bool(pixels.made(JPEGS["plain"], pixels.Form((64, 64), 3, ranges.Scale()))) == pixels._has_lanczos()


@pytest.mark.parametrize("form", [(None, 3), ((16, 24), 1)])
def test_looking_and_decoding_at_once_is_both(form):
    whole = pixels.Form(*form, ranges.Scale())
    for data in (*JPEGS.values(), encoded(Image.fromarray(colour)), encoded(Image.fromarray(ramp), "gif")):
        pages, row = pixels.look(data, whole)
        assert pages == pixels.survey(data)
        np.testing.assert_array_equal(row, pixels.decode_all(data, whole)[0])
    wide = encoded(Image.fromarray(ramp.astype(np.uint16) * 257))
    assert pixels.look(wide, whole) == (pixels.survey(wide), None)
    cut = JPEGS["large"][:3000]
    pages, why = pixels.look(cut, whole)
    assert pages[0].size == (700, 701) and "truncated" in why
