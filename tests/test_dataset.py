"""Stratified splits, and the digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from image_data import all_prints

from ffnet_search.data.dataset import split, stratified_order

# Splits and augmentation


def test_every_prefix_of_a_stratified_order_holds_every_class_in_proportion() -> None:
    labels = np.repeat(np.arange(5), [1, 7, 40, 100, 352])
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(500))
    for count in range(1, 501):
        shares = np.bincount(labels[order[:count]], minlength=5) - np.bincount(labels) * count / 500
        assert np.abs(shares).max() <= 1.5
    rest, held_out = split(labels, 0.1, np.random.default_rng(0))
    assert len(held_out) == 50 and set(rest) | set(held_out) == set(range(500))


def test_the_test_split_of_digits_does_not_depend_on_the_seed(make_data: Callable[..., Any]) -> None:
    first, second = make_data("digits", seed=0), make_data("digits", seed=1)
    assert all_prints(first.val_dataloader()) != all_prints(second.val_dataloader())
    labels = [torch.cat([labels for _, labels in data.test_dataloader()]).tolist() for data in (first, second)]
    assert labels[0] == labels[1] and len(labels[0]) == 359


def test_digits_keep_their_17_levels(make_data: Callable[..., Any]) -> None:
    data = make_data("digits")
    mean, std = data.statistics
    levels = torch.cat([images for images, _ in data.train_dataloader()]) * std + mean
    assert torch.allclose(levels.unique().round().unique(), (torch.arange(17) * 255 / 16).round())
