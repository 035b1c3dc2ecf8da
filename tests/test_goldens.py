"""The results of the program, frozen in `tests/goldens/`: a refactoring must reproduce them.

`python tests/test_goldens.py --write [NAME ...]` rewrites the goldens (all, or those named): the sentences in
`errors.yaml`, whose sweeps are written by hand; `latency_table.json`, which was measured once, only if it is missing.
Read the difference before committing it: it is what users will see.

Floats are compared with the tolerance of their golden, since CPUs differ in the last bits; the exact values of the
machine that wrote them are in the files, and `GOLDENS=exact python -m pytest tests/test_goldens.py` compares all bits.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning import Trainer
from PIL import Image
from torch import Tensor, nn

import ffnet_search
from ffnet_search import (
    Architecture,
    Candidate,
    Evaluator,
    LatencyTable,
    MetaMixer,
    SearchSpace,
    Supernet,
    Sweep,
    SweepError,
    fuse,
    hypervolume,
    pareto_front,
)

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "goldens"
TABLE = FOLDER / "latency_table.json"
ERRORS = FOLDER / "errors.yaml"
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
DIGITS_SPACE = ROOT / "search_spaces" / "ffnet_digits.yaml"
STAGES = ("profile", "train", "search", "export")
EXACT = os.environ.get("GOLDENS") == "exact"


def internals() -> SimpleNamespace:
    """Everything that is not a public name of the package: if modules move, these lines alone change."""
    from ffnet_search.data.registry import build_data
    from ffnet_search.engines.local import LocalEngine
    from ffnet_search.evaluation.engine import EngineContext
    from ffnet_search.evaluation.outcome import Stopped
    from ffnet_search.run.stages import STAGES, stages_of
    from ffnet_search.search.loop import run_search
    from ffnet_search.search.optimizer import Optimizer
    from ffnet_search.search.problem import SearchProblem
    from ffnet_search.search.storage.search_storage import open_storage
    from ffnet_search.space.architecture import Form
    from ffnet_search.space.cost_model import CostModel
    from ffnet_search.space.input import Input

    def calibrated(evaluate: Evaluator, arch: Architecture) -> MetaMixer:
        """The network that an evaluator scores: sliced, with BN statistics of its own."""
        return evaluate.calibrated(arch)

    def search(sweep: Sweep, make_evaluate: Callable[[], Any], table: LatencyTable, folder: Path) -> list[Candidate]:
        """The candidates of a search on engine "local" with seed 0, whose files are written to `folder`."""
        problem = SearchProblem(sweep.search_space, sweep.search, CostModel(table), 0)
        with open_storage(problem, folder / "study.db", folder / "candidates.csv", digest="golden") as storage:
            optimizer = Optimizer(problem, storage)
            context = EngineContext(make_evaluate, sweep.search, optimizer.pruner, folder, sweep.search_space)
            return run_search(optimizer, LocalEngine(context), storage)

    return SimpleNamespace(
        Form=Form,
        Input=Input,
        STAGES=STAGES,
        Stopped=Stopped,
        build_data=build_data,
        calibrated=calibrated,
        search=search,
        stages_of=stages_of,
    )


# --- Sweeps and spaces: digests, keys, costs. Nothing but integers, text and their sums: equal to the last bit.


def digests(folder: Path) -> Any:
    """The digest of every stage of every shipped sweep."""
    found, inner = {}, internals()
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        sweep = Sweep.from_yaml(path)
        needed = [stage.name for stage in inner.stages_of(sweep)]
        found[path.name] = {"stages": needed, **{stage: inner.STAGES[stage].digest(sweep) for stage in STAGES}}
    return found


def architectures(folder: Path) -> Any:
    """Size, extremes, presets and 100 samples of every shipped space: key -> summary and costs."""
    found: dict[str, Any] = {}
    for path in SPACES:
        space, rng = SearchSpace.from_yaml(path), random.Random(0)
        samples = [space.sample(rng) for _ in range(100)]
        named = {"smallest": space.smallest, "largest": space.largest, **space.presets}
        assert len({arch.key for arch in samples}) == 100
        found[path.name] = {
            "size": space.size,
            "costs": "key -> summary, macs_m, params_m, weights_mb, peak_memory_mb",
            "named": {name: {arch.key: costs(arch)} for name, arch in named.items()},
            "samples": {arch.key: costs(arch) for arch in samples},
        }
    presets = (Architecture.preset(f"ffnet_{number}") for number in (1, 2, 3, 4))
    found["presets"] = {arch.key: costs(arch) for arch in presets}
    return found


def costs(arch: Architecture) -> list[Any]:
    assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    return [str(arch), arch.macs_m, arch.params_m, arch.weights_mb, arch.peak_memory_mb]


# --- Networks: logits, the first training steps.


def seed_weights(net: nn.Module) -> None:
    """Set every tensor by its name, independent of the order of creation; no value makes folding a no-op."""
    for name, tensor in net.state_dict().items():
        rng = torch.Generator().manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.2, generator=rng)
        elif tensor.ndim == 1 or name.endswith("layer_scale"):
            tensor.uniform_(0.5, 1.5, generator=rng)
        elif tensor.ndim > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=rng)


def seeded_images(arch: Architecture, count: int) -> Tensor:
    shape, rng = arch.input, torch.Generator().manual_seed(1)
    return torch.randn(count, shape.channels, shape.resolution, shape.resolution, generator=rng)


def tensors(net: nn.Module) -> dict[str, Any]:
    """The number of tensors, and a digest of their names and shapes, which checkpoints depend on."""
    shapes = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in net.state_dict().items())
    return {"count": len(shapes), "digest": hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16]}


@torch.no_grad()
def logits(folder: Path) -> Any:
    """Logits of sub-networks of a supernet: elastic, sliced, fused."""
    found: dict[str, Any] = {}
    inner, space = internals(), SearchSpace.from_yaml(DIGITS_SPACE)
    rng = random.Random(7)
    chosen = {"smallest": space.smallest, "largest": space.largest}
    chosen |= {f"sample {number}": space.sample(rng) for number in range(4)}
    for branches in ("none", "all"):
        net = MetaMixer.for_space(space, inner.Form(branches, 0.1)).eval()
        seed_weights(net)
        found[f"supernet, branches {branches}"] = {"tensors": tensors(net)}
        for name, arch in chosen.items():
            x_BCHW, alone = seeded_images(arch, 2), net.slice_to(arch)
            found[f"supernet, branches {branches}"][name] = {
                "key": arch.key,
                "elastic": net(x_BCHW, arch).tolist(),
                "sliced": alone(x_BCHW).tolist(),
                "fused": fuse(alone)(x_BCHW).tolist(),
            }
    for name, scale in (("ffnet_1", None), ("ffnet_3", 1e-6)):
        arch = Architecture.preset(name, inner.Input(1, 32, 5))
        net = MetaMixer(arch, inner.Form("reference", scale)).eval()
        found[name] = {"tensors": tensors(net)}
        if name == "ffnet_1":
            seed_weights(net)
            x_BCHW = seeded_images(arch, 1)
            found[name] |= {"alone": net(x_BCHW).tolist(), "fused": fuse(net)(x_BCHW).tolist()}
    return found


TINY_SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [1]},
    "stages": [
        {"depth": [1], "width": [16], "token_kernel": [3, 5], "expansion": [2, 3]},
        {"depth": [1, 2], "width": [16, 32], "token_kernel": 3, "mixer": ["ffn_attention", "pool"], "expansion": 2},
    ],
}
DIGITS: dict[str, Any] = {"name": "digits", "batch_size": 128, "validation": 0.25, "calibration": 128, "workers": 0}


def write_sweep(folder: Path, content: dict[str, Any], name: str = "tiny.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump({"runs": str(folder / "runs"), **content}), encoding="utf-8")
    return folder / name


def training(folder: Path) -> Any:
    """The first training steps of a supernet on the real digits, and the metrics of its networks afterwards."""
    found = {}
    sgd = {"optimizer": "sgd", "learning_rate": 0.05, "warmup_epochs": 0, "mixup": 0.2, "drop_path": 0.2}
    recipes: list[tuple[str, int, dict[str, Any]]] = [("adamw", 1, {}), ("sgd", 2, {"branches": "all", **sgd})]
    for name, steps, recipe in recipes:
        content = {"search_space": TINY_SPACE, "seed": 3, "train": recipe}
        sweep = Sweep.from_yaml(write_sweep(folder, {**content, "data": {**DIGITS, "augment": {"crop": 1}}}))
        space = sweep.search_space
        data = internals().build_data(sweep.data, sweep.seed, space.images)
        supernet = Supernet(space, sweep.train, seed=sweep.seed)
        seed_weights(supernet.net)
        trainer = Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            limit_train_batches=steps,
            logger=False,
            max_epochs=1,
            num_sanity_val_steps=0,
        )
        trainer.fit(supernet, datamodule=data)
        evaluate = Evaluator(supernet.net, data)
        chosen = (space.smallest, space.largest, space.sample(random.Random(1)))
        found[name] = {
            "logged": {metric: float(value) for metric, value in sorted(trainer.callback_metrics.items())},
            "mean_of_weights": {
                weight: float(tensor.detach().double().abs().mean())
                for weight, tensor in sorted(supernet.net.named_parameters())
            },
            "evaluated": {arch.key: dict(evaluate(Candidate(arch, {}).configuration).metrics) for arch in chosen},
            "calibrated": {arch.key: calibrated_logits(evaluate, arch) for arch in chosen},
        }
    return found


@torch.no_grad()
def calibrated_logits(evaluate: Evaluator, arch: Architecture) -> list[float]:
    """The sums of absolute logits, per class: finer than an accuracy."""
    net = internals().calibrated(evaluate, arch)
    return net(seeded_images(arch, 8)).double().abs().sum(0).tolist()  # type: ignore[no-any-return]


# --- The search: configurations, their order, their results. Another default sampler changes "default" on purpose.


class Score:
    """An evaluator without a network: more MACs are better, with noise; some fail. Trials that train report."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.Stopped = epochs, internals().Stopped

    def __call__(self, configuration: Any, report: Any) -> Any:
        arch, values = configuration.architecture, configuration.hyperparameters
        luck = int(configuration.key[:4], 16) / 2**16
        if luck > 0.95:
            raise ValueError("unlucky")
        score = 1 - 1 / (1 + arch.macs_m + luck)
        if values:
            score *= 1 - abs(math.log10(values["learning_rate"]) + 2) / 4
        for epoch in range(1, self.epochs):
            metrics = {"accuracy": score * epoch / self.epochs}
            if not report(epoch, metrics):
                return self.Stopped(epoch, metrics)
        return Candidate(arch, {"accuracy": score}, values)


