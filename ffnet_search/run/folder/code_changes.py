"""The source files of user-supplied classes in the record of a stage: an edit invalidates nothing, and is named.

A comment is an edit too, and a training takes hours, so it is the user who decides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.sweep import Sweep
from ffnet_search.files.digest import sha256_of
from ffnet_search.formatting import first_few, listed
from ffnet_search.run.folder.run_folder import Records, read_records

DIGITS = 16


def code_of(sweep: Sweep) -> dict[str, str]:
    """File -> digest of the modules and packages that hold the classes of a sweep, and of their imports; without what
    is installed. Imports nothing."""
    sources = user_code(sweep.model_dump(mode="json"))
    return {path.relative_to(source.parent).as_posix(): _digest(path) for source in sources for path in _files(source)}


def _files(source: Path) -> Iterator[Path]:
    found = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    return (path for path in found if path.is_file())


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)[:DIGITS]
    except OSError:
        return ""


def changed_code(sweep: Sweep, records: Records, stages: Collection[str]) -> str:
    """A sentence on the code that was edited since `stages` began; empty if none was, or it is unknown."""
    made = {name: record.code for name, record in records.items() if name in stages and record.code}
    now = code_of(sweep) if made else {}
    changed = {name: _changed(before, now) for name, before in made.items()}
    since = [name for name, files in changed.items() if files]
    if not since:
        return ""
    files = sorted({file for some in changed.values() for file in some})
    return (
        f"{first_few(files)} {'has' if len(files) == 1 else 'have'} changed since {listed(since)} began, and what is "
        "made stays; to make all with the new code, take another name with --name"
    )


def code_note(sweep: Sweep, stages: Collection[str]) -> str:
    """The sentence of `changed_code` on the run of a sweep, as `check` says it."""
    return changed_code(sweep, read_records(sweep.files), stages)


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {file for file in {**before, **now} if before.get(file) != now.get(file)}
