"""Rules between the task, the recipe and the data of a sweep for training images that are mixed or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffnet_search.config.binding import searched_fields
from ffnet_search.space.registry import task_outputs

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def check_augmenting(sweep: Sweep) -> None:
    """Raise ValueError if images are mixed whose targets cannot be, or if a transform of whole batches would get the
    share of one device."""
    task, searched = task_outputs(sweep.task), searched_fields(sweep)
    for name, allowed in (("mixup", task.mixes), ("cutmix", task.mixes and task.cuts)):
        if not allowed and (getattr(sweep.train, name) > 0 or f"train.{name}" in searched):
            reason = "are no share of the area" if task.mixes else "do not mix"
            raise ValueError(f"train.{name} must be left out for task {sweep.task!r}, whose targets {reason}")
    if sweep.train.devices > 1:
        for index, transform in enumerate(sweep.data.augment.transforms):
            if transform.takes == "batch":
                raise ValueError(
                    f"data.augment.transforms.{index}.takes must be tensor, array or pil where train.devices is "
                    f"{sweep.train.devices}, since each device has a share of every batch, but is 'batch'"
                )
