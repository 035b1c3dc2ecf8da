"""Networks trained alone, for the fidelity of a supernet: on the sweep's engine, each kept when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ffnet_search.atomic_write import write_json
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import engine_of
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext, evaluate_all
from ffnet_search.evaluation.fidelity import SPLITS
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import Figures
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import Bar, say
from ffnet_search.run.folder.run_folder import RunFolder
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import Task, find_task

ALONE = "alone.json"
Qualities = dict[str, float]  # split -> quality


def must_be_results(content: object, where: object) -> None:
    """Raise ValueError if plain data are not results: repeat -> key -> split -> quality."""
    if not isinstance(content, dict) or not all(isinstance(networks, dict) for networks in content.values()):
        raise ValueError("it must hold a mapping for each repeat")
    for networks in content.values():
        for qualities in networks.values():
            Figures.read(qualities, where)


class Trainings:
    """Trains networks alone, and keeps what has ended: repeat -> key -> split -> quality, in `alone.json`."""

    def __init__(self, sweep: Sweep, folder: RunFolder) -> None:
        self.sweep, self.folder, self.task = sweep, folder, find_task(sweep.task)
        self.path = sweep.files.fidelity / ALONE
        self.failed: dict[str, str] = {}  # name -> the reason
        try:
            self.results: dict[str, dict[str, Qualities]] = read_json(self.path) if self.path.exists() else {}
            must_be_results(self.results, self.path)
        except (OSError, ValueError) as error:
            raise SweepError(f"{self.path}: cannot be read ({error}); delete it to train again") from None

    def done(self, *repeats: Mapping[str, Architecture]) -> int:
        """The number of trainings that have ended, over all repeats."""
        return sum(
            arch.key in self.results.get(str(repeat), {})
            for repeat, chosen in enumerate(repeats)
            for arch in chosen.values()
        )

    def run(self, repeat: int, networks: Mapping[str, Architecture], bar: Bar) -> dict[str, Qualities]:
        """Train those that have not ended; return name -> split -> quality, without those that failed."""
        from ffnet_search.evaluation.standalone import StandaloneFactory, standalone_sweep

        known = self.results.setdefault(str(repeat), {})
        waiting = {arch.key: name for name, arch in networks.items() if arch.key not in known}
        if waiting:
            sweep = standalone_sweep(self.sweep, repeat, len(waiting))
            factory = StandaloneFactory(sweep, self.sweep.seed)
            engine = engine_of(sweep)
            engine.check(sweep.search)
            context = EngineContext.of_sweep(sweep, factory, _Epochs(bar, self.task, sweep.train.epochs))
            queue = [Configuration(networks[name]) for name in waiting.values()]
            with engine(context) as running:
                for configuration, outcome in evaluate_all(running, queue):
                    self._keep(repeat, configuration.key, waiting[configuration.key], outcome)
                    bar.advance(facts=running.utilisation)
        return {name: known[arch.key] for name, arch in networks.items() if arch.key in known}

    def _keep(self, repeat: int, key: str, name: str, outcome: Ended) -> None:
        if not isinstance(outcome, Candidate):
            self.failed[name] = getattr(outcome, "reason", "it was stopped")
            say(f"fidelity: {name} cannot be trained alone: {self.failed[name]}")
            return
        metrics = (self.task.quality.name, self.task.test_quality)
        self.results[str(repeat)][key] = {
            split: outcome.metrics[metric] for split, metric in zip(SPLITS, metrics, strict=True)
        }
        write_json(self.path, self.results)


@dataclass(frozen=True)
class _Epochs:
    """The pruner of these trainings, which stops none: it shows the epoch of the last report."""

    bar: Bar
    task: Task
    epochs: int

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        quality = self.task.quality
        self.bar.advance(0, f"{key} epoch {epoch} of {self.epochs}, {quality.format(metrics[quality.name])}")
        return True
