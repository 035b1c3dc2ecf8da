"""Starts of the real command, the processes below one, and a disk of its own that can be filled."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_S = 1800.0  # for one start, on a machine that does other work too
FULL_BYTES = 20_000  # beyond which no file grows, where there is no disk of its own to fill
DISK = "size=256m"
ROOM_BYTES = 100_000  # at most, on a disk that is full
NAMESPACE = "HURTS_NAMESPACE"  # set in the process that has mounts of its own
HURT = Path("hurt")  # beside the sweep: how the next training of `breaking:Net` breaks, once
KILLED, REFUSED, NAN = "killed for its memory", "refused memory", "not a number"
MARK = "HURTS_FOLDER"  # set in every process of a start


@dataclass
class Start:
    """One start of the command, and what it has printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def in_stage(self, stage: str) -> bool:
        return any(line.startswith(f"{stage} (") for line in list(self.lines))

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code, and all that was printed to standard error."""
        code = self.process.wait(timeout=PATIENCE_S)
        self.reader.join(10)  # processes that outlive the command hold its standard error
        return code, "".join(self.lines)


def start(sweep: Path, *, limited: bool = False) -> Start:
    """Start `run` of a sweep in its folder. `limited`: no file may grow, which stands for a full disk."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (FULL_BYTES, FULL_BYTES)) if limited else None
    paths = os.pathsep.join([str(ROOT), str(HERE)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, MARK: str(sweep.parent / sweep.stem)}
    environment["TMPDIR"] = str(temporary_of(sweep))
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "ffnet_search", "run", sweep.name], cwd=sweep.parent, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip
    return Start(process)


def temporary_of(sweep: Path) -> Path:
    """The temporary folder of the starts of a sweep, whose path is short enough for sockets."""
    folder = Path("/tmp") / f"{sweep.parent.name[-8:]}-{sweep.stem[-6:]}"
    folder.mkdir(exist_ok=True)
    return folder


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def descendants(pid: int, name: str) -> list[int]:
    """Ids of the processes below `pid` whose command line holds the name."""
    parents, titles = {}, {}
    for process in _processes():
        with suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            titles[int(process.name)] = (process / "cmdline").read_bytes().decode(errors="replace")
    below, grown = {pid}, 0
    while grown != len(below):
        grown = len(below)
        below |= {child for child, parent in parents.items() if parent in below}
    return sorted(one for one in below - {pid} if name in titles.get(one, ""))


def started_for(sweep: Path) -> dict[int, str]:
    """The processes of all starts of a sweep that live: ids and command lines."""
    wanted, found = f"{MARK}={sweep.parent / sweep.stem}".encode(), {}
    for process in _processes():
        with suppress(OSError):
            is_dead = (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            if not is_dead and wanted in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def with_own_mounts() -> None:
    """Run this program again, in a namespace where it may mount disks that end with it; return where that is done, or
    not allowed."""
    if NAMESPACE in os.environ or os.geteuid() or not shutil.which("unshare"):
        return
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0:
        os.environ[NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def has_own_mounts() -> bool:
    return NAMESPACE in os.environ


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Mount a small file system at `folder` until the block ends, where that is allowed."""
    folder.mkdir(parents=True)
    if has_own_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        if has_own_mounts():
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(folder: Path, rng: random.Random) -> Iterator[None]:
    """Fill the disk of `folder` but for a little, until the block ends."""
    fill = folder / "fill"
    try:
        with suppress(OSError), fill.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        os.truncate(fill, max(0, fill.stat().st_size - rng.randrange(ROOM_BYTES)))
        yield
    finally:
        fill.unlink(missing_ok=True)
