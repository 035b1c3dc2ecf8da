"""Where the files of a run are."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.config.schema import LatencySection


class RunPaths:
    """The names of a run's files. Each is written by one stage and read by later ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / ".lock"
        self.state = folder / "run.json"  # what each stage was made from, and when
        self.sweep = folder / "sweep.yaml"  # a copy, its search space included
        self.training = folder / "training"  # checkpoints and logs of the supernet under way
        self.supernet = folder / "supernet.ckpt"
        self.latency = folder / "latency"  # one table per device
        self.study = folder / "study.db"
        self.candidates = folder / "candidates.csv"
        self.trials = folder / "trials"  # a folder for each that trained: checkpoint, logs, weights
        self.pareto = folder / "pareto"
        self.front_csv = self.pareto / "front.csv"
        self.front_png = folder / "front.png"
        self.report = folder / "report.html"
        self.artifacts = folder / "artifacts"  # that Optuna Dashboard shows

    def latency_table(self, section: LatencySection) -> Path:
        name = section.name or f"{section.backend}-t{section.threads}-b{section.batch_size}"
        return self.latency / f"{name}.json"
