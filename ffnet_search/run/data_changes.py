"""The images of a run as inputs of its stages: a change of the images invalidates their results.

Listing a large folder takes time, so a command lists it once for each stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ffnet_search.config.inputs import digest
from ffnet_search.config.resolved import left_out
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.audit import audit_data
from ffnet_search.data.registry import data_contents, data_remarks
from ffnet_search.data.unreadable import refuse_unreadable
from ffnet_search.errors import error_context
from ffnet_search.progress import say
from ffnet_search.run.folder.changes import Change, differences
from ffnet_search.run.folder.run_folder import StageRecord

IMAGES = "images"  # the key of the inputs; left out where the data cannot be listed
MAX_NAMED_CLASSES = 3  # classes whose change is stated; of the others their number

Known = dict[str, dict[str, Any]]
_KNOWN: ContextVar[Known | None] = ContextVar("listed images", default=None)


@contextmanager
def listed_once() -> Iterator[None]:
    """List the images of a sweep once within the block, or again after `list_again`."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def list_again() -> None:
    """Forget the listing: before a stage, the images may have changed since the command began."""
    known = _KNOWN.get()
    if known is not None:
        known.clear()


def images_of(sweep: Sweep) -> dict[str, Any]:
    """The images as inputs of a stage: split -> class -> files; empty if they cannot be listed."""
    if not sweep.search_space.has_network:
        return {}
    known = _KNOWN.get()
    key = sweep.data.model_dump_json()
    if known is not None and key in known:
        return known[key]
    contents = data_contents(sweep.data, sweep.search_space.images)
    inputs: dict[str, Any] = {IMAGES: contents} if contents else {}
    if known is not None:
        known[key] = inputs
    return inputs


def say_remarks(sweep: Sweep) -> None:
    """Print what is left out of the images, and which folder is which split."""
    if sweep.search_space.has_network:
        for remark in data_remarks(sweep.data, sweep.search_space.images):
            say(f"data: {remark}")


def say_audit(sweep: Sweep) -> None:
    """Open every image, and print the findings. Raises SweepError for unreadable images that would end a run."""
    if not sweep.search_space.has_network:  # data of a user-supplied module
        return
    with error_context(sweep.path):
        audit = audit_data(sweep.data, sweep.seed, sweep.search_space.images)
        for line in audit.lines if audit.images else ():
            say(f"data: {line}")
        if sweep.data.unreadable == "refuse":
            refuse_unreadable(audit.unreadable)


def changes_of(record: StageRecord, inputs: Mapping[str, Any]) -> tuple[Change, ...] | None:
    """The inputs that differ from those of a record; None if they are the same.

    Images that could not be listed, then or now, count as unchanged: the data may be on another machine."""
    if (IMAGES in record.inputs) == (IMAGES in inputs):
        if record.digest == digest(inputs):
            return None
        return tuple(differences(record.inputs, inputs))
    before, now = ({key: value for key, value in one.items() if key != IMAGES} for one in (record.inputs, inputs))
    return None if digest(before) == digest(now) else tuple(differences(before, now))


def new_defaults(changes: Iterable[Change], sweep: Sweep) -> set[str]:
    """The fields that the sweep's file leaves out, and whose defaults are other values than before: those of another
    version, unless the user removed the field."""
    changed = [change.field for change in changes if change.old is not None and change.new is not None]
    return left_out(sweep, changed) if changed else set()


def change_words(changes: Iterable[Change], sweep: Sweep) -> list[str]:
    """Each change in words: `train.epochs (30 -> 4)`, or `train.optimizer (adamw -> muon, the default)`."""
    changes = list(changes)
    defaults = new_defaults(changes, sweep)
    return [change.words(", the default" if change.field in defaults else "") for change in changes]


def describe_changes(changes: Iterable[Change], sweep: Sweep) -> str:
    """The changes in words, those of images as one: "seed (0 -> 1) has changed", to a default if all are such."""
    unique = {change.field: change for change in changes}
    images = [change for field, change in unique.items() if field.partition(".")[0] == IMAGES]
    others = [change for change in unique.values() if change not in images]
    are_defaults = new_defaults(others, sweep) == set(unique)
    words = [str(change) for change in others] if are_defaults else change_words(others, sweep)
    if images:
        named = [
            f"{change.field.removeprefix(f'{IMAGES}.')}: {change.old} -> {change.new}"
            for change in images[:MAX_NAMED_CLASSES]
        ]
        more = f" and {len(images) - MAX_NAMED_CLASSES} more" if len(images) > MAX_NAMED_CLASSES else ""
        words.append(f"the content of data.path ({'; '.join(named)}{more})")
    plural = "" if len(words) == 1 else "s"
    why = f" to the default{plural} of this version" if are_defaults else ""
    return f"{', '.join(words)} {'have' if plural else 'has'} changed{why}"


def old_values(changes: Iterable[Change], sweep: Sweep) -> str:
    """The end of a sentence on changes: that the old values of fields may be written, if the defaults alone have
    changed; else empty."""
    fields = {change.field for change in changes}
    if new_defaults(changes, sweep) != fields:
        return ""
    return f", or write the old value{'' if len(fields) == 1 else 's'} in the sweep to continue"
