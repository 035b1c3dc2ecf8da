"""The files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ffnet_search.config.schema import LatencySection

PUBLIC = (  # files of a run that users and scripts read
    "state", "sweep", "training", "supernet", "latency", "study", "candidates", "trials", "pareto", "front_png",
    "report", "artifacts",
)  # fmt: skip


class RunPaths:
    """The names of a run's files. Each is written by one stage and read by later ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / ".lock"
        self.state = folder / "run.json"  # for each stage, the inputs of its output and when it finished
        self.sweep = folder / "sweep.yaml"  # a copy, its search space included
        self.training = folder / "training"  # checkpoints and logs of the supernet's training
        self.supernet = folder / "supernet.ckpt"
        self.latency = folder / "latency"  # one table per device
        self.study = folder / "study.db"
        self.candidates = folder / "candidates.csv"
        self.trials = folder / "trials"  # for each trial that trained a folder: checkpoint, logs, weights
        self.pareto = folder / "pareto"
        self.front_csv = self.pareto / "front.csv"
        self.front_png = folder / "front.png"
        self.report = folder / "report.html"
        self.artifacts = folder / "artifacts"  # files that Optuna Dashboard shows

    @property
    def public(self) -> Mapping[str, Path]:
        """Name -> path of the files that users and scripts read, whether they exist or not."""
        return {name: getattr(self, name) for name in PUBLIC}

    def latency_table(self, section: LatencySection) -> Path:
        """The latency table of a device: by its name, else by backend, threads and batch size."""
        backend = section.backend.rpartition(":")[2]
        name = section.name or f"{backend}-t{section.threads}-b{section.batch_size}"
        return self.latency / f"{name}.json"