LIMITED: dict[str, Any] = {"trials": 40, "constraints": {"params_m": 0.08, "latency_ms": 0.07}}
SEARCHES: dict[str, dict[str, Any]] = {
    # The random start: which of the candidates after it is best may depend on the last bits of a machine's arithmetic.
    "default": {"search": {**LIMITED, "trials": 16}},
    "random": {"search": {**LIMITED, "sampler": {"class_path": "RandomSampler", "init_args": {}}}},
    "joint": {
        "hyperparameters": {
            "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "optimizer": ["adamw", "sgd"],
            "momentum": {"low": 0.5, "high": 0.95, "when": {"optimizer": "sgd"}},
            "batch_size": {"low": 32, "high": 128, "step": 32},
        },
        "search": {
            "trials": 30,
            "evaluator": "train",
            "sampler": {"class_path": "RandomSampler", "init_args": {}},
            "early_stopping": {"rule": "asha", "min_epochs": 1},
        },
    },
}


def searches(folder: Path) -> Any:
    """Searches of the digits space on a stored latency table, with a deterministic evaluator."""
    found: dict[str, Any] = {}
    table, inner = LatencyTable.load(TABLE), internals()
    digits, space = yaml.safe_load(DIGITS_SPACE.read_text(encoding="utf-8")), SearchSpace.from_yaml(DIGITS_SPACE)
    rng = random.Random(5)
    samples = [space.smallest, space.largest, *(space.sample(rng) for _ in range(20))]
    found["predicted_ms"] = {arch.key: table.predict_ms(arch) for arch in samples}
    found["raw_ms"] = {arch.key: table.raw_ms(arch) for arch in samples}
    for name, content in SEARCHES.items():
        chosen = {**digits, "hyperparameters": content.get("hyperparameters", {})}
        sweep = Sweep.from_yaml(write_sweep(folder / name, {"search_space": chosen, "search": content["search"]}))
        score = Score(epochs=9 if sweep.search.evaluator == "train" else 1)
        rows = folder / name / "candidates.csv"
        candidates = inner.search(sweep, lambda score=score: score, table, folder / name)
        with rows.open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        front = pareto_front(candidates, sweep.search.directions)
        points = [(c.metrics["accuracy"], c.metrics["latency_ms"]) for c in front]
        found[name] = {
            "columns": list(read[0]),
            "trials": [[numbers(value) for value in row.values()] for row in read],
            "candidates": [candidate.key for candidate in candidates],
            "front": [candidate.key for candidate in front],
            "hypervolume": hypervolume(points, (0.0, 1.0), ("maximize", "minimize")),
        }
    return found


