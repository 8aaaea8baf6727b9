from pathlib import Path

import pytest

from ganvas.errors import UserError
from ganvas.files import read_json, replace, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_replaced_at_once(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    if before:
        path.write_text(before)

    def write(part: Path) -> None:
        part.write_text("new")
        assert part.parent == tmp_path and part != path
        assert (path.read_text() if path.exists() else None) == before

    replace(path, write)
    assert path.read_text() == "new" and names(tmp_path) == ["file.txt"]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "grün 緑\n")
    assert (tmp_path / "file.txt").read_bytes() == b"gr\xc3\xbcn \xe7\xb7\x91\n"


def fail(part: Path) -> None:
    part.write_text("half")
    raise KeyboardInterrupt


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        replace(path, fail)
    assert path.read_text() == "old"


def test_a_writer_that_fails_leaves_nothing_aside(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        replace(tmp_path / "file.txt", fail)
    assert names(tmp_path) == []


def test_a_writer_that_makes_no_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        replace(path, lambda part: None)
    assert path.read_text() == "old"


def test_json_reads_back_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_text(path, '{"grün": [1, 2.5, null]}')
    assert read_json(path) == {"grün": [1, 2.5, None]}
    for damaged in (b"", b'{"a": 1', b'{"a": "\xff"}'):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"file\.json is damaged"):
            read_json(path)
