"""The files of ranks on other nodes: an actor on the head of a cluster, beside the run's folder.

Apart from `ray_train`, so that the actor loads no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ffnet_search.atomic_write import write_bytes


class TrainingStatus(NamedTuple):
    """The progress of the ranks in batches, the number of their starts, and the user error that one met, if any."""

    done: int = 0
    total: int = 0
    note: str = ""
    starts: int = 0
    user_error: str = ""


class CheckpointStore:
    """Reads and writes `paths` for the ranks; the first is the last checkpoint."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._last, self._paths = paths[0], {path.name: path for path in paths}
        self._status = TrainingStatus()

    def last_checkpoint(self) -> bytes | None:
        """The last checkpoint, for a rank that starts; None before the first one."""
        self._status = self._status._replace(starts=self._status.starts + 1)
        return self._last.read_bytes() if self._last.exists() else None

    def write(self, name: str, content: bytes) -> None:
        """Replace the file of that name."""
        write_bytes(self._paths[name], content)

    def update(self, **fields: Any) -> None:
        """Set fields of the status."""
        self._status = self._status._replace(**fields)

    def status(self) -> TrainingStatus:
        return self._status
