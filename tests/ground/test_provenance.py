import subprocess
from pathlib import Path

import pytest

from ganvas.ground import provenance
from ganvas.ground.provenance import commit


def test_the_commit_is_that_of_the_packages_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "ganvas"
    (package / "ground").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(package / "ground" / "provenance.py"))

    def git(*words: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", str(tmp_path), *names, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert commit() is None, "no checkout"
    git("init", "-q")
    assert commit() is None, "a checkout that does not hold the package"
    git("add", ".")
    git("commit", "-qm", "first")
    assert commit() == git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny.json").write_text("")
    assert "+" not in str(commit()), "results beside the package don't change it"
    (package / "new.py").write_text("")
    assert commit() == git("rev-parse", "--short=12", "HEAD") + "+changes"
