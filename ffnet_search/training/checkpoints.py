"""Lightning's checkpoints: replaced whole, and read without pickle unless the user allows it, since a run's folder may
be untrusted.

Beside tensors and plain values, the types that callbacks and modules commonly store are read. Anything else needs
pickle, which can run code, and so the same consent as user-supplied classes."""

from __future__ import annotations

import collections
import datetime
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ffnet_search.atomic_write import replacing, set_aside
from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import may_import_foreign
from ffnet_search.models.weights_file import UNREADABLE, load_tensors, reason_of
from ffnet_search.progress import say

if TYPE_CHECKING:
    from lightning import Trainer

RESUMED = {"state_dict", "loops", "optimizer_states"}  # of a checkpoint by Lightning: what a training resumes from
SAFE: list[Any] = [
    *(datetime.timedelta, datetime.datetime, datetime.date, datetime.time, datetime.timezone),
    *(pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath),
    *(collections.OrderedDict, collections.Counter),
    *(dict, list, tuple, set, frozenset, complex, bytearray, int, float, str, bool),
]


def save_checkpoint(trainer: Trainer, path: Path, *, weights_only: bool = False) -> None:
    """Write a checkpoint, replaced whole. A collective operation: every rank calls it, the first one writes."""
    with replacing(path) if trainer.is_global_zero else nullcontext(path) as target:
        trainer.save_checkpoint(target, weights_only=weights_only)


def safe_types() -> AbstractContextManager[Any]:
    """Let `torch.load` with `weights_only` read the types of `SAFE` in the block."""
    return torch.serialization.safe_globals(SAFE)


def load_checkpoint(path: Path, *, plain: bool) -> Any:
    """The content of a checkpoint. `plain`: it must hold tensors, plain values and the types of `SAFE` alone.

    Raises what reading raises, and SweepError where `plain` holds and the file needs pickle."""
    try:
        with safe_types():
            return load_tensors(path, plain=plain)
    except pickle.UnpicklingError as error:
        if not plain or not _is_intact(path):
            raise
        kind = (str(error).partition("GLOBAL ")[2].split() or ["a type"])[0]
        raise SweepError(
            f"{path}: holds {kind}, which pickle alone reads, and pickle can run code; where you trust the file, add "
            "`allow_imports: true` to the sweep, or give --allow-imports"
        ) from None


def _is_intact(path: Path) -> bool:
    """True if the file is as it was written, by its checksums."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def is_plain(only_tensors: bool) -> bool:
    """True if a checkpoint must be plain: one of ours always, any other unless the user allowed its classes."""
    return only_tensors or not may_import_foreign()


def read_last(last: Path, *, plain: bool) -> Mapping[str, Any]:
    """The content of a training's checkpoint; empty if there is none. One that is damaged is set aside."""
    try:
        checkpoint: Mapping[str, Any] = load_checkpoint(last, plain=plain)
        if missing := RESUMED - checkpoint.keys():
            raise LookupError(f"it lacks {', '.join(sorted(missing))}")
        return checkpoint
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        reason = reason_of(error)
        aside = set_aside(last).name
        say(f"{last} is damaged, or no checkpoint ({reason}): set aside as {aside}; training begins again")
        return {}
