"""Whole runs by the command line: the --json documents of every verb, the files, the numbers."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from goldens.sweeps import DIGITS, ROOT, TINY_SPACE, write_sweep
from patience import PATIENCE_S
from PIL import Image

from ffnet_search import Architecture, Candidate, Evaluator, Sweep

RUN: dict[str, Any] = {
    "search_space": TINY_SPACE,
    "data": DIGITS,
    "train": {"epochs": 1, "learning_rate": 2e-3, "warmup_epochs": 0.5},
    "latency": {"noisy": True, "name": "here", "rounds": 3, "calibration": 4, "min_within_10": 0.0},
    "search": {"trials": 4, "constraints": {"params_m": 0.2}},
    "export": {"top": 1},
}
ALONE: dict[str, Any] = {  # a search of hyper-parameters of one network: no table, no supernet
    "search_space": {
        "architecture": {
            "input": TINY_SPACE["input"],
            "stem": {"width": 8, "stride": 2},
            "stages": [{"width": 16, "blocks": [{"token_kernel": 3}]}],
        },
        "hyperparameters": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}},
    },
    "data": DIGITS,
    "train": {"epochs": 1, "learning_rate": 2e-3, "warmup_epochs": 0.5},
    "search": {"evaluator": "train", "trials": 2, "objectives": ["accuracy"]},
}


def call(*words: object, cwd: Path, code: int = 0) -> Any:
    """The document that `ffnet-search WORDS --json` prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    command = [sys.executable, "-m", "ffnet_search", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=PATIENCE_S)
    if "Traceback" in done.stderr:
        return {"crash": done.stderr.splitlines()[-1]}
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@lru_cache(maxsize=1)
def finished(folder: Path) -> SimpleNamespace:
    """A folder in which two sweeps were run, and their documents; paths are relative to it."""
    write_sweep(folder, {**RUN, "runs": "runs"})
    write_sweep(folder, {**ALONE, "runs": "runs"}, "alone.yaml")
    (folder / "space.yaml").write_text(yaml.safe_dump(TINY_SPACE), encoding="utf-8")
    (folder / "net.yaml").write_text(yaml.safe_dump(Architecture.preset("ffnet_2").to_dict()), encoding="utf-8")
    return SimpleNamespace(
        folder=folder,
        check=call("check", "tiny.yaml", cwd=folder),  # before anything is there
        run=call("run", "tiny.yaml", "--quiet", cwd=folder),
        alone=call("run", "alone.yaml", "--quiet", cwd=folder),
    )


def documents(folder: Path) -> Any:
    """The document of every verb that has --json: whole if it is deterministic, else the type of each value."""
    ran = finished(folder)
    here, tiny = ran.folder, ran.folder / "runs" / "tiny"
    (pick,) = (tiny / "pareto").glob("01-*")
    write_images(here / "flowers")
    started = call("init", "--data", "flowers", "--minutes", 1, "--quiet", cwd=here)
    whole = {
        "init": call("init", cwd=here),
        "init, with images": {**started, "minutes": kinds(started["minutes"]), "remarks": kinds(started["remarks"])},
        "check, of a new sweep": ran.check,
        "check, with options": call("check", "sweeps/digits.yaml", "--trials", 7, "--name", "mine", cwd=here),
        "check, without architectures to choose from": call("check", "alone.yaml", cwd=here),
        "show, a search space": call("show", "space.yaml", cwd=here),
        "show, a shipped search space": call("show", ROOT / "search_spaces" / "ffnet_cifar.yaml", cwd=here),
        "show, an architecture": call("show", "net.yaml", cwd=here),
        "show, a preset": call("show", "ffnet_1", cwd=here),
        "show, a sweep": call("show", ROOT / "sweeps" / "digits_hpo.yaml", cwd=here),
        "a mistake in a file": call("check", "no-such.yaml", cwd=here, code=2),
        "a mistake in a command": call("train", "tiny.yaml", "--epocs", 3, cwd=here, code=2),
        "a mistake in a number": call("run", "tiny.yaml", "--trials", 0, cwd=here, code=2),
        "a run that is not there": call("pick", "nowhere", "--latency-ms", 1, cwd=here, code=2),
        "a changed sweep": call("train", "tiny.yaml", "--seed", 5, cwd=here, code=2),
        "no such trial": call("rerun", "runs/tiny", 99, cwd=here, code=2),
        "no such device": call("profile", "tiny.yaml", "--device", "elsewhere", cwd=here, code=2),
    }
    schemas = {
        "run": ran.run,
        "run, alone": ran.alone,
        "run, again": call("run", "tiny.yaml", cwd=here),
        "profile": call("profile", "tiny.yaml", cwd=here),
        "train": call("train", "tiny.yaml", cwd=here),
        "search": call("search", "tiny.yaml", cwd=here),
        "export": call("export", "tiny.yaml", cwd=here),
        "profile, a device": call("profile", "tiny.yaml", "--device", "here", cwd=here),
        "export, a format": call("export", "runs/tiny", "--format", "onnx", "--top", 1, "--quiet", cwd=here),
        "pick": call("pick", "runs/tiny", "--latency-ms", 1e6, "--device", "here", cwd=here),
        "rerun": call("rerun", "runs/alone", 0, "--quiet", cwd=here),
        "show, a run": call("show", "runs/tiny", cwd=here),
        "show, a network of the front": call("show", pick, cwd=here),
        "show, a latency table": call("show", tiny / "latency" / "here.json", cwd=here),
        "show, a finished sweep": call("show", "tiny.yaml", cwd=here),
        "card of an FFNet": json.loads((pick / "card.json").read_text(encoding="utf-8")),
    }
    return {name: placeless(document, here) for name, document in whole.items()} | {
        name: kinds(document) for name, document in schemas.items()
    }


