"""The files that tests of wrong files change, and the parts in which they read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from base_run import write_base
from entry_points import PARTS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a sweep, a space, a cluster's file, an exported run; a package whose import leaves MARK."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_base(folder)
    (folder / "evil").mkdir()
    for name in ("__init__.py", "nets.py"):
        (folder / "evil" / name).write_text(f"import pathlib; pathlib.Path({str(folder / 'MARK')!r}).touch()")
    os.mkfifo(folder / "pipe")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(params=range(1, PARTS + 1), ids="part{}".format)
def part(request: pytest.FixtureRequest) -> int:
    """The number of a part: each draws files of its own."""
    return int(request.param)
