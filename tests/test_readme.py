import re
from pathlib import Path
from typing import Any

import pytest

import ganvas

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_s_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it stands, but for smaller data and one epoch."""
    train = ganvas.train

    def small(recipe: str, data: str, **settings: Any) -> ganvas.Run:
        assert data == "mnist"
        return train(recipe, data="digits", epochs=1, out=tmp_path / "run", **settings)

    monkeypatch.setattr(ganvas, "train", small, raising=False)
    found = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)
    assert names["images"].shape == (64, 1, 8, 8)
    assert names["codes"].shape == (64, 2) and names["nats"].shape == (64,)