def write_images(folder: Path) -> None:
    """Write 20 images of each of two classes."""
    rng = np.random.default_rng(0)
    for kind, shade in (("dark", 60), ("light", 180)):
        (folder / kind).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(shade, shade + 60, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number:02d}.png")


def placeless(document: Any, here: Path) -> Any:
    text = json.dumps(document).replace(str(here), "HERE").replace(str(ROOT), "ROOT")
    return json.loads(text)


def kinds(value: Any) -> Any:
    """The type of each value; of a list, the types in it. The states of stages stay as they are.

    Which network is first depends on the machine's arithmetic and clock, so that its key is no part of a name.
    """
    if isinstance(value, dict):
        as_is = ("crash",) if "crash" in value else ("stages",) if "run" in value else ()
        return {
            re.sub(r"\b[0-9a-f]{12}\b", "KEY", key): one if key in as_is else kinds(one) for key, one in value.items()
        }
    if isinstance(value, list):
        different = {json.dumps(kinds(one), sort_keys=True): kinds(one) for one in value}
        return [different[text] for text in sorted(different)]
    return type(value).__name__


def files(folder: Path) -> Any:
    """The files of a run, and the columns of its tables; keys and numbers of networks are left out."""
    ran = finished(folder)
    found: dict[str, Any] = {}
    for run in ("tiny", "alone"):
        top = ran.folder / "runs" / run
        paths = [path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()]
        found[run] = sorted({re.sub(r"\b(\d\d-)?[0-9a-f]{12}\b", "KEY", path) for path in paths if of_interest(path)})
        for table in ("candidates.csv", "pareto/front.csv"):
            header = (top / table).read_text(encoding="utf-8").splitlines()[0]
            found[f"{run}: columns of {table}"] = header.split(",")
    return found


def of_interest(path: str) -> bool:
    """Whether a file is always written: not by an optional package, nor for the dashboard."""
    return not any(part in path for part in ("tensorboard", "artifacts/"))


def numbers_of_runs(folder: Path) -> Any:
    """The accuracies of the networks of the two runs."""
    ran = finished(folder)
    sweep = Sweep.from_yaml(ran.folder / "tiny.yaml").model_copy(update={"runs": str(ran.folder / "runs")})
    evaluate, space = Evaluator.from_sweep(sweep), sweep.search_space
    chosen = (space.smallest, space.largest, space.sample(random.Random(1)))
    with (ran.folder / "runs" / "alone" / "candidates.csv").open(newline="", encoding="utf-8") as file:
        trials = [{"key": row["key"], "accuracy": float(row["accuracy"])} for row in csv.DictReader(file)]
    tested = [pick["metrics"]["test_accuracy"] for pick in ran.alone["front"]]
    return {
        "supernet": {arch.key: evaluate(Candidate(arch, {}).configuration).metrics["accuracy"] for arch in chosen},
        "trained alone": trials,
        "tested": tested,
    }
