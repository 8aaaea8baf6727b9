import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ganvas.data import Split
from ganvas.data.loader import Batches
from ganvas.data.paged import Paged, paged
from ganvas.ground import memory

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_RANDOM"), reason="the system takes no advice")


@pytest.fixture
def rows(tmp_path: Path) -> NDArray[np.uint8]:
    """3,000 rows of 784 bytes from row 700 of a map on: neither begins where a page does."""
    images = np.random.default_rng(0).integers(0, 256, (4000, 28, 28, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")[700:3700]


def test_what_fits_into_memory_and_what_is_no_map_is_left_to_the_system(rows: NDArray[np.uint8]) -> None:
    assert paged(rows) is None
    assert paged(np.array(rows)) is None


@pytest.mark.parametrize("room", [0, None])
def test_batches_are_the_same(rows: NDArray[np.uint8], room: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Batches(Split(rows, None), 1000, seed=0)
    monkeypatch.setattr(memory, "free", lambda: room)
    assert (paged(rows) is None) == (room is None)
    batches = Batches(Split(rows, None), 1000, seed=0)
    for i in (0, 1, 2, 3, 1):
        assert batches[i].images.equal(usual[i].images)


def test_each_row_that_is_wanted_is_asked_for_and_at_most_a_page_more(rows: NDArray[np.uint8]) -> None:
    asked: list[bytes] = []

    class Recorder:
        def __init__(self, real: mmap.mmap) -> None:
            self.real = real

        def madvise(self, advice: int, start: int, length: int) -> None:
            self.real.madvise(advice, start, length)
            assert advice == mmap.MADV_WILLNEED
            asked.append(self.real[start : start + length])

    found = Paged(rows)
    found._map = Recorder(found._map)  # type: ignore[assignment]
    places = np.array([0, 2999, 17, 1234])
    found.want(places)
    for place, seen in zip(places, asked, strict=True):
        assert seen.endswith(rows[place].tobytes())
        assert len(seen) < rows[place].nbytes + mmap.PAGESIZE


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what it was advised")
def test_the_system_reads_ahead_of_none_of_these_rows_and_of_others_as_ever(rows: NDArray[np.uint8]) -> None:
    def random(row: NDArray[np.uint8]) -> bool:
        """Whether the flags of this row's page have "rr"."""
        inside = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            first, _, last = line.split()[0].partition("-")
            if last:
                inside = int(first, 16) <= row.ctypes.data < int(last, 16)
            elif inside and first == "VmFlags:":
                return "rr" in line.split()
        raise AssertionError("no such page")

    assert not random(rows[0])
    kept = Paged(rows)
    whole = rows.base
    assert isinstance(whole, np.ndarray)
    assert random(rows[0]) and random(rows[-1])
    assert not random(whole[0]) and not random(whole[-1])
    del kept
