"""One run of 20,000 candidates on a cluster that loses a node every simulated hour, as the driver sees it.

    python benchmarks/long_run.py [--candidates 20000] [--hours 48] [--sampler ParetoSampler] [--folder FOLDER]

The nodes are real processes of Ray on this machine, and each loss kills one; training, latency, export, report and
dashboard are real too. An evaluation is simulated: it costs nothing, and more MACs are better, with noise; an hour is
so many candidates as make `--hours` in all. `propose` are ms per proposal since the row before: median, mean, 99th
percentile; `CPU` is the mean of the time on a core; MB are those of the driver. In the same folder the same command
resumes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from long_study import resident_mb, saturating
from search_throughput import SAMPLERS

from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.ray_pool import RayPoolEngine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Ended, Evaluate
from ffnet_search.formatting import figure
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.search import optimizer
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.hyperparameters import Configuration

ROOT = Path(__file__).resolve().parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
TRIES = 5  # to start a node
NODES = 2  # beside the head, which evaluates nothing


def invented() -> Evaluate:
    """The evaluator, as workers make it."""
    return saturating


class Simulated(RayPoolEngine):
    """Engine "ray", whose evaluations cost nothing."""

    def __init__(self, context: EngineContext) -> None:
        super().__init__(replace(context, make_evaluate=invented))


class Driver(Optimizer):
    """Prints a row every so often, and kills a node every hour."""

    every, hour = 1000, 417
    cluster: Any = None
    lost = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked_ms: list[float] = []
        self.cpu_s = 0.0

    def ask(self) -> Configuration | None:
        start, cpu = time.perf_counter(), time.thread_time()
        try:
            return super().ask()
        finally:
            self.cpu_s += time.thread_time() - cpu
            self.asked_ms.append(1e3 * (time.perf_counter() - start))

    def tell(self, configuration: Configuration, outcome: Ended) -> TrialRecord:
        record = super().tell(configuration, outcome)
        told = self.archive.finished
        if told % self.hour == 0:
            self.cluster.remove_node(self.cluster.list_all_nodes()[1], allow_graceful=False)
            add_node(self.cluster)
            type(self).lost += 1
        if told % self.every == 0:
            ms, cpu_s, self.asked_ms, self.cpu_s = sorted(self.asked_ms) or [0.0], self.cpu_s, [], 0.0
            figures = (statistics.median(ms), statistics.mean(ms), ms[int(0.99 * len(ms))], 1e3 * cpu_s / len(ms))
            row = "".join(f"{figure(one):>10}" for one in figures)
            print(f"{told:>10}{self.lost:>8}{row}{resident_mb():>8.0f}", flush=True)
        return record


def add_node(cluster: Any) -> None:
    """Add a node, which may take several tries on a busy machine. Raises what the last of them raised."""
    for _ in range(TRIES - 1):
        with suppress(Exception):  # of Ray, without a class of its own
            cluster.add_node(**NODE)
            return
    cluster.add_node(**NODE)


@contextmanager
def cluster() -> Iterator[Any]:
    """Nodes on this machine; RAY_ADDRESS names them until the end of the block."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = made.address
    try:
        for _ in range(NODES):
            add_node(made)
        made.wait_for_nodes()
        yield made
    finally:
        os.environ.pop("RAY_ADDRESS")
        made.shutdown()


def sweep_in(folder: Path, candidates: int, sampler: str) -> Sweep:
    content = {
        "search_space": str(ROOT / "search_spaces" / "ffnet_digits.yaml"),
        "data": {"name": "digits", "batch_size": 64},
        "train": {"epochs": 2},
        "latency": {"noisy": True, "rounds": 3, "min_within_10": 0.0},
        "search": {
            "trials": candidates, "engine": "long_run:Simulated",
            "sampler": {"class_path": sampler, "init_args": SAMPLERS[sampler]},
        },
        "export": {"top": 2, "retrain": {"epochs": 0}},
        "report": {"yardstick": False},
        "runs": str(folder / "runs"),
        "name": "long",
        "allow_imports": True,
    }  # fmt: skip
    path = folder / "long.yaml"
    path.write_text(yaml.safe_dump(content))
    return Sweep.from_yaml(path)


def open_pages(sweep: Sweep) -> None:
    """Print what the dashboard and the report cost. Raises where one does not open."""
    start = time.monotonic()
    command = [sys.executable, "-m", "ffnet_search", "dashboard", str(sweep.files.folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0].rstrip("/")
        begun = time.monotonic() - start
        with urllib.request.urlopen(f"{address.partition('/dashboard')[0]}/api/studies", timeout=300) as answer:
            answer.read()
        print(f"dashboard: address after {begun:.1f} s, studies after {time.monotonic() - start:.1f} s")
    finally:
        server.send_signal(2)
        server.wait(600)
    report = sweep.files.report
    print(f"report: {report.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=20_000)
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--sampler", choices=SAMPLERS, default="ParetoSampler")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="long-run-"))
    folder.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.candidates} candidates in {options.hours} hours, {options.sampler}, {machine}; ms, MB; {folder}")
    with foreign_imports(ForeignImports.ALLOWED):
        sweep = sweep_in(folder, options.candidates, options.sampler)
        run_sweep(sweep, stages=("profile", "train"))
        Driver.every, Driver.hour = max(1, options.candidates // 20), max(1, options.candidates // options.hours)
        optimizer.Optimizer = Driver  # type: ignore[misc]
        print(f"{'told':>10}{'lost':>8}{'propose':>10}{'mean':>10}{'99 %':>10}{'CPU':>10}{'MB':>8}", flush=True)
        with cluster() as made:
            Driver.cluster = made
            run_sweep(sweep, stages=("search",))
        run_sweep(sweep, stages=("export",))
        open_pages(sweep)


if __name__ == "__main__":
    main()
