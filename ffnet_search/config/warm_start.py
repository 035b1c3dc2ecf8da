"""The epochs of trials that start from the supernet's weights: `search.warm_start` and `search.trial_epochs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def trial_epochs(sweep: Sweep) -> int:
    """The epochs of a trial, unless they are searched: half of the supernet's where it starts from those weights."""
    if not sweep.search.warm_start:
        return sweep.train.epochs
    return sweep.search.trial_epochs or max(1, sweep.train.epochs // 2)


def trial_sweep(sweep: Sweep) -> Sweep:
    """The sweep by which its trials train."""
    return with_epochs(sweep, trial_epochs(sweep))


def with_epochs(sweep: Sweep, epochs: int) -> Sweep:
    """The sweep with another number of epochs in `train.epochs`; the same object if that is its own."""
    if epochs == sweep.train.epochs:
        return sweep
    return sweep.model_copy(update={"train": sweep.train.model_copy(update={"epochs": epochs})})
