"""Networks trained alone before the export, on the sweep's engine: what is done is kept in a folder, and read again.

FOLDER/trials/KEY/   retrained.json, and the file that the network is trained for; while it trains last.ckpt
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search import atomic_write
from ffnet_search.config.files import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import engine_of
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext, evaluate_all
from ffnet_search.evaluation.outcome import Evaluate
from ffnet_search.evaluation.retrained import Retrained
from ffnet_search.export.retraining.record import RECORD
from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import Figures, Metric
from ffnet_search.progress import Bar, say
from ffnet_search.space.hyperparameters import Configuration


@dataclass(frozen=True)
class Training:
    """A training of several networks, each alone: `factory` makes the evaluator, `sweep` is the one that it trains by,
    in `folder`, each network for `epochs`. `file`: what each is trained for. `name` begins the lines about it, `failed`
    ends that on a failure."""

    name: str
    folder: Path
    factory: Callable[[], Evaluate]
    sweep: Sweep
    epochs: Callable[[Configuration], int]
    file: str
    failed: str

    def total(self, configurations: Iterable[Configuration]) -> int:
        """The epochs of several networks."""
        return sum(map(self.epochs, configurations))

    def place(self, key: str) -> Path:
        """The folder of a network."""
        return RunPaths(self.folder).trials / key

    def stored(self, wanted: Mapping[str, Configuration]) -> tuple[dict[str, Retrained], list[Configuration]]:
        """The networks that were trained before, by key, and the candidates that were not. Raises SweepError if one
        cannot be read."""
        read = {key: _read(self.place(key), one, self.file) for key, one in wanted.items()}
        found = {key: one for key, one in read.items() if one is not None}
        return found, [one for key, one in wanted.items() if key not in found]


def remove_others(folder: Path) -> None:
    """Remove the folders beside `folder`: trainings by another recipe or supernet, which nothing reads again."""
    for other in folder.parent.glob("*"):
        if other != folder and other.is_dir():
            shutil.rmtree(other)


def train_all(training: Training, waiting: Sequence[Configuration], bar: Bar) -> dict[str, Retrained]:
    """Train what waits on the engine of the sweep; return key -> network, without those that failed.

    Raises SweepError for a user error, and where the engine cannot work."""
    sweep, found = training.sweep, dict[str, Retrained]()
    reports = _Reports(bar, sweep.quality)
    with engine_of(sweep)(EngineContext.of_sweep(sweep, training.factory, reports)) as engine:
        for configuration, ended in evaluate_all(engine, waiting):
            key = configuration.key
            reports.end(key, training.epochs(configuration), engine.utilisation)
            if isinstance(ended, Retrained):
                _write(training.place(key), ended, training.file)
                found[key] = ended
            else:
                reason = getattr(ended, "reason", "it was stopped")
                say(f"{training.name}: {key} failed, and {training.failed}: {reason}")
    return found


class _Reports:
    """The pruner of these trainings: it stops nothing, and shows the epochs of all networks on one bar."""

    def __init__(self, bar: Bar, quality: Metric) -> None:
        self._bar, self._quality = bar, quality
        self._done: dict[str, int] = {}

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Show one more epoch. Returns True. See `outcome.Pruner`."""
        self._advance(key, epoch, {key: self._quality.format(metrics[self._quality.name])})
        return True

    def end(self, key: str, epochs: int, facts: Mapping[str, str]) -> None:
        """Show the end of a network that trains for so many epochs."""
        self._advance(key, epochs, facts)

    def _advance(self, key: str, epoch: int, facts: Mapping[str, str]) -> None:
        self._bar.advance(max(0, epoch - self._done.get(key, 0)), facts=facts)
        self._done[key] = max(epoch, self._done.get(key, 0))


def _write(folder: Path, retrained: Retrained, file: str) -> None:
    """Keep a trained network: its file first, so that a record says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write.write_bytes(folder / file, retrained.content)
    record = {"metrics": dict(retrained.metrics), "record": dict(retrained.record)}
    atomic_write.write_json(folder / RECORD, record)


def _read(folder: Path, configuration: Configuration, file: str) -> Retrained | None:
    """The network that was trained in a folder; None if none was."""
    try:
        record = read_json(folder / RECORD)
        content = (folder / file).read_bytes()
        metrics, how = Figures.read(record["metrics"], folder / RECORD), record["record"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(f"{folder}: cannot be read as a retrained network ({error}); delete it") from None
    return Retrained(configuration.architecture, metrics, configuration.hyperparameters, how, content=content)
