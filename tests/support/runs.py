"""Runs whose front is exported, written without training: of FFNets, and of a user-supplied module."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml
from networks import space
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_sweeps import SPACE, table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.report.data import Run
from ffnet_search.search.history import History
from ffnet_search.search.storage.study import open_study, read_candidates
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import find_task

FIGURES = ("predicted_ms", "measured_ms", "measured_spread", "params_m", "macs_m")


def candidates(count: int, seed: int = 0, quality: str = "accuracy") -> list[Candidate]:
    """FFNets with a random quality, and latency by MACs."""
    rng, digits = random.Random(seed), space("ffnet_digits")
    found = []
    for _ in range(count):
        arch = digits.sample(rng)
        costs = {"latency_ms": arch.macs_m, "params_m": arch.params_m, "macs_m": arch.macs_m}
        found.append(Candidate(arch, {quality: rng.random(), **costs}))
    return found


def ffnet_run(folder: Path, count: int = 30, task: str = "classification", **history: Any) -> Run:
    """A run of `count` candidates, two of them exported, whose table says 0.01 ms for every part."""
    file = folder / "tiny.yaml"
    kind = find_task(task)
    images = {"channels": 1, "resolution": 8, kind.outputs_word: 10}
    content = {
        "task": task,
        "search_space": {"input": images, "stages": [{"depth": [1, 2], "width": [16]}]},
        "runs": str(folder),
        "search": {"constraints": {"params_m": 0.2}},
    }
    file.write_text(yaml.safe_dump(content))
    evaluated = candidates(count, quality=kind.quality.name)
    exported = []
    for number, candidate in enumerate(evaluated[:2], 1):
        target = folder / f"{number:02d}-{candidate.key}"
        target.mkdir()
        (target / "card.json").write_text(json.dumps({"data": {"fingerprint": "f00"}, "date": "2026-01-01"}))
        (target / "model.onnx").touch()
        metrics = dict.fromkeys((kind.search_quality, kind.test_quality, *FIGURES), 0.5)
        exported.append(ExportedNetwork(target, candidate.architecture, {**metrics, "measured_ms": float(number)}))
    facts = {"infeasible": {"params_m": 7}, "excluded": 7, "failures": (), "importances": {}, **history}
    table = table_of(SearchSpace.model_validate(SPACE))
    return Run(Sweep.from_yaml(file), History(tuple(evaluated), **facts), exported, table)


def module_run(folder: Path, evaluated: int) -> Sweep:
    """A finished search of `evaluated` trials over a user-supplied module and its loss, two of them exported."""
    file = folder / "mine.yaml"
    file.write_text(
        f"""
module: {{class_path: "own_network:Curve"}}
data: {{name: "own_network:Points"}}
runs: {folder}
search_space: {{hyperparameters: {{module.hidden: {{low: 4, high: 64}}, module.act: [relu, tanh]}}}}
search: {{evaluator: train, metrics: {{val_loss: minimize}}, objectives: [val_loss, latency_ms]}}
"""
    )
    sweep, rng = Sweep.from_yaml(file), random.Random(1)
    with open_study(sweep.files.study, sweep.search.directions, "x") as writer:
        writer.add([_module_trial(number, rng) for number in range(evaluated)])
    for number, candidate in enumerate(read_candidates(sweep.files.study, sweep.search_space)[:2], 1):
        target = sweep.files.pareto / f"{number:02d}-{candidate.key}"
        target.mkdir(parents=True)
        values = dict(candidate.hyperparameters)
        card = {"key": candidate.key, "metrics": {**candidate.metrics, "test_loss": 0.5}, "hyperparameters": values}
        (target / "card.json").write_text(json.dumps({**card, "training": {"data": "f00"}, "date": "2026-01-01"}))
    return sweep


def _module_trial(number: int, rng: random.Random) -> FrozenTrial:
    params = {"module.hidden": rng.randint(4, 64), "module.act": rng.choice(["relu", "tanh"])}
    axes = {"module.hidden": IntDistribution(4, 64), "module.act": CategoricalDistribution(["relu", "tanh"])}
    loss, ms = 1 / params["module.hidden"] + rng.random() / 50, rng.random()
    reports = {str(epoch): {"val_loss": loss * (4 - epoch)} for epoch in (1, 2, 3)}
    attributes = {"key": f"{number:012x}", "val_loss": loss, "latency_ms": ms, "params_m": 0.1, "reports": reports}
    state = TrialState.COMPLETE
    return create_trial(state=state, values=[loss, ms], params=params, distributions=axes, user_attrs=attributes)
