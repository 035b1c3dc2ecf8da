"""Files are replaced whole: their content is on the disk before it has the name."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ffnet_search import atomic_write
from ffnet_search.errors import SweepError

ROOT = Path(__file__).parents[1]


def test_content_is_on_the_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a file that was renamed, and never synchronised, may be there and empty."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synchronised(file: int) -> None:
        events.append(f"disk {os.fstat(file).st_ino}")
        fsync(file)

    def replaced(source: Path, target: Path) -> None:
        events.append(f"name {os.stat(source).st_ino}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synchronised)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "a.json"
    atomic_write.write_json(path, {"a": 1})
    inode = path.stat().st_ino
    assert events == [f"disk {inode}", f"name {inode}"]


@pytest.mark.parametrize("number", atomic_write.NO_SYNC)
def test_a_file_system_without_such_a_call_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(number))
    atomic_write.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC, errno.EIO])
def test_a_disk_that_is_full_only_when_it_writes_out_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A network file system takes what it has no room for, and says so here."""
    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(SweepError, match=f"a: cannot be written: {os.strerror(number)}; see to it"):
        atomic_write.write_text(tmp_path / "a", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def refusing(number: int) -> object:
    def fsync(file: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from ffnet_search.atomic_write import replacing
from ffnet_search.errors import SweepError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
try:
    with replacing(Path("a.ckpt")) as scratch:
        torch.save({"a": torch.ones(100_000)}, scratch)
except SweepError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [0, 100, 20_000])
def test_weights_that_a_limit_refuses_are_one_sentence(tmp_path: Path, most: int) -> None:
    """A quota or a limit of files: the disk itself has room, and PyTorch's stream has words of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", LIMITED, str(most)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.startswith("a.ckpt: cannot be written: "), done.stderr
    assert not os.listdir(tmp_path)
