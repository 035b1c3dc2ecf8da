"""A folder with every kind of file that the program reads, all of them right: written without training."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import yaml
from networks import randomise
from optuna.trial import TrialState, create_trial
from small_sweeps import table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import CARD, write_scores
from ffnet_search.export.network import write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.run.folder.run_folder import StageRecord, open_run
from ffnet_search.run.stages import stages_of
from ffnet_search.search.storage.study import open_study
from ffnet_search.search.storage.trial_params import distributions, params_of
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import Scores
from ffnet_search.training.fit import write_supernet

SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [2]},
    "stages": [{"depth": [1, 2], "width": [8, 16], "mixer": ["ffn_attention", "pool"], "token_kernel": [3, 5]}],
    "per_block": ["token_kernel"],
}
SWEEP = {
    "search_space": "space.yaml",
    "seed": 1,
    "data": {"name": "digits", "batch_size": 64, "augment": {"crop": 1}},
    "train": {
        "epochs": 2,
        "callbacks": [{"class_path": "lightning.pytorch.callbacks:Timer", "init_args": {"verbose": True}}],
    },
    "latency": {"name": "onnxruntime-t1-b1", "rounds": 3, "noisy": True},
    "search": {"trials": 8, "objectives": ["accuracy", "latency_ms"], "constraints": {"params_m": 5.0}},
    "export": {"top": 2},
}
CLUSTER = {
    "cluster_name": "tiny",
    "provider": {"type": "local", "head_ip": "192.0.2.1", "worker_ips": ["192.0.2.2"]},
    "auth": {"ssh_user": "me"},
    "head_start_ray_commands": ["ray start --head"],
    "worker_start_ray_commands": ["ray start --address=$RAY_HEAD_IP:6379"],
    "metadata": {"sweep": {"search_space": SPACE, "data": {"name": "digits"}}},
}


def write_base(folder: Path) -> Sweep:
    """Write the files, and return the sweep of the run `runs/tiny`."""
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (folder / "cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**SWEEP, "runs": "runs"}))
    (folder / "journal").touch()
    sweep = Sweep.from_yaml(folder / "tiny.yaml").model_copy(update={"runs": str(folder / "runs")})
    space = sweep.search_space
    with open_run(sweep) as run:
        run.write_sweep(sweep)
        table_of(space).save(sweep.latency_path)
        write_supernet(sweep.files.supernet, MetaMixer.for_space(space), space)
        archs = list(dict.fromkeys(space.sample(random.Random(number)) for number in range(9)))
        _write_study(sweep, archs)
        for number, arch in enumerate(archs[:2], 1):
            _write_exported(sweep.files.pareto / ("01-net" if number == 1 else f"02-{arch.key}"), arch)
        sweep.files.front_csv.touch()
        sweep.files.report.write_text("<!doctype html><title>x</title>")
        sweep.files.candidates.touch()
        for stage in stages_of(sweep):
            record = StageRecord(
                stage.digest(sweep), stage.inputs(sweep), stage.amounts(sweep), "2026-01-01T00:00:00+00:00"
            )
            run.write(stage.name, record)
    return sweep


def _write_study(sweep: Sweep, archs: list[Architecture]) -> None:
    axes = distributions(sweep.search_space)
    trials = []
    for number, arch in enumerate(archs):
        params = params_of(sweep.search_space, Configuration(arch))
        costs = {"latency_ms": arch.macs_m, "params_m": arch.params_m, "macs_m": arch.macs_m}
        attributes = {
            "key": arch.key,
            "architecture": str(arch),
            "origin": "TPESampler",
            "accuracy": number / 10,
            **costs,
        }
        trials.append(
            create_trial(
                state=TrialState.COMPLETE,
                values=[attributes["accuracy"], arch.macs_m],
                params=params,
                distributions={name: axes[name] for name in params},
                user_attrs=attributes,
                system_attrs={"constraints:params_m": -1.0},
                intermediate_values={1: 0.5},
            )
        )
    with open_study(sweep.files.study, sweep.search.directions, "digest") as writer:
        writer.add(trials)


def _write_exported(folder: Path, arch: Architecture) -> None:
    folder.mkdir(parents=True)
    net = MetaMixer(arch).eval()
    randomise(net, 1)
    write_network(folder, net, fuse(net), 17)
    names = ("search_accuracy", "test_accuracy", "predicted_ms", "measured_ms", "measured_spread", "params_m", "macs_m")
    card = {
        "key": arch.key,
        "summary": str(arch),
        "metrics": dict.fromkeys(names, 0.5),
        "latency": {"device": "x", "backend": "onnxruntime", "threads": 1, "batch_size": 1},
        "hyperparameters": {"learning_rate": 0.1},
        "data": {"name": "digits", "fingerprint": "f00"},
        "details": {
            **{name: {"0": 0.5, "1": None} for name in ("recall", "precision")},
            "images": {"0": 1, "1": 2},
            "confused": [["0", "1", 3]],
            "confusion": [[1, 0], [3, 1]],
            "errors": "a.png",
        },
        "training": {"seed": 1, "data": "f00", "git": "0"},
        "input": {"channels": 1, "resolution": 8, "classes": ["0", "1"]},
        "date": "2026-01-01T00:00:00+00:00",
        "formats": {
            "onnx-int8": {"files": ["model.onnx"], "max_difference": 0.1, "latency_ms": 0.5, "onnx_latency_ms": 1}
        },
    }
    (folder / CARD).write_text(json.dumps(card))
    right = Scores(task_of(arch.input), np.array([[1.0], [0.0], [1.0]]))
    write_scores(folder, {"search": right, "test": right})
