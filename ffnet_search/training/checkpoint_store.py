"""The keeper of what ranks on other nodes make: an actor on the head, where the run's folder is.

Apart from training, so that it loads no PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class TrainingStatus(NamedTuple):
    """How far the ranks are: batches. `starts`: how often they began; `mistake`: the user's, where they met one."""

    done: int = 0
    total: int = 0
    note: str = ""
    starts: int = 0
    mistake: str = ""


class CheckpointStore:
    """Of `paths`, the first one of which is the last checkpoint."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._last, self._paths = paths[0], {path.name: path for path in paths}
        self._news = TrainingStatus()

    def last(self) -> bytes | None:
        path = self._last
        self._news = self._news._replace(starts=self._news.starts + 1)
        return path.read_bytes() if path.exists() else None

    def keep(self, name: str, content: bytes) -> None:
        path = self._paths[name]
        scratch = path.with_suffix(".new")
        scratch.write_bytes(content)
        os.replace(scratch, path)

    def tell(self, **news: Any) -> None:
        self._news = self._news._replace(**news)

    def news(self) -> TrainingStatus:
        return self._news
