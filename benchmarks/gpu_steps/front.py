"""Step `front`: networks of a search and FFNets scaled by hand at equal latency, trained by the same recipe."""

from __future__ import annotations

import json
import random
from itertools import product
from typing import Any

import torch

from ffnet_search.atomic_write import write_text
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.formatting import figure
from ffnet_search.latency.table import LatencyTable
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.space.architecture import Architecture, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data, train_architecture
from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import inferred
from gpu_steps.supernet import supernet_of


def measure(run: Run) -> Rows:
    """At each of three latencies: the best of a random search on the supernet, and the FFNet scaled by hand that is
    nearest below it; both trained alone by the same recipe, and the first also from what it inherits."""
    sweep, picks, done = run.sweep(run.amounts.retrain_epochs), run.work / "picks.json", run.work / "front.json"
    if not picks.exists():
        write_text(picks, json.dumps(_picks(run)))
    results: dict[str, float] = json.loads(done.read_text()) if done.exists() else {}
    rows = []
    for place, pick in enumerate(json.loads(picks.read_text())):
        for start in ("scaled by hand, from scratch", "searched, from scratch", "searched, from inherited"):
            name, key = start.partition(",")[0], f"{place} {start} {sweep.train.epochs}"
            arch, ms = Architecture.from_dict(pick[name]), pick[f"{name} ms"]
            if key not in results:
                results[key] = _retrained(run, sweep, arch, key)
                write_text(done, json.dumps(results))
                run.publish()
            size = f"{arch.macs_m:.4g} M MACs, {figure(ms)} ms measured"
            what = f"{start}, {sweep.train.epochs} epochs, {size}: test accuracy"
            rows.append((what, f"{100 * results[key]:.2f} %"))
    return rows


def _picks(run: Run) -> list[dict[str, Any]]:
    """What to train at three latencies between the least and the greatest of the front, as plain data."""
    space, rng, table = run.space, random.Random(0), LatencyTable.load(run.table)
    evaluator = Evaluator(read_supernet(supernet_of(run)), sweep_data(run.sweep(1)))
    name = evaluator.task.quality.name
    candidates = []
    for arch in dict.fromkeys(
        [space.smallest, space.largest, *(space.sample(rng) for _ in range(run.amounts.searched))]
    ):
        found = evaluator(Configuration(arch))
        candidates.append(Candidate(arch, {**found.metrics, "latency_ms": table.predict_ms(arch)}))
    best = pareto_front(candidates, {name: "maximize", "latency_ms": "minimize"})
    ends = [pick(one.metrics["latency_ms"] for one in best) for pick in (min, max)]
    picks, times = [], dict[Architecture, float]()
    for part in range(1, run.amounts.budgets + 1):
        budget_ms = ends[0] + (ends[1] - ends[0]) * part / (run.amounts.budgets + 1)
        within = [one for one in best if one.metrics["latency_ms"] <= budget_ms]
        arch = max(within, key=lambda one: one.metrics[name]).network
        ms = inferred(run, arch, run.mode, 1)
        hand = _scaled(run, ms, times)
        picks.append(
            {
                "searched": arch.to_dict(),
                "searched ms": ms,
                "scaled by hand": hand.to_dict(),
                "scaled by hand ms": times[hand],
            }
        )
    return picks


def _scaled(run: Run, budget_ms: float, times: dict[Architecture, float]) -> Architecture:
    """The slowest FFNet scaled by hand within a latency: one kernel and expansion, widths and depths by factors.

    As the published ones: widths double from stage to stage, and the third stage is the deepest. `times` keeps what was
    measured."""
    stages = len(run.space.largest.stages)
    block = Block("ffn_attention", 7 if run.space.images.resolution > 8 else 3, expansion=3)
    widths, depths, strides = ((8, 16), (1,), (2,)) if run.tiny else (range(8, 72, 8), (1, 2, 3), (1, 2))
    for width, depth, stride in product(widths, depths, strides):
        blocks = [depth * (2 if index == stages - 2 else 1) for index in range(stages)]
        channels = [width * 2**index for index in range(stages)]
        arch = Architecture.uniform(blocks, channels, (block,) * stages, Stem(width, stride), run.space.images)
        if arch not in times:
            times[arch] = inferred(run, arch, run.mode, 1)
    fitting = [arch for arch, ms in times.items() if ms <= budget_ms] or [min(times, key=times.__getitem__)]
    return max(fitting, key=times.__getitem__)


def _retrained(run: Run, sweep: Sweep, arch: Architecture, key: str) -> float:
    """The accuracy on the test split of one network, trained for the epochs of `sweep`; resumes at its checkpoint."""
    data, folder = sweep_data(sweep), run.work / key.replace(" ", "-")
    if "inherited" in key:
        net = read_supernet(supernet_of(run)).slice_to(arch)
    else:
        torch.manual_seed(0)
        net = MetaMixer(arch, sweep.train.form)
    net = train_architecture(net, data, sweep.train, folder, sweep.seed).to(run.device)
    net = recalibrate(net, data.calibration.to(run.device))
    return quality(fuse(net), data.test_dataloader(), task_of(arch.input))
