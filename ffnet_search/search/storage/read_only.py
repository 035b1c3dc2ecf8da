"""The study of a run that cannot be written. SQLite writes beside what it reads, so a copy of the file is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ffnet_search.errors import SweepError, io_reason
from ffnet_search.files.temporary import scratch_folder


@contextmanager
def readable_study(study: Path) -> Iterator[Path]:
    """The study itself, or a copy until the block ends where it or its folder cannot be written. Raises SweepError if
    it cannot be read."""
    if not study.is_file() or (os.access(study, os.W_OK) and os.access(study.parent, os.W_OK)):
        yield study
        return
    with scratch_folder() as folder:
        try:
            for path in (study.with_name(f"{study.name}-wal"), study):  # the log of a search that runs or was killed
                if path.exists():
                    shutil.copyfile(path, Path(folder, path.name))
        except OSError as error:
            raise SweepError(f"{study}: cannot be read: {io_reason(error)}") from None
        yield Path(folder, study.name)