def numbers(text: str) -> Any:
    """The number that `text` spells, else `text`."""
    if re.fullmatch(r"-?\d+", text) and len(text) < 10:
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


# --- A whole run by the command line: the --json documents of every verb, the files, the numbers.

RUN: dict[str, Any] = {
    "search_space": TINY_SPACE,
    "data": DIGITS,
    "train": {"epochs": 1, "warmup_epochs": 0.5},
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
    "train": {"epochs": 1, "warmup_epochs": 0.5},
    "search": {"evaluator": "train", "trials": 2, "objectives": ["accuracy"]},
}


def call(*words: object, cwd: Path, code: int = 0) -> Any:
    """The document that `ffnet-search WORDS --json` prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    command = [sys.executable, "-m", "ffnet_search", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=250)
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


# --- Errors in a sweep, each one sentence.


def errors(folder: Path) -> list[dict[str, Any]]:
    """The cases of `errors.yaml` with the current sentences."""
    cases = yaml.safe_load(ERRORS.read_text(encoding="utf-8"))
    found = []
    for number, case in enumerate(cases["cases"]):
        here = folder / f"{number:03d}"
        here.mkdir(parents=True, exist_ok=True)
        written = {"sweep.yaml": case["sweep"], **case.get("files", {})}
        for name, text in written.items():
            (here / name).write_text(text.replace("SPACE", cases["SPACE"].strip()), encoding="utf-8")
        try:
            Sweep.from_yaml(here / "sweep.yaml")
        except SweepError as error:
            sentence = str(error).replace(f"{here}{os.sep}", "").replace(str(here), "HERE")
        else:
            sentence = "no error"
        found.append({**case, "error": sentence})
    return found


class _Block(str):
    """A text that YAML writes over several lines."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def write_errors(folder: Path) -> None:
    """Rewrite the sentences; the head of the file and the order of the cases stay."""
    text = ERRORS.read_text(encoding="utf-8")
    head = text[: text.index("\ncases:")]
    parts = []
    for case in errors(folder):
        blocks = {"sweep": _Block(case["sweep"].strip() + "\n"), "error": case["error"]}
        if "files" in case:
            blocks["files"] = {name: _Block(content.strip() + "\n") for name, content in case["files"].items()}
        ordered = {name: blocks[name] for name in ("sweep", "files", "error") if name in blocks}
        parts.append(yaml.dump([ordered], Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True))
    ERRORS.write_text(f"{head}\ncases:\n\n" + "\n".join(parts), encoding="utf-8")


