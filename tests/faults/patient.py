"""One run that is hurt again and again: kills, full disks, damaged files, and what must hold after each."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from starts import (
    HURT,
    KILLED,
    NAN,
    REFUSED,
    Start,
    descendants,
    filled,
    has_own_mounts,
    start,
    started_for,
    temporary_of,
)

STAGES = ("profile", "train", "search", "export")
FILES = (  # of a run, relative to its folder
    "run.json", "study.db", "study.db.pending", "supernet.ckpt", "training/last.ckpt", "latency/*.json",
    "latency/*.journal", "sweep.yaml", "candidates.csv", "pareto/*/card.json",
)  # fmt: skip
BINARY = (".db", ".ckpt")  # cut, not flipped: nothing can tell a flipped weight or score
OF_RAY = {"Ray's worker": "ray::", "Ray's node": "raylet/raylet", "Ray's head": "gcs_server"}
LINGER_S = 120.0  # for the processes of a killed command to end


def evaluated(folder: Path) -> Counter[str]:
    """Keys of the complete trials on disk, read beside whoever writes."""
    query = (
        "select a.value_json from trial_user_attributes a join trials t using (trial_id) "
        "where a.key = 'key' and t.state = 'COMPLETE'"
    )
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{(folder / 'study.db').as_uri()}?mode=ro", uri=True)) as db:
        return Counter(json.loads(key) for (key,) in db.execute(query))
    return Counter()


def unfinished(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "study.db")) as db:
        return int(db.execute("select count(*) from trials where state in ('RUNNING', 'WAITING')").fetchone()[0])


def front(folder: Path) -> list[str]:
    with (folder / "pareto" / "front.csv").open(encoding="utf-8") as file:
        return sorted(row["key"] for row in csv.DictReader(file))


@dataclass
class Patient:
    """One run in a folder of its own, until it is done. `seconds`: of each of its stages, undisturbed."""

    sweep: Path
    engine: str
    is_own: bool  # a user-supplied module, which breaks where it is told to
    rng: random.Random
    seconds: dict[str, float]
    counts: Counter[str]
    noted: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        return self.sweep.parent / "runs" / self.sweep.stem

    def note(self) -> None:
        self.noted |= set(evaluated(self.folder))

    def dealt(self, hurt: str) -> None:
        self.counts[hurt] += 1
        print(f"  {time.strftime('%H:%M:%S')} {hurt}", flush=True)

    def hurt(self) -> bool:
        """Start the command and hurt it. Returns True where it came to its end all the same."""
        acts = [self.kill] * 7 + [self.fill] * 2 + ([self.break_down] * 5 if self.is_own else [])
        return self.rng.choice(acts)() == 0

    def hurt_between(self) -> None:
        """Hurt what is on disk, give the command once, and put back what it refuses."""
        self.note()
        self.rng.choice([self.turn_back_the_clock, self.damage, self.damage, self.damage, self.intrude])()

    def kill(self) -> int:
        """Kill the command, or a process of its Ray, in a random stage."""
        of_ray = list(OF_RAY) if self.engine != "local" else []
        who = self.rng.choice(["the driver", *of_ray])
        stage = "search" if who in OF_RAY else self.rng.choice(list(self.seconds))
        begun, targets = start(self.sweep), list[int]()
        self._wait_for(begun, stage)
        while who in OF_RAY and begun.runs and not targets:
            targets = descendants(begun.process.pid, OF_RAY[who])
            time.sleep(0.05)
        time.sleep(self.rng.uniform(0, self.seconds[stage]))
        number = self.rng.choice([signal.SIGKILL, signal.SIGTERM])
        if begun.runs:
            self.note()
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(targets) if targets else begun.process.pid, number)
                self.dealt(f"{signal.Signals(number).name} of {who}")
        if who in OF_RAY:
            return self.judge(begun, allowed=(0, 1, 2))  # 1: in Ray's words, where a search joins or leaves it
        late = begun.in_stage("export")  # its results may be printed already
        in_words = (128 + signal.SIGTERM, *((-signal.SIGTERM,) if late else ()))
        return self.judge(begun, allowed=(0, 2, *(in_words if number == signal.SIGTERM else (-number,))))

    def fill(self) -> int:
        """Fill the disk in a random stage."""
        if not has_own_mounts():
            self.dealt("no file may grow")
            return self.judge(start(self.sweep, limited=True), allowed=(0, 2))
        stage, begun = self.rng.choice(list(self.seconds)), start(self.sweep)
        self._wait_for(begun, stage)
        time.sleep(self.rng.uniform(0, self.seconds[stage]))
        with filled(self.folder.parent, self.rng):
            self.dealt("full disk")
            return self.judge(begun, allowed=(0, 2))

    def break_down(self) -> int:
        """Have one training break: its process is killed for its memory, is refused memory, or learns NaN."""
        hurt, how = (
            self.sweep.parent / HURT,
            self.rng.choice([KILLED, REFUSED, NAN]),
        )
        hurt.write_text(how)
        code = self.judge(start(self.sweep), allowed=(0, 2, -signal.SIGKILL))
        if hurt.exists():  # nothing was left to train
            hurt.unlink()
        else:
            self.dealt(f"a training that is {how}")
        return code

    def judge(self, begun: Start, allowed: Sequence[int]) -> int:
        """Wait for the end of a start, which must be one of these and in words."""
        code, said = begun.end()
        assert code in allowed and "Traceback" not in said, f"exit code {code}:\n{said[-3000:]}"
        words = [line for line in said.splitlines() if line.startswith("ffnet-search: ")]
        assert code != 2 or words, said[-3000:]
        assert code != 128 + signal.SIGTERM or "; to resume: ffnet-search run " in words[-1], said[-3000:]
        give_up = time.monotonic() + LINGER_S
        while (left := started_for(self.sweep)) and time.monotonic() < give_up:
            time.sleep(0.2)
        assert not left, f"exit code {code}, but these still run: {left}"
        return code

    def turn_back_the_clock(self) -> None:
        state = self.folder / "run.json"
        if state.exists():
            content = json.loads(state.read_text())
            for record in content["stages"].values():
                if record["finished"] and self.rng.random() < 0.5:
                    record["finished"] = "2099-01-01T00:00:00.000000+00:00"
            state.write_text(json.dumps(content))
            self.dealt("clock back")

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
        self.dealt(f"damaged {Path(pattern).name}")
        code = self.judge(start(self.sweep), allowed=(0, 2))
        unread = path.suffix in BINARY and path.exists() and path.read_bytes() == content
        if code == 2 or unread:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)

    def intrude(self) -> None:
        """Start the command twice: the second is refused, or comes after the first."""
        first = start(self.sweep)
        while first.runs and not any(first.in_stage(stage) for stage in STAGES):
            time.sleep(0.02)
        if first.runs:
            second = start(self.sweep)
            code, said = second.end()
            assert code in (0, 2) and "Traceback" not in said, f"exit code {code}:\n{said[-3000:]}"
            assert code == 2 or not first.runs
            self.dealt("second driver")
        self.judge(first, allowed=(0, 2))

    def recover(self) -> list[str]:
        """Give the command until it is done, unhurt. Returns the front."""
        code = self.judge(start(self.sweep), allowed=(0,))
        assert code == 0
        found = evaluated(self.folder)
        assert not self.noted - set(found), f"lost: {sorted(self.noted - set(found))}"
        assert not [key for key, times in found.items() if times > 1], f"doubled: {found}"
        assert not unfinished(self.folder)
        left = os.listdir(temporary_of(self.sweep))
        assert not left, f"left in the temporary folder: {left}"
        return front(self.folder)

    def failed(self) -> set[str]:
        """Keys of the trials that failed and were not evaluated since."""
        with (self.folder / "candidates.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {row["key"] for row in rows if row["state"] == "failed"} - set(evaluated(self.folder))

    def _wait_for(self, begun: Start, stage: str) -> None:
        while begun.runs and not begun.in_stage(stage):
            time.sleep(0.02)
