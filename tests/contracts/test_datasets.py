"""The contract of every data set: four splits, reproducible batches, and epochs that resume anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from image_data import KINDS, all_prints, prints, section, whole_train

from ffnet_search.data.registry import validation_images
from ffnet_search.tasks.base import task_of

KIND = pytest.mark.parametrize("kind", KINDS)

# The contract


@KIND
def test_splits_are_disjoint_and_hold_everything(kind: str, make_data: Callable[..., Any]) -> None:
    data = make_data(kind)
    train, validation, test = (
        whole_train(data), all_prints(data.val_dataloader()), all_prints(data.test_dataloader()),
    )  # fmt: skip
    assert len(train) == data.train_images
    assert not train & set(validation) and not train & set(test) and not set(validation) & set(test)
    assert len(train) + len(validation) + len(test) == KINDS[kind][2]


@KIND
def test_images_are_counted_without_being_read(kind: str, layouts: Path, make_data: Callable[..., Any]) -> None:
    """For the sentence of `check` on what a validation split tells apart."""
    fields, input, _ = KINDS[kind]
    place = {"path": layouts / fields["path"]} if "path" in fields else {}
    counted, data = validation_images(section(**{**fields, **place}), 0, input), make_data(kind)
    validation = len(all_prints(data.val_dataloader()))
    if counted is None:
        assert kind.startswith("cifar") or kind == "user"
    else:
        assert counted[0] == validation and counted[1] in (None, data.train_images + validation)


def test_a_batch_of_validation_has_all_classes_in_proportion(make_data: Callable[..., Any]) -> None:
    """The supernet is looked at with the statistics of a batch, which one class alone would spoil."""
    data = make_data("tree")
    whole = torch.cat([labels for _, labels in data.val_dataloader()]).bincount(minlength=len(data.outputs))
    for _, labels in data.val_dataloader():
        expected = whole / whole.sum() * len(labels)
        assert (labels.bincount(minlength=len(data.outputs)) - expected).abs().max() <= 1


@KIND
def test_batches_have_the_shapes_of_the_input(kind: str, make_data: Callable[..., Any]) -> None:
    data, input = make_data(kind), KINDS[kind][1]
    assert len(data.outputs) == input.outputs
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert len(batches) == len(loader)
        for images, labels in batches:
            assert images.dtype == torch.float32 and task_of(input).accepts(labels)
            assert images.shape == (len(labels), *input.shape)
            assert kind == "user" or images.is_contiguous(memory_format=torch.channels_last)
            assert labels.min() >= 0 and (input.task == "regression" or labels.max() < input.outputs)
    assert all(len(labels) == 16 for _, labels in list(data.train_dataloader())[:-1])


@KIND
def test_images_are_normalised(kind: str, make_data: Callable[..., Any]) -> None:
    images = torch.cat([images for images, _ in make_data(kind).train_dataloader()])
    streamed = kind in ("folder_streamed", "tree", "user")  # normalised by the calibration images
    near = 0.2 if streamed else 0.05
    assert images.mean((0, 2, 3)).abs().max() < near
    assert (images.std((0, 2, 3)) - 1).abs().max() < near


@KIND
def test_fingerprint_names_the_content_and_its_split(kind: str, make_data: Callable[..., Any]) -> None:
    fingerprint = make_data(kind).fingerprint
    assert len(fingerprint) == 64
    assert make_data(kind).fingerprint == fingerprint == make_data(kind, batch_size=8).fingerprint
    if kind != "user":
        assert make_data(kind, seed=1).fingerprint != fingerprint
        assert make_data(kind, validation=0.3).fingerprint != fingerprint


@KIND
def test_order_is_a_function_of_seed_and_epoch(kind: str, make_data: Callable[..., Any]) -> None:
    def epochs(seed: int) -> list[list[str]]:
        loader = make_data(kind, seed).train_dataloader()
        found = []
        for epoch in range(2):
            loader.set_epoch(epoch)
            found.append(all_prints(loader))
        return found

    first, again, other = epochs(0), epochs(0), epochs(1)
    assert first == again
    assert first[0] != first[1] and first[0] != other[0]
    assert len(set(first[0])) == len(first[0])


@KIND
@pytest.mark.parametrize("seen", [0, 1, 3])
def test_an_epoch_goes_on_where_it_was_left(kind: str, seen: int, make_data: Callable[..., Any]) -> None:
    whole = make_data(kind).train_dataloader()
    whole.set_epoch(2)
    expected = [prints(images) for images, _ in whole]
    left = make_data(kind).train_dataloader()
    left.set_epoch(2)
    for _, _ in zip(range(seen), left, strict=False):
        pass
    state = left.state_dict() if seen else {"epoch": 2, "batch": 0}
    resumed = make_data(kind).train_dataloader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state == {"epoch": 2, "batch": seen}
    assert [prints(images) for images, _ in resumed] == expected[seen:]
    assert len(resumed) == len(expected)
    resumed.set_epoch(2)
    assert [prints(images) for images, _ in resumed] == expected, "only the first iteration begins in the middle"


@KIND
def test_calibration_is_a_part_of_train_without_augmentation(kind: str, make_data: Callable[..., Any]) -> None:
    user_supplied = kind == "user"
    data = make_data(kind) if user_supplied else make_data(kind, augment={"crop": 2, "flip": True, "cutout": 4})
    assert data.calibration.shape[0] == 64 and data.calibration.dtype == torch.float32
    assert set(prints(data.calibration)) <= whole_train(data)
    assert user_supplied or len(make_data(kind, calibration=10_000).calibration) == data.train_images


@pytest.mark.parametrize("kind", ["folder", "folder_streamed", "tree", "digits"])
def test_a_part_of_the_calibration_images_has_all_classes(kind: str, make_data: Callable[..., Any]) -> None:
    """Statistics of batch norms and 8-bit ranges are of parts of them, and files lie by class."""
    data = make_data(kind)
    classes = dict[str, int]()
    for epoch in range(4):  # an epoch leaves out what does not fill a batch
        loader = data.train_dataloader()
        loader.set_epoch(epoch)
        for images, labels in loader:
            classes |= zip(prints(images), labels.tolist(), strict=True)
    for part in data.calibration.split(16):
        found = {classes[name] for name in prints(part)}
        assert found == set(classes.values()) or (len(found) >= 7 and kind == "digits")


@KIND
def test_processes_share_every_batch(kind: str, make_data: Callable[..., Any]) -> None:
    def rank(rank: int, size: int) -> list[str]:
        data = make_data(kind, batch_size=8, **({"init_args": {"images": 128}} if kind == "user" else {}))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=size)
        return all_prints(data.train_dataloader())

    alone, first, second = rank(0, 1), rank(0, 2), rank(1, 2)
    assert len(first) == len(second) and not set(first) & set(second)
    assert len(first) + len(second) > len(alone) - 16  # but for what does not fill a last batch