@pytest.mark.parametrize("number", range(len(yaml.safe_load(ERRORS.read_text(encoding="utf-8"))["cases"])))
def test_an_error_keeps_its_sentence(number: int, cases: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    golden, found = cases
    assert found[number]["error"] == golden[number]["error"], f"of the sweep:\n{golden[number]['sweep']}"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return yaml.safe_load(ERRORS.read_text(encoding="utf-8"))["cases"], errors(tmp_path_factory.mktemp("errors"))


def test_every_wrong_sweep_is_refused_in_one_line() -> None:
    for case in yaml.safe_load(ERRORS.read_text(encoding="utf-8"))["cases"]:
        assert case["error"] != "no error", case["sweep"]
        assert "\n" not in case["error"]


# --- Comparing and writing.

GOLDENS: dict[str, tuple[Callable[[Path], Any], float]] = {  # name of the file -> what makes it, relative tolerance
    "digests": (digests, 0.0),
    "architectures": (architectures, 0.0),
    "logits": (logits, 1e-5),
    "training": (training, 1e-3),  # AdamW divides by small moments: 2e-4 between an Intel and an AMD CPU
    "searches": (searches, 1e-9),
    "documents": (documents, 0.0),
    "files": (files, 0.0),
    "numbers_of_runs": (numbers_of_runs, 0.02),  # an image or two, after an epoch on another CPU
}

OF_RUNS = ("documents", "files", "numbers_of_runs")  # which take most of the time: a minute, more on a busy machine
LONG = [pytest.mark.slow, pytest.mark.timeout(600)]


def differences(golden: Any, found: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """The places where two documents differ. A list of numbers is compared relative to the largest of them."""
    if isinstance(golden, dict) and isinstance(found, dict):
        for key in [*golden, *(key for key in found if key not in golden)]:
            if key not in golden or key not in found:
                yield f"{place}/{key}: is {'new' if key in found else 'lost'}"
            else:
                yield from differences(golden[key], found[key], tolerance, f"{place}/{key}")
        if list(golden) != list(found) and golden.keys() == found.keys():
            yield f"{place}: the order was {list(golden)}, but is {list(found)}"
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        if golden and all(isinstance(one, float) for one in (*golden, *found)):
            bound = tolerance * max(map(abs, golden))
            if not all(abs(a - b) <= bound for a, b in zip(golden, found, strict=True)):
                yield f"{place}: was {golden}, but is {found}"
        else:
            for index, pair in enumerate(zip(golden, found, strict=True)):
                yield from differences(*pair, tolerance, f"{place}/{index}")
    elif isinstance(golden, float) and isinstance(found, float):
        if not abs(golden - found) <= tolerance * abs(golden):
            yield f"{place}: was {golden!r}, but is {found!r}"
    elif golden != found or type(golden) is not type(found):
        yield f"{place}: was {golden!r}, but is {found!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("goldens")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Lightning: few workers, no logger
@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if n in OF_RUNS else []) for n in GOLDENS])
def test_golden(name: str, folder: Path) -> None:
    make, tolerance = GOLDENS[name]
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = json.loads(as_text(make(folder)))
    told = list(differences(golden, found, 0.0 if EXACT else tolerance))
    assert not told, f"{len(told)} differences to {name}.json, the first of them:\n" + "\n".join(told[:20])


