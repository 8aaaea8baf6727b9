"""The lock holds what pyproject.toml asks for, and each of its packages by its hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ENTRY = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)( ; (?P<marker>[^\\]+?))?( \\\n +--hash=sha256:[0-9a-f]{64})+\n"
)


def entries(name: str) -> list[re.Match[str]]:
    text = (ROOT / "lock" / f"{name}.txt").read_text()
    found = list(ENTRY.finditer(text))
    assert "# Written by `make lock`.\n" + "".join(it.group() for it in found) == text  # nothing without a hash
    return found


@pytest.mark.parametrize("name", ["packages", "cpu", "cuda", "release"])
def test_each_package_has_its_hashes(name: str) -> None:
    assert entries(name)


def test_what_is_asked_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in [*project["dependencies"], *(t for extra in extras.values() for t in extra)]]
    asked = [it for it in asked if it.name != "ganvas"]
    locked: dict[str, list[str]] = {}
    for it in entries("packages"):
        locked.setdefault(canonicalize_name(it["name"]), []).append(it["version"])
    assert len(asked) > 30
    for it in asked:
        versions = locked.get(canonicalize_name(it.name), [])
        assert versions, f"{it} is not locked: run `make lock`"
        assert all(version in it.specifier for version in versions), f"{it} does not fit {versions}: run `make lock`"


def test_torch_is_the_same_everywhere() -> None:
    (packages,) = (it["version"] for it in entries("packages") if it["name"] == "torch")
    (cpu,) = (it["version"] for it in entries("cpu"))
    peers = re.search(r"^torch==(.+)$", (ROOT / "benchmarks" / "peers.txt").read_text(), re.MULTILINE)
    assert peers and packages == cpu == peers[1]
