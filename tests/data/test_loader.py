import numpy as np
import pytest
import torch

from ganvas.data import Split
from ganvas.data.loader import Batch, Batches, to_tensor
from ganvas.ground.errors import UserError


def numbered(n: int) -> Split:
    """Points whose coordinates tell their row."""
    return Split(np.stack([np.arange(n)] * 2, 1).astype(np.float32), None)


def rows(batch: Batch) -> list[int]:
    return batch.images[:, 0].long().tolist()


def test_each_epoch_is_another_permutation() -> None:
    batches = Batches(numbered(12), 3, seed=0)
    assert len(batches) == 4
    epochs = [[row for i in range(4) for row in rows(batches[4 * epoch + i])] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, sorted(epochs[0])]}) == 4


def test_the_incomplete_last_batch_is_left_out_and_not_always_the_same_rows() -> None:
    batches = Batches(numbered(11), 3, seed=0)
    assert len(batches) == 3
    epochs = [{row for i in range(3) for row in rows(batches[3 * epoch + i])} for epoch in range(8)]
    assert all(len(epoch) == 9 for epoch in epochs)
    assert set.union(*epochs) == set(range(11))


def test_any_batch_can_be_had_without_those_before_it() -> None:
    whole = Batches(numbered(12), 3, seed=0)
    inturn = [rows(whole[i]) for i in range(9)]
    for i in (8, 0, 5, 3, 8):
        assert rows(Batches(numbered(12), 3, seed=0)[i]) == rows(whole[i]) == inturn[i]
    other = Batches(numbered(12), 3, seed=1)
    assert [rows(other[i]) for i in range(9)] != inturn


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_shares_of_the_processes_make_the_global_batch(world: int) -> None:
    split, whole = numbered(20), Batches(numbered(20), 6, seed=4)
    shares = [Batches(split, 6, seed=4, rank=rank, world=world) for rank in range(world)]
    for i in range(7):
        assert len({len(share) for share in [whole, *shares]}) == 1
        parts = [share[i].images for share in shares]
        assert {len(part) for part in parts} == {6 // world}
        assert torch.equal(torch.cat(parts), whole[i].images)


@pytest.mark.parametrize("columns", [(), (3,)])
def test_labels_stay_with_their_images(columns: tuple[int, ...]) -> None:
    split = numbered(20)
    labels = np.arange(20 * int(np.prod(columns))).reshape(20, *columns)
    for i in range(5):
        images, told = Batches(Split(split.images, labels), 6, seed=4)[i]
        assert told is not None and told.dtype == torch.int64
        assert torch.equal(told, torch.from_numpy(labels)[images[:, 0].long()])


@pytest.mark.parametrize(
    ("n", "size", "world", "says"),
    [
        (10, 11, 1, "--batch-size 11 is larger than the 10 training images: take --batch-size 8 or less."),
        (64, 128, 1, "take --batch-size 64 or less."),
        (20, 8, 3, "--batch-size 8 can't be shared evenly by 3 processes."),
    ],
)
def test_impossible_batches_are_refused(n: int, size: int, world: int, says: str) -> None:
    with pytest.raises(UserError) as refused:
        Batches(numbered(n), size, seed=0, world=world)
    assert says in str(refused.value)


def test_images_become_what_a_model_takes(random: np.random.Generator) -> None:
    images = random.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    images.flags.writeable = False
    ours = to_tensor(images)
    assert ours.dtype == torch.float32 and ours.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(ours, images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    batch, labels = Batches(Split(images, None), 4, seed=0)[0]
    assert labels is None and sorted(batch.sum((1, 2, 3)).tolist()) == sorted(ours.sum((1, 2, 3)).tolist())


def test_points_stay_as_they_are(random: np.random.Generator) -> None:
    points = random.normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(to_tensor(points), points)


def test_each_level_is_divided_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(to_tensor(levels).numpy().ravel(), np.arange(256, dtype=np.float32) / np.float32(255))