def as_text(content: Any, indent: int = 0) -> str:
    """JSON, on one line if that is short."""
    line = json.dumps(content, ensure_ascii=False)
    if not isinstance(content, dict | list) or len(line) + indent <= 118:
        return line
    if isinstance(content, list) and not any(isinstance(value, dict | list) for value in content):
        return line
    margin, inner = " " * indent, " " * (indent + 1)
    if isinstance(content, dict):
        items = [f"{json.dumps(str(key))}: {as_text(value, indent + 1)}" for key, value in content.items()]
    else:
        items = [as_text(value, indent + 1) for value in content]
    opening, closing = "{}" if isinstance(content, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{margin}{closing}"


def write_table(folder: Path) -> None:
    """Measure the digits space once, quickly: the table must be reproducible, not accurate."""
    latency = {"rounds": 3, "calibration": 8, "held_out": 20, "noisy": True}
    sweep = Sweep.from_yaml(write_sweep(folder, {"search_space": str(DIGITS_SPACE), "latency": latency}))
    ffnet_search.profile(sweep.search_space, sweep.latency[0], folder / "table.json", seed=0)
    table = LatencyTable.load(folder / "table.json")
    setting = table.setting.model_copy(update={"device": "the machine of the goldens"})
    costs = {"intercept_ms": 0.004, "spill_ms_per_m": 0.05, "resident_m": 0.05}  # of few rounds they may be 0
    table.model_copy(update={"setting": setting, **costs}).save(TABLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", nargs="*", choices=[*GOLDENS, "errors"], required=True, metavar="NAME")
    wanted = parser.parse_args().write or [*GOLDENS, "errors"]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if not TABLE.exists():
            write_table(Path(name) / "table")
        for golden in wanted:
            print(golden, flush=True)
            if golden == "errors":
                write_errors(Path(name) / "errors")
            else:
                content = as_text(GOLDENS[golden][0](Path(name)))
                (FOLDER / f"{golden}.json").write_text(f"{content}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
