"""Tests on several cores: those of a folder whose fixtures are a package's stay together, others by their file."""

from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

hypothesis.settings.register_profile("any machine", deadline=None)  # speed belongs in benchmarks/
hypothesis.settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parent


class ByFolder(LoadScopeScheduling):
    """Deals out whole files, and whole folders where fixtures live as long as the folder's tests."""

    def _split_scope(self, nodeid: str) -> str:
        file = ROOT.parent / nodeid.split("::")[0]
        fixtures = file.with_name("conftest.py")
        shared = file.parent != ROOT and fixtures.exists() and 'scope="package"' in fixtures.read_text()
        return str(file.parent if shared else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return ByFolder(config, log)
