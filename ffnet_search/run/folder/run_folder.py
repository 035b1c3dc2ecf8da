"""A run's folder: a record of the inputs of each stage, and what was made from other ones set aside.

`run.json` is the only state. It is replaced whole, so a kill leaves the old record or the new one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ffnet_search.atomic_write import write_json, write_text
from ffnet_search.config.commands import WORDS, recorded_words, words_of
from ffnet_search.config.files import RunPaths, refuse_foreign
from ffnet_search.config.resolved import resolved_text
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, io_reason, shown
from ffnet_search.files.bounded import must_be_date, read_json
from ffnet_search.files.temporary import scratch_in
from ffnet_search.provenance import now
from ffnet_search.run.folder.lock import alone_in
from ffnet_search.run.folder.remote_copy import RemoteCopy, remote_copy

FORMAT = 2
EPOCHS = "epochs"  # an amount: of a training whose time was over before those of the sweep


@dataclass(frozen=True)
class StageRecord:
    """The inputs of a stage's output. `finished`: ISO 8601 in UTC, empty while it runs or after an interruption.

    `number`: the place of the output among all that the folder's stages have made, 1, 2, ...; clocks may go back.
    `code`: file -> digest of user-supplied code when it began; see `code_changes`."""

    digest: str
    inputs: Mapping[str, Any]
    amounts: Mapping[str, int] = field(default_factory=dict)
    finished: str = ""
    number: int = 0
    code: Mapping[str, str] = field(default_factory=dict)


Records = Mapping[str, StageRecord]  # by the stage's name


class RunFolder:
    """The folder of one run and its records; made by `open_run`, which holds its lock."""

    def __init__(self, files: RunPaths, remote: RemoteCopy | None = None) -> None:
        self.files, self.remote, self.path = files, remote, files.folder
        self.records: Records = read_records(files)
        self.words = recorded_words(files)
        self._was_locked = files.lock.exists()

    def write(self, stage: str, record: StageRecord) -> None:
        """Set the record of `stage`, and send it to the remote copy. Raises SweepError if the folder is another one by
        now: what follows would be of half a run."""
        if self._was_locked and not self.files.lock.exists():
            raise SweepError(
                f"{self.path}: was moved or deleted while this command worked in it; remove what is there now, move "
                "the folder back if there is one, and give the same command again"
            )
        self.write_records({**self.records, stage: record})
        if self.remote is not None:
            self.remote.send()

    def begin(self, stage: str, record: StageRecord) -> None:
        """Note that `stage` runs: nothing of its old output counts but its number, which the next one exceeds."""
        before = self.records.get(stage, record)
        self.write(stage, replace(record, number=before.number))

    def finish(self, stage: str, made: Mapping[str, int] | None = None) -> None:
        """Note that `stage` has ended, after all others, and how much it `made` where that is less than its inputs
        say."""
        number, record = 1 + max(record.number for record in self.records.values()), self.records[stage]
        self.write(stage, replace(record, finished=now(), number=number, amounts={**record.amounts, **(made or {})}))

    def write_sweep(self, sweep: Sweep) -> None:
        """Write a copy of the sweep, its search space included, that `Sweep.from_yaml` reads.

        Its paths are absolute, for they would be relative to the copy; `runs` stays as it is. The next record keeps the
        words of the command line that the sweep came from."""
        words = words_of(sweep)
        if words != [str(self.path)]:
            self.words = words
        write_text(self.files.sweep, resolved_text(sweep))

    def set_aside(self, stale: Mapping[str, list[Path]]) -> Path:
        """Move the files of `stale` stages and their records to `previous-DATE`, and return that folder: no result is
        lost."""
        aside = self.files.previous()
        aside.mkdir()
        old = {stage: record for stage, record in self.records.items() if stage in stale}
        write_json(aside / self.files.state.name, _plain(old))
        if self.files.sweep.exists():
            shutil.copy2(self.files.sweep, aside)
        for paths in stale.values():
            for path in paths:
                os.replace(path, aside / path.name)
        self.write_records({stage: record for stage, record in self.records.items() if stage not in stale})
        return aside

    def write_records(self, records: Records) -> None:
        """Replace the records; also without any, they mark the folder as one of a run."""
        write_json(self.files.state, _plain(records) | {WORDS: self.words})
        self.records = records


@contextmanager
def open_run(sweep: Sweep) -> Iterator[RunFolder]:
    """Create the run's folder where it is missing, and lock it until the context ends.

    Raises SweepError if another process works in it, if it holds files that are not of a run, or if it cannot
    be written."""
    files = sweep.files
    refuse_foreign(files)
    _refuse_odd(files)
    with alone_in(sweep), scratch_in(files.scratch), remote_copy(files, sweep.remote_runs) as remote:
        yield RunFolder(files, remote)


def read_records(files: RunPaths) -> Records:
    """The records of a run; empty if none exists. Raises SweepError for one that cannot be read."""
    path = files.state
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {shown(content['format'])}")
        return {stage: _record(record) for stage, record in content["stages"].items()}
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise SweepError(
            f"{files.folder}: must be a folder or new, but it, or a part of it, is a file; set `runs` "
            "in the sweep, or take another name with --name"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SweepError(
            f"{path}: must be the record of a run of this version, but cannot be read as one ({error}); the results "
            "beside it are whole: move the folder away, or take another name with --name"
        ) from None


def _record(content: Mapping[str, Any]) -> StageRecord:
    record = StageRecord(**content)
    kinds = {"digest": str, "inputs": dict, "amounts": dict, "finished": str, "number": int, "code": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(record, name), kind)]
    if wrong or not all(isinstance(amount, int) for amount in record.amounts.values()):
        raise ValueError(f"{', '.join(wrong) or 'amounts'} of another type")
    if min(record.number, *record.amounts.values(), 0) < 0:
        raise ValueError("number and amounts must be at least 0")
    if record.finished:
        must_be_date(record.finished)
    return record


def _refuse_odd(files: RunPaths) -> None:
    """Raise SweepError for a file of a run that is a folder, a device, a pipe or a socket, a folder that is none, and a
    link that leads nowhere: before hours are spent on what could then not be read or written."""
    for path in files.all():
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if not path.is_symlink():
                continue  # it is made later, or cannot be, as is said then
            raise SweepError(f"{path}: is a link that leads nowhere ({io_reason(error)}); remove it") from None
        if stat.S_ISDIR(mode) != (path in files.folders) or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            kind = "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a device, pipe or socket"
            wanted = "a folder" if path in files.folders else "a file"
            raise SweepError(f"{path}: must be {wanted}, but is {kind}; move it away")


def _plain(records: Records) -> dict[str, Any]:
    return {"format": FORMAT, "stages": {stage: asdict(record) for stage, record in records.items()}}
