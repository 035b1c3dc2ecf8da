"""The retraining of the networks that a sweep exports: `export.retrain` with its defaults resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffnet_search.formatting import plural
from ffnet_search.plugins import is_import_path

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep
    from ffnet_search.space.hyperparameters import Configuration, Value

LONGER = 3  # times as many epochs, at most, for small networks: docs/log/supernet.md


@dataclass(frozen=True)
class Retraining:
    """The training of each network alone before the export. `distil`: the share of distillation in the loss."""

    epochs: int  # of a network of `largest_macs_m`
    max_epochs: int  # of smaller ones
    largest_macs_m: float  # millions, of the largest network of the space
    rate: float  # the learning rate, as a factor of the recipe's
    distil: float
    is_inherited: bool  # from the supernet's weights, not from new ones
    candidates: int  # networks that are retrained, from which the front is drawn

    def __str__(self) -> str:
        start = "inherited" if self.is_inherited else "new"
        taught = f", taught by the supernet's largest network (share {self.distil:g})" if self.distil else ""
        longer = f"{self.epochs} to {self.max_epochs} epochs"
        epochs = plural(self.epochs, "epoch") if self.max_epochs == self.epochs else longer
        return f"{epochs} from {start} weights at {self.rate:g} x the learning rate{taught}"

    def epochs_for(self, macs_m: float) -> int:
        """The epochs of a network of so many millions of MACs: they rise as the root of these falls, up to
        `max_epochs`. So none costs more than the largest, and small ones, which gain most by further epochs, get some.
        """
        return min(self.max_epochs, round(self.epochs * lengthening(macs_m, self.largest_macs_m)))

    def epochs_of(self, configuration: Configuration) -> int:
        """The epochs of the network of a configuration."""
        assert configuration.architecture is not None
        return self.epochs_for(configuration.architecture.macs_m)


def lengthening(macs_m: float, largest_macs_m: float) -> float:
    """The factor of the epochs of a network of so many millions of MACs, before any limit."""
    return math.sqrt(largest_macs_m / macs_m)


def retraining_of(sweep: Sweep) -> Retraining | None:
    """The retraining of a sweep; None if the networks are exported as the search left them."""
    section = sweep.export.retrain
    inherits = sweep.search.evaluator == "supernet"
    epochs = section.epochs
    if epochs is None:
        epochs = max(1, sweep.train.epochs // 2) if inherits else 0
    if not epochs or sweep.module is not None:
        return None
    is_inherited = section.start == "inherited"
    return Retraining(
        epochs,
        max_epochs=max(epochs, section.max_epochs or (LONGER if is_inherited else 1) * epochs),
        largest_macs_m=sweep.search_space.largest.macs_m,
        rate=section.rate,
        distil=section.distil,
        is_inherited=is_inherited,
        candidates=max(section.candidates or 0, sweep.export.top),
    )


def check_retraining(sweep: Sweep) -> None:
    """Raise ValueError if a sweep asks for a retraining that cannot be done."""
    section = sweep.export.retrain
    if section.max_epochs is not None and section.max_epochs < (section.epochs or 0):
        raise ValueError(
            f"export.retrain.max_epochs must be >= epochs, {section.epochs}, which the largest network has, but got "
            f"{section.max_epochs}"
        )
    if not section.epochs:
        return
    if sweep.module is not None:
        raise ValueError("export.retrain.epochs must be left out where a module is given: its trials train it whole")
    if section.start == "inherited" and not sweep.uses_supernet:
        raise ValueError(
            "export.retrain.from must be 'scratch' where trials train without a supernet, whose weights would be "
            "inherited, but is 'inherited'"
        )


def check_folds(sweep: Sweep) -> None:
    """Raise ValueError if networks are to be cross-validated on data that this program does not split."""
    if not sweep.export.folds:
        return
    if sweep.module is not None:
        raise ValueError("export.folds must be left out where a module is given, which splits its data; remove it")
    if is_import_path(sweep.data.name):
        raise ValueError(f"export.folds must be left out for {sweep.data.name}, which splits its images; remove it")


def retrained_values(sweep: Sweep, values: Mapping[str, Value]) -> dict[str, Value]:
    """The hyper-parameters of a retraining where the search found `values`: its own epochs, its rate of theirs."""
    retrained = {}
    for name, value in values.items():
        path = sweep.bindings[name].path
        if path == "train.learning_rate":
            assert isinstance(value, int | float)
            value = sweep.export.retrain.rate * value
        if path != "train.epochs":
            retrained[name] = value
    return retrained
