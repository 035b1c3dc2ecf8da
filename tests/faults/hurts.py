"""Runs of the real command that are hurt at random moments, each given again until it is done.

    python tests/faults/hurts.py [--hurts 100] [--seed 0]

A hurt is a kill (-9 or SIGTERM) of the driver in a stage, or of a worker, the node or the head of Ray; a disk that is
full; or, between two starts, a clock that went back, a file of any kind that is cut or has flipped bits, a second
driver. Before each, the evaluated candidates on disk are noted. Afterwards none of them may be missing, doubled or left
running; each end is a success, the death that was dealt, or one sentence without a traceback; and since the search
evaluates its whole space on the supernet, the front at the end is that of an undisturbed run. A file that no command
can make again is put back, as its sentence asks.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SWEEP = {
    "search_space": {
        "input": {"channels": 1, "resolution": 8, "classes": 10},
        "stem": {"width": [8], "stride": [2]},
        "stages": [{"depth": [1, 2], "width": [8, 16], "token_kernel": 3, "expansion": [1, 2]}],
    },
    "data": {"name": "digits", "calibration": 64},
    "train": {"epochs": 2},
    "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0},
    "search": {"trials": 500, "objectives": ["accuracy", "params_m"], "sampler": {"class_path": "RandomSampler"}},
    "export": {"top": 2},
}
STAGES = ("profile", "train", "search", "export")
FILES = (  # of a run, relative to its folder
    "run.json", "study.db", "study.db.pending", "supernet.ckpt", "training/last.ckpt", "latency/*.json",
    "latency/*.journal", "sweep.yaml", "candidates.csv", "pareto/*/card.json",
)  # fmt: skip
BINARY = (".db", ".ckpt")  # cut, not flipped: nothing can tell a flipped weight or score
PATIENCE_S = 400.0  # for one start
FULL_BYTES = 20_000  # beyond which no file grows where the disk is full


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

    def in_stage(self, stage: str) -> bool:
        return any(line.startswith(f"{stage} (") for line in list(self.lines))

    def end(self) -> tuple[int, str]:
        code = self.process.wait(timeout=PATIENCE_S)
        self.reader.join(10)
        return code, "".join(self.lines)


def start(sweep: Path, *, full: bool = False) -> Start:
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (FULL_BYTES, FULL_BYTES)) if full else None
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "ffnet_search", "run", sweep.name], cwd=sweep.parent, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip
    return Start(process)


def evaluated(folder: Path) -> Counter[str]:
    """Keys of the complete trials on disk, read beside whoever writes."""
    query = (
        "select a.value_json from trial_user_attributes a join trials t using (trial_id) "
        "where a.key = 'key' and t.state = 'COMPLETE'"
    )
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{(folder / 'study.db').as_uri()}?mode=ro", uri=True)) as db:
        return Counter(key for (key,) in db.execute(query))
    return Counter()


def unfinished(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "study.db")) as db:
        return int(db.execute("select count(*) from trials where state in ('RUNNING', 'WAITING')").fetchone()[0])


def front(folder: Path) -> list[str]:
    with (folder / "pareto" / "front.csv").open(encoding="utf-8") as file:
        return sorted(row["key"] for row in csv.DictReader(file))


def descendants(pid: int, *names: str) -> list[int]:
    """Process ids below `pid` whose command line holds one of the names."""
    parents, titles = {}, {}
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            titles[int(process.name)] = (process / "cmdline").read_bytes().decode(errors="replace")
    below, grown = {pid}, 0
    while grown != len(below):
        grown = len(below)
        below |= {child for child, parent in parents.items() if parent in below}
    return sorted(one for one in below - {pid} if any(name in titles.get(one, "") for name in names))


@dataclass
class Patient:
    """One run in a folder of its own, until it is done."""

    sweep: Path
    rng: random.Random
    seconds: dict[str, float]  # of each stage, undisturbed
    counts: Counter[str]
    noted: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        return self.sweep.parent / "runs" / self.sweep.stem

    def note(self) -> None:
        self.noted |= set(evaluated(self.folder))

    def check(self) -> None:
        found = evaluated(self.folder)
        assert not self.noted - set(found), f"lost: {sorted(self.noted - set(found))}"
        assert not [key for key, times in found.items() if times > 1], f"doubled: {found}"

    def kill(self) -> int:
        """Start the command, and kill it or a process of its Ray in a random stage. Returns the exit code."""
        begun, stage = start(self.sweep), self.rng.choice(STAGES)
        while begun.process.poll() is None and not begun.in_stage(stage):
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0, self.seconds[stage]))
        who = self.rng.choice(["driver", "driver", "Ray's worker", "Ray's node", "Ray's head"])
        names = {"Ray's worker": "ray::", "Ray's node": "raylet/raylet", "Ray's head": "gcs_server"}
        targets = descendants(begun.process.pid, names[who]) if who in names else []
        number = self.rng.choice([signal.SIGKILL, signal.SIGTERM])
        if begun.process.poll() is None:
            self.note()
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(targets) if targets else begun.process.pid, number)
                self.counts[f"{signal.Signals(number).name} of {who if targets else 'the driver'}"] += 1
        return self.judge(begun, allowed=(0, 2, -signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM, 130))

    def fill(self) -> int:
        begun = start(self.sweep, full=True)
        self.counts["full disk"] += 1
        return self.judge(begun, allowed=(0, 2))

    def judge(self, begun: Start, allowed: tuple[int, ...]) -> int:
        code, said = begun.end()
        assert code in allowed and "Traceback" not in said, f"exit code {code}:\n{said[-3000:]}"
        return code

    def between(self) -> None:
        """Hurt what is on disk, give the command once, and put back what it refuses."""
        self.note()
        act = self.rng.choice([self.turn_back_the_clock, self.damage, self.damage, self.damage, self.intrude])
        act()

    def turn_back_the_clock(self) -> None:
        state = self.folder / "run.json"
        if state.exists():
            content = json.loads(state.read_text())
            for record in content["stages"].values():
                if record["finished"] and self.rng.random() < 0.5:
                    record["finished"] = "2099-01-01T00:00:00.000000+00:00"
            state.write_text(json.dumps(content))
            self.counts["clock back"] += 1

    def damage(self) -> None:
        pattern = self.rng.choice(FILES)
        paths = sorted(self.folder.glob(pattern))
        if not paths:
            return
        path = self.rng.choice(paths)
        whole = path.read_bytes()
        content = bytearray(whole)
        if path.suffix in BINARY or self.rng.random() < 0.5:
            del content[self.rng.randrange(len(whole)) :]
        else:
            for _ in range(3):
                content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
        path.write_bytes(content)
        self.counts[f"damaged {Path(pattern).name}"] += 1
        if self.judge(start(self.sweep), allowed=(0, 2)) == 2:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)

    def intrude(self) -> None:
        first = start(self.sweep)
        while first.process.poll() is None and not any(first.in_stage(stage) for stage in STAGES):
            time.sleep(0.02)
        if first.process.poll() is None:
            code = self.judge(start(self.sweep), allowed=(0, 2))
            assert code == 2 or first.process.poll() is not None
            self.counts["second driver"] += 1
        self.judge(first, allowed=(0, 2))


def undisturbed(folder: Path) -> tuple[list[str], dict[str, float]]:
    """The front of a run that nothing hurts, and the seconds of its stages."""
    sweep = folder / "whole.yaml"
    sweep.write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
    begun, times = start(sweep), {}
    for stage in STAGES:
        while begun.process.poll() is None and not begun.in_stage(stage):
            time.sleep(0.02)
        times[stage] = time.monotonic()
    code, said = begun.end()
    assert code == 0, said
    ends = [*times.values(), time.monotonic()]
    return front(folder / "runs" / "whole"), {stage: ends[at + 1] - ends[at] for at, stage in enumerate(STAGES)}


def suffer(folder: Path, seed: int, seconds: dict[str, float], counts: Counter[str], most: int) -> list[str]:
    """One run, hurt at most `most` times, to its end. Returns its front."""
    rng = random.Random(seed)
    engine = rng.choice(["local", "local", "ray"])
    sweep = folder / f"seed{seed}.yaml"
    content = {**SWEEP, "search": {**SWEEP["search"], "engine": engine}}  # type: ignore[dict-item]
    sweep.write_text(yaml.safe_dump(content), encoding="utf-8")
    patient, enough = Patient(sweep, rng, seconds, counts), counts.total() + most
    while counts.total() < enough:
        if patient.fill() == 0 if rng.random() < 0.1 else patient.kill() == 0:
            break
        if rng.random() < 0.7:
            patient.between()
    code = patient.judge(start(sweep), allowed=(0,))
    assert code == 0
    patient.check()
    assert not unfinished(patient.folder)
    return front(patient.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hurts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"at least {options.hurts} hurts, {machine}", flush=True)
    counts: Counter[str] = Counter()
    folder, seed = Path(tempfile.mkdtemp(prefix="hurts-")), options.seed
    expected, seconds = undisturbed(folder)
    while counts.total() < options.hurts:
        before = counts.total()
        found = suffer(folder, seed, seconds, counts, most=8)
        assert found == expected, f"seed {seed}: the front is {found}, but undisturbed {expected}; see {folder}"
        print(f"seed {seed}: {counts.total() - before} hurts, the undisturbed front of {len(found)}", flush=True)
        seed += 1
    for what, times in sorted(counts.items()):
        print(f"{times:>5}  {what}")
    print(f"{counts.total():>5}  hurts; nothing lost, doubled or left running")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
