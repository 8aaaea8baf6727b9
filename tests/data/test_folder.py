import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import describe, folder, load, unpacking
from ganvas.ground.errors import UserError


def total(dataset) -> int:
    return sum(len(part) for part in dataset.splits.values())


def bomb(side: int) -> bytes:
    """A PNG that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_flat_folder(pictures):
    dataset = load(pictures(20))
    assert (dataset.name, dataset.shape, dataset.classes, dataset.report) == ("photos", (3, 8, 8), None, ())
    assert Path(dataset.source).is_absolute() and load(dataset.source).fingerprint == dataset.fingerprint
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert isinstance(dataset.splits["train"].images, np.memmap)
    assert dataset.preparation == "size as it is, 8 x 8; colour; transparency laid on white; 8 bit"


def test_every_image_is_there_once(pictures):
    where = pictures(20)
    dataset = load(where)
    stored = {image.tobytes() for part in dataset.splits.values() for image in part.images}
    assert stored == {np.asarray(Image.open(file)).tobytes() for file in where.iterdir()}


def test_class_subfolders(pictures):
    pictures(6, where="animals/dog"), pictures(5, where="animals/cat")
    where = pictures(1, where="animals/cat/deeper").parents[1]
    dataset = load(where)
    assert dataset.classes == ("cat", "dog")
    labels = np.concatenate([part.labels for part in dataset.splits.values()])
    assert labels.dtype == np.int64 and np.bincount(labels).tolist() == [6, 6]
    dogs = {np.asarray(Image.open(file)).tobytes() for file in (where / "dog").iterdir()}
    for part in dataset.splits.values():
        assert [image.tobytes() in dogs for image in part.images] == [label == 1 for label in part.labels]


def test_one_subfolder_is_no_class_and_stray_images_are_reported(pictures):
    assert load(pictures(4, where="celebrities/all").parent).classes is None
    pictures(4, where="mixed/a"), pictures(4, where="mixed/b")
    dataset = load(pictures(2, where="mixed"))
    assert dataset.classes is None and "2 images lie beside the 2 subfolders" in dataset.report[0]


def test_train_and_test_folders_are_honoured(pictures):
    for split, n in (("train", 5), ("val", 2), ("Test", 3)):
        pictures(n, where=f"set/{split}/a"), pictures(1, where=f"set/{split}/b")
    dataset = load(pictures(1, where="set/train/b").parents[1])
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 6, "validation": 3, "test": 4}
    assert dataset.classes == ("a", "b")
    pictures(2, where="two/train"), pictures(2, where="two/test")
    dataset = load(pictures(20, where="two/train").parent)
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 18, "validation": 2, "test": 2}
    pictures(1, where="two/elsewhere")
    with pytest.raises(UserError, match=r"1 images outside them, the first 'elsewhere/0000\.png'"):
        load(pictures(2, where="two/train").parent)


def test_size_and_non_square_size(pictures):
    pictures(3, (9, 12, 3))
    where = pictures(3, (20, 7), suffix="bmp")
    dataset = load(where, size=(16, 24), channels=3)
    assert dataset.shape == (3, 16, 24) and total(dataset) == 6
    assert dataset.preparation.startswith("each image scaled (Lanczos) so that it covers 16 x 24, then centre-cropped")
    assert load(where, size=8, channels=1).shape == (1, 8, 8)


def test_grey_among_colour_becomes_red_green_blue(pictures):
    grey = np.arange(64, 128, dtype=np.uint8).reshape(8, 8)
    where = pictures(3)
    Image.fromarray(grey).save(where / "grey.png")
    dataset = load(where)
    assert dataset.shape == (3, 8, 8) and "1 grey images among 3 in colour" in dataset.report[0]
    rows = {
        str(name): row for part in dataset.splits.values() for name, row in zip(part.names, part.images, strict=True)
    }
    np.testing.assert_array_equal(rows["grey.png"], np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(("sides", "size"), [((100, 140, 300), 64), ((40, 40, 41), 32), ((8, 9, 12), 9)])
def test_a_size_is_chosen_for_images_of_different_sizes(pictures, sides, size):
    for side in sides:
        where = pictures(1, (side, side + 10, 3))
        (where / "0000.png").rename(where / f"{side}-{len(list(where.iterdir()))}.png")
    dataset = load(where)
    assert dataset.shape == (3, size, size) and f"--size {size} was chosen" in dataset.report[0]


def test_pages_formats_and_dark_images(tmp_path, pictures):
    pages = [Image.fromarray(np.full((4, 4), 100 + i, np.uint8)) for i in range(5)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "one.avif"), pages[0].save(tmp_path / "two.jp2")
    dataset = load(tmp_path, channels=1)
    assert total(dataset) == 7 and any(line.endswith("is an image: 7 of 3 files") for line in dataset.report)
    names = sorted(name for part in dataset.splits.values() for name in part.names)
    assert names == ["one.avif", *(f"stack.tif#{i}" for i in range(5)), "two.jp2"]
    where = pictures(0, where="dark")
    for i in range(4):
        Image.fromarray(np.full((4, 4), 4 * i + 4, np.uint8)).save(where / f"{i}.png")
    dataset = load(where)
    assert {int(row.max()) for part in dataset.splits.values() for row in part.images} == {64, 128, 191, 255}
    assert dataset.range == (0, 16) and dataset.levels == 17 and "from 0 to 16 of 255, stretched" in dataset.report[0]


def test_files_of_16_bits_have_one_range(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((4, 4), 1365 * i, np.uint16)).save(tmp_path / f"{i}.png")
    dataset = load(tmp_path)
    images = np.concatenate([part.images for part in dataset.splits.values()])
    assert images.dtype == np.uint16 and sorted(images[:, 0, 0, 0]) == [0, 21845, 43690, 65535]
    assert dataset.range == (0, 4095) and dataset.levels == 4096
    assert load(tmp_path, range=(0, 1365)).splits["train"].images.max() == 65535
    with pytest.raises(UserError, match="--range 5000 6000 holds none of its values, which go from 0 to 4095"):
        load(tmp_path, range=(5000, 6000))


def test_one_image_file_is_all_test(pictures):
    dataset = load(pictures(1) / "0000.png")
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 0, "validation": 0, "test": 1}


def test_too_few_usable_images_names_those_refused(pictures):
    where = pictures(1)
    (where / "bad.png").write_text("words")
    with pytest.raises(UserError, match=r"1 usable images; .* bad\.png was left out: not an image"):
        load(where)


def test_unreadable_files_are_named_counted_and_left_out(pictures):
    where = pictures(12)
    whole = (where / "0000.png").read_bytes()
    (where / "cut.png").write_bytes(whole[: len(whole) // 2])
    (where / "words.jpg").write_text("these are words")
    (where / "empty.gif").touch()
    (where / "notes.txt").touch()
    (where / ".DS_Store").touch()
    (where / "__MACOSX").mkdir()
    (where / "__MACOSX" / "0000.png").touch()
    dataset = load(where)
    assert total(dataset) == 12
    assert dataset.report[0] == "3 of 15 files could not be read and were left out:"
    assert any("words.jpg: not an image" in line for line in dataset.report)
    assert dataset.report[-1] == "files that are not images were ignored: 1 .txt"
    for _ in range(2):  # the cache's entry is there the second time
        with pytest.raises(UserError, match=r"'cut\.png' cannot be read: .*--strict"):
            load(where, strict=True)


def test_strict_on_a_first_pass_leaves_no_entry(pictures, cache):
    where = pictures(4)
    (where / "words.jpg").write_text("these are words")
    with pytest.raises(UserError, match=r"'words\.jpg' cannot be read: not an image"):
        load(where, strict=True)
    assert not list((cache / "sets").iterdir())


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow warns of the first and refuses the second
def test_a_decompression_bomb_is_refused(pictures, side):
    where = pictures(4)
    (where / "bomb.png").write_bytes(bomb(side))
    dataset = load(where)
    assert total(dataset) == 4
    assert "bomb.png: refused as a decompression bomb" in dataset.report[1]


def test_no_images_and_nothing_readable_and_too_few(tmp_path, pictures):
    with pytest.raises(UserError, match="holds no images: 0 other files"):
        load(tmp_path)
    with pytest.raises(UserError, match="2 usable images; at least 3"):
        load(pictures(2))
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.png").touch()
    with pytest.raises(UserError, match=r"none of the 1 images can be read; the first: a\.png"):
        load(bad)


def test_fingerprint_follows_content_and_preparation_not_path_or_time(pictures, tmp_path):
    where = pictures(6)
    first = load(where).fingerprint
    for file in where.iterdir():
        os.utime(file, (1, 1))
    assert load(where).fingerprint == first
    moved = where.rename(tmp_path / "moved")
    assert load(moved).fingerprint == first
    assert len({first, load(moved, size=4).fingerprint, load(moved, channels=1).fingerprint}) == 3
    Image.new("RGB", (8, 8)).save(moved / "0000.png")
    changed = load(moved).fingerprint
    (moved / "0000.png").rename(moved / "z.png")
    assert len({first, changed, load(moved).fingerprint}) == 3


def test_a_second_start_decodes_nothing(pictures, monkeypatch):
    where = pictures(5)
    load(where)
    monkeypatch.setattr(folder.pixels, "decode", None)
    assert total(load(where)) == 5


def test_zip(pictures, tmp_path):
    pictures(4, where="top/a")
    where = pictures(5, where="top/b").parent
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in where.rglob("*.png"):
            archive.write(file, f"top/{file.relative_to(where)}")
        archive.writestr("__MACOSX/top/a/._0000.png", b"x")
        archive.writestr("../outside.png", (where / "a" / "0000.png").read_bytes())
    dataset = load(tmp_path / "set.zip")
    assert dataset.name == "set" and total(dataset) == 10
    assert not (tmp_path.parent / "outside.png").exists()


def test_zip_has_the_classes_of_its_only_folder(pictures, tmp_path):
    pictures(4, where="top/a")
    where = pictures(5, where="top/b").parent
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in where.rglob("*.png"):
            archive.write(file, f"top/{file.relative_to(where)}")
    assert load(tmp_path / "set.zip").classes == ("a", "b")


def test_zip_bomb_and_damaged_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bmp", bytes(10**6))
    with pytest.raises(UserError, match=r"refused as a decompression bomb: [\d,]+ bytes that unpack to 1,000,000"):
        load(tmp_path / "bomb.zip")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(UserError, match=r"cut\.zip cannot be read as a zip file"):
        load(tmp_path / "cut.zip")


def test_csv_labels(pictures, tmp_path):
    where, table = pictures(4), tmp_path / "labels.csv"
    table.write_text("file,label\n0000.png,owl\n0001.png,ant\n0002.png,owl\n0003.png,bee\n")
    dataset = load(where, labels=table)
    assert dataset.classes == ("ant", "bee", "owl")
    for part in dataset.splits.values():
        for image, label in zip(part.images, part.labels, strict=True):
            [file] = [f for f in where.iterdir() if np.asarray(Image.open(f)).tobytes() == image.tobytes()]
            assert dataset.classes[label] == {"0000": "owl", "0001": "ant", "0002": "owl", "0003": "bee"}[file.stem]
    assert dataset.fingerprint != load(where).fingerprint
    wrong = {
        "0000.png,1\nother.png,2\n": r"line 2 names 'other\.png', which is not in",
        "0000.png,1\n0000.png,2\n": r"line 2 names '0000\.png' a second time",
        "0000.png,1\n0001.png,2\n": r"no line for 2 of 4 images, the first is '0002\.png': add it, with a blank label",
        "0000.png,1,7\n": r"line 1: \['0000\.png', '1', '7'\] has 3 columns",
    }
    for text, message in wrong.items():
        table.write_text(text)
        with pytest.raises(UserError, match=message):
            load(where, labels=table)
    with pytest.raises(UserError, match=r"label file '.*none\.csv' does not exist"):
        load(where, labels=tmp_path / "none.csv")


def test_numbers_as_labels(pictures, tmp_path):
    where = pictures(5)
    np.save(tmp_path / "labels.npy", np.array([3, 10, 3, 10, 7]))
    assert load(where, labels=tmp_path / "labels.npy").classes == ("3", "7", "10")
    with pytest.raises(UserError, match=r"labels have shape \(4,\), but there are 5 images"):
        load(where, labels=np.arange(4))
    with pytest.raises(UserError, match=r"the label of row 0 is 0\.5; give whole numbers"):
        load(where, labels=np.full(5, 0.5))


def test_describe(pictures):
    pictures(6, where="animals/dog")
    told = dict(describe(load(pictures(5, where="animals/cat").parent)))
    assert told["classes"] == "cat 5, dog 6" and told["shape"].startswith("3 x 8 x 8")
    assert told["splits"] == "train 9, validation 1, test 1"


def test_memory_stays_flat_while_decoding(tmp_path):
    """What Python and NumPy hold, at the peak, is a small part of what is decoded."""
    import tracemalloc

    out = io.BytesIO()
    Image.new("RGB", (256, 256)).save(out, "png")
    for index in range(150):
        (tmp_path / f"{index}.png").write_bytes(out.getvalue())
    tracemalloc.start()
    dataset = load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(part.images.nbytes for part in dataset.splits.values()) / 4


def test_metadata_beside_the_images(pictures):
    where = pictures(4)
    lines = [f"{i:04d}.png,{'ab'[i % 2]},x" for i in range(4)]
    (where / "metadata.csv").write_text("\n".join(["file_name,label,note", *lines]))
    dataset = load(where)
    assert dataset.classes == ("a", "b") and "labels are the column 'label' of metadata.csv" in dataset.report
    (where / "metadata.csv").unlink()
    (where / "metadata.jsonl").write_text("\n".join(f'{{"file_name": "{i:04d}.png", "label": {i}}}' for i in range(3)))
    with pytest.raises(UserError, match=r"metadata\.jsonl has no line for '0003\.png': add its line, with a blank"):
        load(where)


def grey(n: int) -> Image.Image:
    return Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) + np.uint8(n))


ODD = {
    "grey before": ("0000a.png", lambda file: grey(0).save(file)),
    "grey among": ("0007a.png", lambda file: grey(0).save(file)),
    "no image": ("0007a.png", lambda file: file.write_text("words")),
    "no image first": ("0.png", lambda file: file.write_text("words")),
    "another size": ("0007a.png", lambda file: Image.new("RGB", (9, 5), "red").save(file)),
    "16 bits": ("0007a.png", lambda file: Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(file)),
    "pages": ("0007a.tif", lambda file: grey(0).save(file, save_all=True, append_images=[grey(1), grey(2)])),
    "cut": ("0007a.jpg", lambda file: (Image.effect_noise((300, 200), 99).save(file), os.truncate(file, 2000))),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_to_decode_while_looking_changes_nothing(pictures, monkeypatch, tmp_path, odd, size, suffix):
    where = pictures(20, (8, 8, 3), suffix=suffix)
    name, write = ODD[odd]
    write(where / name)
    found = load(where, size=size)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(folder._Ahead, "begin", lambda self: None)
    apart = load(where, size=size)
    assert (found.fingerprint, found.report, found.range) == (apart.fingerprint, apart.report, apart.range)
    for split, part in found.splits.items():
        np.testing.assert_array_equal(part.images, apart.splits[split].images)
        assert list(part.names) == list(apart.splits[split].names)


def test_each_file_is_opened_once(pictures, monkeypatch):
    opened = []
    monkeypatch.setattr(
        folder.pixels, "_opened", lambda data, real=folder.pixels._opened: opened.append(1) or real(data)
    )
    load(pictures(20), size=4)
    assert len(opened) == 20 + 1  # the first one says what all become
