from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ganvas.ground import tensors
from ganvas.ground.errors import UserError
from ganvas.ground.files import WriteError

KEPT = {
    "a/weight": torch.arange(12.0).view(3, 4),
    "a/count": torch.tensor(7),
    "b/half": torch.ones(5, dtype=torch.bfloat16),
    "b/none": torch.zeros(0, 3),
}
FACTS = {"step": "12", "grün": '"緑"'}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tensors") / "file.safetensors"
    tensors.save(path, KEPT, FACTS)
    return path


def test_they_read_back_all_or_a_part(file: Path) -> None:
    found, facts = tensors.load(file)
    assert facts == FACTS and found.keys() == KEPT.keys() == load_file(file).keys()
    assert all(torch.equal(found[name], KEPT[name]) and found[name].dtype == KEPT[name].dtype for name in KEPT)
    part, facts = tensors.load(file, "a/")
    assert part.keys() == {"weight", "count"} and facts == FACTS


def test_equal_tensors_make_equal_files(file: Path, tmp_path: Path) -> None:
    for number in range(5):
        tensors.save(again := tmp_path / str(number), KEPT, dict(reversed(FACTS.items())))
        assert again.read_bytes() == file.read_bytes()


@given(st.data())
def test_any_flipped_bit_is_found(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    changed = file.with_name("changed")
    changed.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    try:
        found, facts = tensors.load(changed)
    except UserError as error:
        assert str(changed) in str(error) and "is damaged" in str(error)
    else:  # a space that pads the header
        assert facts == FACTS and all(torch.equal(found[name], KEPT[name]) for name in KEPT)


@pytest.mark.parametrize("damage", ["dropped", "renamed", "swapped", "facts"])
def test_what_a_program_has_changed_is_found(damage: str, file: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        facts, found = opened.metadata(), load_file(file)
    if damage == "dropped":
        del found["a/count"]
    elif damage == "renamed":
        found["a/other"] = found.pop("a/count")
    elif damage == "swapped":
        found["a/weight"] = found["a/weight"].view(4, 3)
    else:
        facts["step"] = "13"
    save_file(found, tmp_path / "changed", metadata=facts)
    with pytest.raises(UserError, match=r"the checksum of (its facts|a/\w+) is another"):
        tensors.load(tmp_path / "changed")


def test_a_file_of_another_program_has_no_checksums(tmp_path: Path) -> None:
    save_file(KEPT, tmp_path / "theirs")
    found, facts = tensors.load(tmp_path / "theirs")
    assert found.keys() == KEPT.keys() and facts == {}
    save_file(KEPT, tmp_path / "theirs", metadata={"format": "pt"})
    assert tensors.load(tmp_path / "theirs")[0].keys() == KEPT.keys()


@pytest.mark.parametrize("text", ["", "x", "[]", "3", "[[[", '{"a/weight": {}}'])
def test_checksums_that_are_none(text: str, tmp_path: Path) -> None:
    save_file(KEPT, tmp_path / "theirs", metadata={"checksums": text})
    with pytest.raises(UserError, match="is damaged"):
        tensors.load(tmp_path / "theirs")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"away/file can't be written \(No such file or directory\)"):
        tensors.save(tmp_path / "away" / "file", KEPT)
