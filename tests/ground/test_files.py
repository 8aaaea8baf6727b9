import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.ground import tensors
from ganvas.ground.errors import UserError
from ganvas.ground.files import WriteError, existing, read_json, replace, sweep, write_text


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
    with pytest.raises(WriteError, match=r"file\.txt can't be written \(No such file"):
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


def test_who_may_read_a_file_is_for_the_umask_to_say(tmp_path: Path) -> None:
    """safetensors makes its files for their owner alone."""
    for umask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        before = os.umask(umask)
        try:
            tensors.save(tmp_path / "weights", {"a": torch.zeros(3)})
            write_text(tmp_path / "text", "a")
        finally:
            os.umask(before)
        assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("weights", "text")} == {mode}


FULL = """
import resource, sys, torch
from pathlib import Path
from ganvas.ground import tensors
from ganvas.ground.files import WriteError, write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (
    lambda path: tensors.save(path, {"a": torch.zeros(1000)}),
    lambda path: write_text(path, 2000 * "a"),
):
    try:
        write(Path(sys.argv[1]) / "file")
    except WriteError as error:
        print(error)
"""


def test_a_disk_without_room_is_said_whoever_writes(tmp_path: Path) -> None:
    """As a quota does, a limit refuses the bytes above it."""
    (tmp_path / "file").write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    said = (
        f"there is no room for {tmp_path / 'file'} (File too large): free some space. What was written before is whole."
    )
    assert done.stdout.splitlines() == [said, said]
    assert (tmp_path / "file").read_text() == "old" and names(tmp_path) == ["file"]


FULL_CACHE = """
import resource, sys
from ganvas.data import load
from ganvas.ground.files import WriteError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    load(sys.argv[1])
except WriteError as error:
    print(error)
"""


def test_a_folder_s_pixels_that_find_no_room_are_said(tmp_path: Path) -> None:
    """They are written while the files are looked at."""
    for name in map(str, range(30)):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), int(name), np.uint8)).save(path)
    environment = {**os.environ, "GANVAS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", FULL_CACHE, str(tmp_path / "photos")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(f"there is no room for {tmp_path / 'cache'}") and "free some space" in done.stdout


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        replace(tmp_path / "file", lambda part: (tmp_path / "away" / "missing").read_text())


def test_what_dead_writers_left_is_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "below").mkdir()
    gone = [
        f".a.{dead.pid}.part",
        f"below/.b.txt.{dead.pid}.part",
        f".c.{os.getpid()}.part",
        f".d.{2**40}.part",
        "below/.tmpf6Aipw",
    ]
    kept = [
        f".a.{os.getppid()}.part",
        f"a.{dead.pid}.part",
        f".a.{dead.pid}",
        "..part",
        ".part",
        ".a.x.part",
        ".tmp",
        "tmpf6Aipw",
    ]
    for name in [*gone, *kept]:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == sorted([*kept, "below"]) and names(tmp_path / "below") == []


@pytest.mark.parametrize("what", [5, None, 300 * "a"])
def test_what_is_no_folder_at_all(what: Any) -> None:
    with pytest.raises(UserError, match="is no folder: "):
        existing(what)
