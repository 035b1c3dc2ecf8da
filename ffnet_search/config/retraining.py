"""The retraining of the networks that a sweep exports: `export.retrain` with its defaults resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffnet_search.plugins import is_import_path

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep
    from ffnet_search.space.hyperparameters import Value


@dataclass(frozen=True)
class Retraining:
    """The training of each network alone before the export. `distil`: the share of distillation in the loss."""

    epochs: int
    rate: float  # the learning rate, as a factor of the recipe's
    distil: float
    is_inherited: bool  # from the supernet's weights, not from new ones
    candidates: int  # networks that are retrained, from which the front is drawn

    def __str__(self) -> str:
        start = "inherited" if self.is_inherited else "new"
        taught = f", taught by the supernet's largest network (share {self.distil:g})" if self.distil else ""
        return f"{self.epochs} epochs from {start} weights at {self.rate:g} x the learning rate{taught}"


def retraining_of(sweep: Sweep) -> Retraining | None:
    """The retraining of a sweep; None if the networks are exported as the search left them."""
    section = sweep.export.retrain
    inherits = sweep.search.evaluator == "supernet"
    epochs = section.epochs
    if epochs is None:
        epochs = max(1, sweep.train.epochs // 2) if inherits else 0
    if not epochs or sweep.module is not None:
        return None
    return Retraining(
        epochs,
        section.rate,
        distil=section.distil,
        is_inherited=section.start == "inherited",
        candidates=max(section.candidates or 0, sweep.export.top),
    )


def check_retraining(sweep: Sweep) -> None:
    """Raise ValueError if a sweep asks for a retraining that cannot be done."""
    section = sweep.export.retrain
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
