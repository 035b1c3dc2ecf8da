"""Settings that would have no effect beside the others of a sweep. They are refused, so that nobody relies on them.

Limits of what data need, such as `data.in_memory_mb`, hold for small data too, and are none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ffnet_search.config.binding import searched_fields
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import DataSection, TrainSection
from ffnet_search.config.search_schema import SchedulerSection
from ffnet_search.formatting import listed
from ffnet_search.plugins import is_import_path
from ffnet_search.strict_yaml import Section

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

OF_A_SUPERNET = ("devices", "minutes", "sampled", "labels")  # fields of `train`
OF_ANY_MODULE = {"epochs", "ema", "callbacks", "loggers"}  # fields of `train` that apply to a user-supplied module too
OF_A_TABLE = ("calibration", "held_out", "min_within_10")  # fields of `latency`
OF_ANY_DATA = {"name", "init_args"}  # fields of `data` that apply to a user-supplied data module
OF_USER_DATA = OF_ANY_DATA | {"batch_size", "calibration"}  # where FFNets learn from it


class Unused(NamedTuple):
    """Fields of a section that have no effect, and why: a clause that begins with `where`."""

    place: str
    section: Section
    fields: tuple[str, ...]
    why: str


def check_unused_settings(sweep: Sweep) -> None:
    """Raise ValueError for settings that differ from their defaults and have no effect, all that have none for the same
    reason."""
    found: dict[str, dict[str, None]] = {}
    for place, section, fields, why in _unused(sweep):
        for name in fields:
            field = type(section).model_fields[name]
            if getattr(section, name) != field.get_default(call_default_factory=True):
                found.setdefault(why, {})[f"{place}.{field.alias or name}"] = None
    if found:
        why, names = next(iter(found.items()))
        them = "it" if len(names) == 1 else "them"
        raise ValueError(f"{listed(names)} must be left out {why}; remove {them}")


def _unused(sweep: Sweep) -> Iterator[Unused]:
    yield from _of_training(sweep)
    yield from _of_retraining(sweep)
    yield from _of_data(sweep)
    yield from _of_workers(sweep)
    if not sweep.search_space.is_elastic:
        for device in sweep.latency:
            why = "where search_space has no stages, and so no table of latency"
            yield Unused("latency", device, OF_A_TABLE, why)
        yield Unused("report", sweep.report, ("baselines",), "where search_space has no stages, and so no yardstick")


def _of_training(sweep: Sweep) -> Iterator[Unused]:
    train, searched = sweep.train, searched_fields(sweep)
    if not sweep.uses_supernet:
        why = "where trials train without a supernet"
        yield Unused("train", train, OF_A_SUPERNET, why)
    if not sweep.search.warm_start:
        why = "where trials do not start from a supernet (search.warm_start), and so train for train.epochs"
        yield Unused("search", sweep.search, ("trial_epochs",), why)
    elif "train.epochs" in searched:
        yield Unused("search", sweep.search, ("trial_epochs",), "where hyperparameters has the epochs of a trial")
    if sweep.module is not None:
        others = tuple(name for name in TrainSection.model_fields if name not in OF_ANY_MODULE)
        yield Unused("train", train, others, "where module is given, which has its own optimiser and loss")
        return
    if train.optimizer == "adamw" and "train.optimizer" not in searched:
        yield Unused("train", train, ("momentum",), "where train.optimizer is adamw, which has none")
    if not train.sampled:
        yield Unused("train", train, ("labels",), "where train.sampled is 0: it is of the sub-networks")


def _of_retraining(sweep: Sweep) -> Iterator[Unused]:
    retrain = sweep.export.retrain
    if not sweep.uses_supernet:
        why = "where trials train without a supernet"
        yield Unused("export.retrain", retrain, ("distil",), why)
    if sweep.module is None and retraining_of(sweep) is None:
        default = retrain.epochs is None
        why = "where nothing is retrained, as by default where trials train" if default else "where its epochs are 0"
        yield Unused("export.retrain", retrain, ("max_epochs", "rate", "distil", "start", "candidates"), why)


def _of_data(sweep: Sweep) -> Iterator[Unused]:
    data, augment = sweep.data, sweep.data.augment
    if is_import_path(data.name):
        kept = OF_USER_DATA if sweep.module is None else OF_ANY_DATA
        others = tuple(name for name in DataSection.model_fields if name not in kept)
        yield Unused("data", data, others, f"for {data.name}, which reads, splits and augments its data by itself")
    elif not augment.randaugment and "data.augment.randaugment" not in searched_fields(sweep):
        yield Unused("data.augment", augment, ("magnitude",), "where randaugment is 0: it is of its operations")


def _of_workers(sweep: Sweep) -> Iterator[Unused]:
    """Fields that engines on a cluster use, beside the training of a supernet on its GPUs."""
    search: Any = sweep.search
    why = "where search.engine is 'local', which evaluates one network after the other without workers"
    if search.engine == "local":
        yield Unused("search", search, ("workers",), why)
        if sweep.train.devices == 1 and not search.resources.gpu:
            yield Unused("search", search, ("resources", "wait_minutes"), why)
    if search.scheduler.class_path == SchedulerSection().class_path:
        yield Unused(
            "search.scheduler", search.scheduler, ("init_args",), "where no class_path names a scheduler of Tune"
        )
