import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ganvas.ground import memory
from ganvas.ground.errors import UserError


def test_what_is_free_is_the_least_of_system_and_group(tmp_path: Path) -> None:
    assert memory.free(root=tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert memory.free(root=tmp_path) == 5000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (("memory.max", "max"), ("memory.current", "3000000"), ("memory.stat", "inactive_file 1000000")):
        (group / name).write_text(f"{text}\n")
    assert memory.free(root=tmp_path) == 5000 * 1024, "a group without a limit"
    (group / "memory.max").write_text("4000000\n")
    assert memory.free(root=tmp_path) == 2_000_000, "pages of files can be dropped"
    (group / "memory.max").write_text("1\n")
    assert memory.free(root=tmp_path) == 0


def test_the_limit_of_an_older_group(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    for name, text in (("limit_in_bytes", "5000"), ("usage_in_bytes", "3000"), ("stat", "total_inactive_file 500")):
        (group / f"memory.{name}").write_text(text)
    assert memory.free(root=tmp_path) == 2500


def test_this_machine_says_what_is_free() -> None:
    assert (memory.free() or 0) > 2**20


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "free", lambda device="cpu": 1000)
    memory.require_images(2, (1, 15, 15))  # too little to be looked at
    monkeypatch.setattr(memory, "SMALL", 0)
    memory.require_images(1, (1, 15, 15))
    with pytest.raises(UserError) as caught:
        memory.require_images(2, (1, 15, 15))
    assert str(caught.value) == "2 images of 1 x 15 x 15 would take 1.8 kB of memory, and 1.0 kB are free: take fewer."
    monkeypatch.setattr(memory, "free", lambda device="cpu": None)
    memory.require_images(10**30, (1, 15, 15))
    with pytest.raises(UserError, match=r"x would take 1,000,000 TB, and .* are free in .*: take fewer"):
        memory.require_disk(10**18, tmp_path, "x")


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3136 * 10**9, "3.1 TB"), (22e9, "22 GB")]
)
def test_bytes_in_words(size: float, said: str) -> None:
    assert memory.in_words(size) == said


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep what they like")
def test_freed_memory_is_kept() -> None:
    """In a process of its own: a block of 8 MB that is freed and asked for again brings no page faults."""
    code = """
import resource
from ganvas.ground import memory
memory.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**23)
before = faults()
for _ in range(20):
    bytearray(2**23)
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**23 // 4096
