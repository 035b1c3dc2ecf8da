"""The front as files: each pick rebuilt alone, optionally fine-tuned, measured again, tested on untouched images.

runs/NAME/pareto/01-KEY/   architecture.yaml  model.safetensors  trainable.safetensors  model.onnx  card.json
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator, quality
from ffnet_search.evaluation.trained import TrialEvaluator, resolved
from ffnet_search.export.bundle import write_bundle
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.ray_bench import make_bench
from ffnet_search.latency.table import LatencyTable
from ffnet_search.models.backbone import Backbone
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import Deployed, deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.onnx import write_onnx
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.progress import progress
from ffnet_search.provenance import git_state, versions
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import read_supernet, sweep_data, train_architecture

FINETUNE_RATE = 0.1  # of the supernet's learning rate: the weights are good, and only have to forget the others


def export_front(sweep: Sweep) -> list[ExportedNetwork]:
    """Writes the front of the run's study to `sweep.files.pareto`, best first.

    The folder is replaced as a whole when all of it is there. Raises SweepError where there is no candidate.
    """
    front = choose(
        pareto_front(read_candidates(sweep.files.study, sweep.search_space), sweep.search.directions), sweep.export.top
    )
    if not front:
        raise SweepError(f"{sweep.path}: the search found no feasible candidate, so there is nothing to export")
    write = _writer(sweep)
    scratch = sweep.files.pareto.with_name("pareto.new")
    shutil.rmtree(scratch, ignore_errors=True)
    picks = []
    with progress("export", len(front), "networks") as bar:
        folders = [scratch / f"{number:02d}-{candidate.key}" for number, candidate in enumerate(front, 1)]
        for folder in folders:
            folder.mkdir(parents=True)
        for candidate, folder, metrics in zip(front, folders, write(front, folders), strict=True):
            path, arch = sweep.files.pareto / folder.name, candidate.architecture
            picks.append(ExportedNetwork(path, arch, metrics, candidate.final_hyperparameters))
            bar.advance(note=f"{candidate.key}: {_words(metrics)}")
    _write_csv(scratch / sweep.files.front_csv.name, picks)
    shutil.rmtree(sweep.files.pareto, ignore_errors=True)
    os.replace(scratch, sweep.files.pareto)
    return picks


def choose(front: Sequence[Candidate], top: int) -> list[Candidate]:
    """At most `top` of a front that is ordered by its first objective: evenly spread over it, both ends included."""
    if len(front) <= top:
        return list(front)
    if top == 1:
        return [front[0]]
    return [front[round(i * (len(front) - 1) / (top - 1))] for i in range(top)]


def _words(metrics: Mapping[str, float]) -> str:
    if "test_accuracy" in metrics:
        return f"{100 * metrics['test_accuracy']:.2f} %, {metrics['measured_ms']:.3g} ms"
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


# Writes the files of each candidate into its folder, and gives its metrics.
Writer = Callable[[Sequence[Candidate], Sequence[Path]], Iterator[dict[str, float]]]


def _writer(sweep: Sweep) -> Writer:
    if sweep.module is not None:
        from ffnet_search.export.user_module import UserModuleExport

        return UserModuleExport(sweep)
    data = sweep_data(sweep)
    if sweep.search.evaluator == "train":
        trials = TrialEvaluator(sweep, git=git_state(Path.cwd()))
        return FFNetExport(sweep, data, lambda candidate: trials.network(candidate))
    evaluator = Evaluator(read_supernet(sweep.files.supernet), data)
    return FFNetExport(sweep, data, lambda candidate: evaluator.calibrated(candidate.network))


class FFNetExport:
    """A `Writer` of FFNets, measured alone and tested on untouched images. `network(candidate)` gives its weights."""

    def __init__(self, sweep: Sweep, data: Data, network: Callable[[Candidate], MetaMixer]) -> None:
        self.sweep, self.data, self.network = sweep, data, network
        has_tables = sweep.uses_latency_tables
        paths = [sweep.files.latency_table(section) for section in sweep.searched_devices]
        self.tables = [LatencyTable.load(path) if has_tables else None for path in paths]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, front: Sequence[Candidate], folders: Sequence[Path]) -> Iterator[dict[str, float]]:
        nets = [self._trained(candidate) for candidate in front]
        fused = [fuse(net).cpu() for net in nets]
        latencies = self._latencies(fused)  # of all together: what disturbs one minute must not be one network's
        for candidate, folder, net, deployed_net, latency in zip(front, folders, nets, fused, latencies, strict=True):
            task = task_of(candidate.network.input)
            metrics = {
                task.search_quality: candidate.metrics[task.quality.name],
                task.test_quality: quality(deployed_net.to(self.device), self.data.test_dataloader(), task),
                **{f"{name}{at}": value for at, found in latency.items() for name, value in found.items()},
                **analytic_metrics(candidate.network),
            }
            write_network(folder, net.cpu(), deployed_net.cpu(), self.sweep.export.opset)
            card = self._card(candidate, metrics)
            (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")
            write_bundle(folder, card)
            yield metrics

    def _trained(self, candidate: Candidate) -> MetaMixer:
        net = self.network(candidate)
        return self._finetune(net, candidate) if self.sweep.export.finetune_epochs else net

    def _latencies(self, nets: Sequence[Deployed]) -> list[dict[str, dict[str, float]]]:
        """For each network: suffix of the device ("" of the search's own, else "@NAME") -> what was predicted, where
        there is a table, and found."""
        latencies: list[dict[str, dict[str, float]]] = [{} for _ in nets]
        for number, (section, table) in enumerate(zip(self.sweep.searched_devices, self.tables, strict=True)):
            found = measure_all(nets, section, table=table, make_bench=make_bench)
            for net, one, latency in zip(nets, found, latencies, strict=True):
                predicted = {} if table is None else {"predicted_ms": table.predict_ms(net.arch)}
                measured = {"measured_ms": one.ms, "measured_spread": one.spread}
                latency[f"@{section.name}" if number else ""] = predicted | measured
        return latencies

    def _card(self, candidate: Candidate, metrics: Mapping[str, float]) -> dict[str, Any]:
        sweep, arch, data = self.sweep, candidate.network, self.data
        settings = [self._setting(*pair) for pair in zip(sweep.searched_devices, self.tables, strict=True)]
        others = zip(sweep.searched_devices[1:], settings[1:], strict=True)
        devices = {str(section.name): setting for section, setting in others}
        near = {at: _is_near(metrics, at) for at in ("", *(f"@{name}" for name in devices))} if self.tables[0] else {}
        return {
            "key": candidate.key,
            "summary": str(arch),
            "metrics": metrics,
            "latency": settings[0],
            **({"devices": devices} if devices else {}),
            **{f"predicted_within_10_percent{at}": is_near for at, is_near in near.items()},
            "sweep": {"name": sweep.name, "seed": sweep.seed, "digest": sweep.digest},
            "data": {"name": sweep.data.name, "fingerprint": getattr(data, "fingerprint", None)},
            "hyperparameters": dict(candidate.final_hyperparameters),
            "training": dict(candidate.record) or {"seed": sweep.seed, "resolved": resolved(sweep)},
            "git": git_state(Path.cwd()),
            "input": _input(arch, data),
            "finetune_epochs": sweep.export.finetune_epochs,
            "onnx_opset": sweep.export.opset,
            "versions": versions(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def _setting(self, section: LatencySection, table: LatencyTable | None) -> dict[str, Any]:
        """How latency was measured."""
        if table is not None:
            return table.setting.model_dump(mode="json") | {"table_error": table.error.model_dump(mode="json")}
        said = section.model_dump(mode="json", include={"backend", "threads", "batch_size"})
        return {"device": make_backend(section).device_name(), **said}

    def _finetune(self, net: MetaMixer, candidate: Candidate) -> MetaMixer:
        """Trains the network alone for some epochs. The fine-tuned statistics are measured afresh too."""
        sweep, data = self.sweep.with_values(candidate.final_hyperparameters), self.data
        recipe = sweep.train.model_copy(
            update={
                "epochs": sweep.export.finetune_epochs,
                "learning_rate": FINETUNE_RATE * sweep.train.learning_rate,
                "warmup_epochs": 0.0,
            }
        )
        folder = sweep.files.training / f"finetune-{candidate.key}"
        net = train_architecture(net, data, recipe, folder, sweep.seed).to(self.device)
        return recalibrate(net, data.calibration.to(self.device))


def _is_near(metrics: Mapping[str, float], at: str) -> bool:
    """Whether a prediction held: what is off by more than a tenth is told in the card."""
    return abs(metrics[f"predicted_ms{at}"] / metrics[f"measured_ms{at}"] - 1) <= 0.1


def _input(arch: Architecture, data: Data) -> dict[str, object]:
    """What the network takes and gives: mean and standard deviation per channel in levels of 255, names of classes."""
    found: dict[str, object] = {"channels": arch.input.channels, "resolution": arch.input.resolution}
    found[task_of(arch.input).outputs_word] = list(data.outputs)
    if hasattr(data, "statistics"):
        found["mean"], found["std"] = (tensor_C.tolist() for tensor_C in data.statistics)
    return found


def write_network(folder: Path, net: MetaMixer, fused: Deployed, opset: int) -> None:
    """The files that `load` reads, and the ONNX model (any batch size)."""
    arch = net.largest
    (folder / "architecture.yaml").write_text(yaml.safe_dump(arch.to_dict(), sort_keys=False))
    save_file(_tensors(fused), folder / "model.safetensors", {"form": "deployed", "key": arch.key})
    form = {
        "form": "trainable",
        "key": arch.key,
        "branches": net.form.branches,
        "layer_scale": str(net.form.layer_scale),
    }
    save_file(_tensors(net), folder / "trainable.safetensors", form)
    shape = (1, arch.input.channels, arch.input.resolution, arch.input.resolution)
    write_onnx(fused, shape, folder / "model.onnx", opset=opset, dynamic_batch=True)


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}


def load(folder: str | Path, *, trainable: bool = False, features_only: bool = False) -> nn.Module:
    """The network in an exported folder, in evaluation mode: (B, C, H, W) normalised images -> logits (B, classes).

    `trainable` gives the form before fusing, to go on training. `features_only` gives the `Backbone` instead: a map per
    stage. Raises SweepError where the folder is not an export, ValueError where both are asked for: maps are of the
    deployed form, whose weights can be trained too.

    >>> net = load("runs/digits/pareto/01-0123456789ab")  # doctest: +SKIP
    >>> logits_BK = net(images_BCHW)  # doctest: +SKIP
    """
    if trainable and features_only:
        raise ValueError("load: trainable and features_only cannot both be asked for; remove one")
    folder = Path(folder)
    path = folder / ("trainable.safetensors" if trainable else "model.safetensors")
    try:
        arch = Architecture.from_dict(yaml.safe_load((folder / "architecture.yaml").read_text()))
        net = MetaMixer(arch, _read_form(path)) if trainable else deployed(arch)
        net.load_state_dict(load_file(path))
    except (OSError, yaml.YAMLError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise SweepError(f"{folder}: must be a folder that `ffnet-search export` wrote, but {reason}") from None
    if features_only:
        assert isinstance(net, Deployed)
        return Backbone(net).eval()
    return net.eval()


def _read_form(path: Path) -> Form:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    scale = metadata["layer_scale"]
    return Form(metadata["branches"], None if scale == "None" else float(scale))


def _write_csv(path: Path, picks: Sequence[ExportedNetwork]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = dict.fromkeys(name for pick in picks for name in pick.hyperparameters)
        writer.writerow(["folder", "key", *picks[0].metrics, *names, "architecture"])
        for pick in picks:
            values = [pick.hyperparameters.get(name, "") for name in names]
            writer.writerow([pick.folder.name, pick.key, *pick.metrics.values(), *values, pick.architecture or ""])


__all__ = ["ExportedNetwork", "export_front", "load"]
