"""A call of `gpu.py`: where it works, on what, and what is known by now.

A step is a module beside this one, whose `measure(run)` gives its rows and resumes where it was ended.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ffnet_search.atomic_write import write_text
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace
from gpu_steps.amounts import TINY, TINY_SPACE, Amounts

REPO = Path(__file__).resolve().parents[2]
STEPS = (
    "parity",
    "new_shapes",
    "step",
    "depthwise",
    "latency",
    "supernet",
    "evaluation",
    "front",
    "compile",
)  # in order
KEPT = (  # files of --work that a later call continues from
    "results.json",
    "epochs.json",
    "picks.json",
    "front.json",
    "gpu/supernet.ckpt",
    "gpu/training/last.ckpt",
    "gpu/latency/gpu.json",
)
Rows = list[tuple[str, str]]  # what, figure


class Record:
    """What is known, in a file. `steps`: rows, device, date and seconds of each that has ended. `figures`: by what they
    are, those of steps in progress among them. `failed`: the reason of each step that did not end, but for its time."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text()) if path.exists() else {}
        self.path = path
        self.steps: dict[str, dict[str, Any]] = content.get("steps", {})
        self.figures: dict[str, str] = content.get("figures", {})
        self.failed: dict[str, str] = content.get("failed", {})

    def write(self) -> None:
        content = {"steps": self.steps, "figures": self.figures, "failed": self.failed}
        write_text(self.path, json.dumps(content, indent=1))


@dataclass(frozen=True)
class Run:
    """One call: where, on what, how much."""

    device: torch.device
    tiny: bool
    out: Path
    work: Path
    data: Path | None
    supernet_minutes: float
    retrain_epochs: int
    record: Record

    def figure(self, what: str, measure: Callable[[], str]) -> tuple[str, str]:
        """A row, measured unless it is known; it is on disk before the next one."""
        if what not in self.record.figures:
            self.record.figures[what] = measure()
            self.publish()
        return what, self.record.figures[what]

    @property
    def amounts(self) -> Amounts:
        return TINY if self.tiny else Amounts(retrain_epochs=self.retrain_epochs)

    @property
    def space(self) -> SearchSpace:
        if self.tiny:
            return SearchSpace.model_validate(TINY_SPACE)
        name = "ffnet_digits" if self.data is None else "ffnet_cifar"
        return SearchSpace.from_yaml(REPO / "search_spaces" / f"{name}.yaml")

    def sweep(self, epochs: int) -> Sweep:
        """The sweep of the supernet, and of networks that are retrained with other epochs."""
        cifar = {"name": "cifar10", "path": str(self.data), "augment": {"crop": 4, "flip": True, "cutout": 8}}
        data = {"name": "digits", "augment": {"crop": 1}} if self.data is None else cifar
        content = {
            "name": "gpu",
            "runs": str(self.work),
            "search_space": self.space.model_dump(mode="json"),
            "data": {**data, "batch_size": self.amounts.batch, "calibration": 1024 if not self.tiny else 64},
            "train": {"epochs": epochs, "warmup_epochs": min(3, epochs / 2)},
            "latency": self.section.model_dump(),
        }
        return Sweep.model_validate(content)

    @property
    def section(self) -> LatencySection:
        """How latency is measured on this device."""
        init_args = {"device_type": self.device.type, "mode": self.mode}
        more = {"noisy": True, "min_within_10": 0.0, **self.amounts.latency}
        return LatencySection(name="gpu", backend="torch", init_args=init_args, **more)

    @property
    def mode(self) -> str:
        """How networks are run: small ones need CUDA graphs."""
        return "cuda_graph" if self.is_cuda else "eager"

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def table(self) -> Path:
        return self.sweep(1).files.latency_table(self.section)

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name() if self.is_cuda else f"CPU {platform.machine()}"

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def autocast(self, enabled: bool = True, cached: bool = True) -> torch.autocast:
        """bf16 where `enabled`. `cached`: cast weights are kept within the block, which a CUDA graph must not do."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=cached)

    def publish(self) -> None:
        """Write what is known, its table, and what a later call continues from to --out: a call may be ended from
        outside at any time."""
        record = self.record
        record.write()
        lines = [f"torch {torch.__version__}{'; tiny: the figures measure nothing' if self.tiny else ''}"]
        lines += ["", "| what | figure | device, date |", "|---|---|---|"]
        shown = set[str]()
        for name in STEPS:
            for what, figure in record.steps.get(name, {}).get("rows", []):
                lines.append(f"| {what} | {figure} | {record.steps[name]['device']}, {record.steps[name]['date']} |")
                shown.add(what)
        for what, figure in record.figures.items():
            if what not in shown:
                lines.append(f"| {what} | {figure} | {self.name}, of a step in progress |")
        lines += [f"\nfailed: {name}: {reason}" for name, reason in record.failed.items()]
        write_text(self.out / "table.md", "\n".join(lines) + "\n")
        for kept in KEPT:
            if (self.work / kept).exists():
                shutil.copyfile(self.work / kept, self.out / Path(kept).name)


def restore(work: Path, kept: Path) -> None:
    """Bring what an earlier call has left in its --out to --work, where it is missing."""
    for name in KEPT:
        place, source = work / name, kept / Path(name).name
        if source.exists() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
