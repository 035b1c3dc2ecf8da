"""Searches on engine "ray" whose workers and drivers are killed at random, each started again until it is done.

    python benchmarks/faults.py [--seeds 20] [--candidates 60]

Afterwards, of each: `lost`, candidates that were in the study once and are not at the end; `doubled`, architectures
that are in it twice; `running`, trials that nobody finished; `again`, evaluations beyond one each, which only those
under way at a kill may cost.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from search_throughput import MacsAsLatency, search

from ffnet_search.cluster.session import start_here
from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.evaluation.outcome import Evaluate, Report
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.problem import SearchProblem
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
PATIENCE_S = 120.0  # for one start of the driver


class Tally(NamedTuple):
    """What became of one search. `kills`: of drivers, of workers."""

    drivers: int
    workers: int
    lost: int
    doubled: int
    running: int
    again: int
    complete: int


def logged(log: Path) -> Evaluate:
    """An evaluator that takes some time and notes what it has done."""

    def evaluate(configuration: Configuration, report: Report) -> Candidate:
        time.sleep(0.05)
        with log.open("a") as file:
            file.write(f"{configuration.key}\n")
        accuracy = int(hashlib.sha256(configuration.key.encode()).hexdigest()[:8], 16) / 2**32
        return Candidate(configuration.architecture, {"accuracy": accuracy})

    return evaluate


def drive(folder: Path, candidates: int) -> None:
    """The process that is killed: one search, from wherever it was."""
    sampler = SamplerSection(class_path="RandomSampler", init_args={})
    section = SearchSection(engine="ray", trials=candidates, workers=WORKERS, sampler=sampler)
    space = SearchSpace.from_yaml(ROOT / "search_spaces" / "ffnet_digits.yaml")
    search(SearchProblem(space, section, CostModel(MacsAsLatency())), partial(logged, folder / "log"), folder)


def suffer(folder: Path, seed: int, candidates: int) -> Tally:
    """One search, killed at random until it ends; RAY_ADDRESS names the Ray that it runs on."""
    rng, kills, seen = random.Random(seed), Counter[str](), set[str]()
    while True:
        command = [sys.executable, __file__, "--drive", str(folder), "--candidates", str(candidates)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        known, deadline = len(evaluated(folder)), time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.05, 0.6))
            if len(evaluated(folder)) == known:
                continue  # it has not begun
            seen |= set(in_study(folder)["key"])
            if kills.total() < 6 and rng.random() < 0.5:
                what = rng.choice(["drivers", "workers"])
                kills[what] += kill_one(what, process.pid)
        stderr = process.communicate()[1].decode()
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(stderr)
    found, done = in_study(folder), Counter(evaluated(folder))
    states = Counter(found["state"])
    return Tally(
        drivers=kills["drivers"],
        workers=kills["workers"],
        lost=len(seen - set(found["key"])),
        doubled=len(found["key"]) - len(set(found["key"])),
        running=states["RUNNING"] + states["WAITING"],
        again=done.total() - len(done),
        complete=states["COMPLETE"],
    )


def kill_one(what: str, driver: int) -> int:
    """Kills the driver, or a worker that evaluates for it. Returns how many it killed."""
    pids = [driver] if what == "drivers" else workers_at_work()
    if pids:
        os.kill(pids[0], signal.SIGKILL)
    return len(pids[:1])


def workers_at_work() -> list[int]:
    """Process ids of the actors of our Ray that evaluate."""
    found = []
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            title = (process / "cmdline").read_bytes()
            parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if title.startswith(b"ray::Worker.") and os.environ["RAY_ADDRESS"] in _command(parent):
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return sorted(found)


def _command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def evaluated(folder: Path) -> list[str]:
    """Keys, as often as they were evaluated."""
    log = folder / "log"
    return log.read_text().split() if log.exists() else []


def in_study(folder: Path) -> dict[str, list[str]]:
    """`key` and `state` of the trials on disk, read beside whoever writes."""
    with closing(sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True, timeout=30)) as connection:
        keys = connection.execute("select value_json from trial_user_attributes where key = 'key'").fetchall()
        states = connection.execute("select state from trials").fetchall()
    return {"key": [key for (key,) in keys], "state": [state for (state,) in states]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=60)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive, options.candidates)
        return
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.seeds} searches of {options.candidates} candidates, {WORKERS} workers, {machine}")
    print(f"{'seed':>4}" + "".join(f"{name:>10}" for name in Tally._fields))
    ray = start_here(num_cpus=WORKERS)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    tallies = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(suffer(Path(folder), seed, options.candidates))
        print(f"{seed:>4}" + "".join(f"{value:>10}" for value in tallies[-1]), flush=True)
    print(f"{'all':>4}" + "".join(f"{sum(column):>10}" for column in zip(*tallies, strict=True)))
    ray.shutdown()


if __name__ == "__main__":
    main()
