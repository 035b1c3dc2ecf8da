"""Step `evaluation`: candidates per second on the supernet, of one worker and of two at a time."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.fit import sweep_data
from gpu_steps.run import REPO, Rows, Run
from gpu_steps.supernet import supernet_of

PROGRAM = REPO / "benchmarks" / "gpu.py"  # which is a worker by an option


def measure(run: Run) -> Rows:
    """Candidates per second: one worker in this process; two processes, each with a quarter of the GPU's memory."""
    alone = run.figure(
        f"evaluation on the supernet of {run.space.name}: candidates/s of one worker",
        lambda: f"{work_for(run, 0):.2f}",
    )
    together = run.figure(
        "two workers at a time, a quarter of the GPU's memory each: candidates/s together", partial(_two_workers, run)
    )
    return [alone, together]


def _two_workers(run: Run) -> str:
    command = [
        sys.executable,
        str(PROGRAM),
        "--device",
        run.device.type,
        "--work",
        str(run.work),
    ]
    command += (["--data", str(run.data)] if run.data else []) + (["--tiny"] if run.tiny else [])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, "--worker", str(seed)], **pipes) for seed in (1, 2)]
    try:
        if any(worker.stdout.readline() != "ready\n" for worker in workers):
            raise RuntimeError("a worker ended before it was ready; its error is above")
        for worker in workers:  # both work at the same time, but for the last candidates
            worker.stdin.write("go\n")
            worker.stdin.flush()
        rates = [float(worker.communicate()[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return f"{sum(rates):.2f}"


def work_for(run: Run, seed: int, ready: Callable[[], object] = lambda: None) -> float:
    """Candidates per second of one worker, which calls `ready` when data and weights are loaded."""
    evaluator = Evaluator(read_supernet(supernet_of(run)), sweep_data(run.sweep(1)))
    rng = random.Random(seed)
    archs = [run.space.sample(rng) for _ in range(run.amounts.candidates + 2)]
    for arch in archs[:2]:
        evaluator(Configuration(arch))
    ready()
    start = time.perf_counter()
    for arch in archs[2:]:
        evaluator(Configuration(arch))
    run.wait()
    return run.amounts.candidates / (time.perf_counter() - start)
