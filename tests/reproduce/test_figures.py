"""What is true of every row."""

import re
import subprocess
import sys

import pytest

from ganvas.reproduce import FIGURES
from ganvas.reproduce.lab import find, row


@pytest.mark.parametrize("name", FIGURES)
def test_a_row_says_what_it_claims_and_is_found(name: str) -> None:
    it = row(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(it.title) < 100 and len(it.claim) > 60
    assert all(1 <= int(number[1:]) <= 25 for number in it.lecture)
    assert [found.name for found in find([name])] == [name]
    assert all(name in [found.name for found in find([number])] for number in it.lecture)


def test_listing_them_imports_neither_torch_nor_matplotlib() -> None:
    program = (
        "import sys; from ganvas.reproduce.lab import rows; import ganvas.reproduce; rows()\n"
        "print([name for name in ('torch', 'matplotlib', 'sklearn', 'skimage', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
