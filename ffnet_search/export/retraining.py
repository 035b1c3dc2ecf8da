"""The retraining of picks before the export, as evaluations of the sweep's engine.

runs/NAME/retrained/DIGEST/   trials/KEY/: weights.ckpt, retrained.json (its metrics), logs; while it trains last.ckpt

A network that was retrained before with the same inputs and supernet is read again, an interrupted one resumes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ffnet_search import atomic_write
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.files import RunPaths
from ffnet_search.config.inputs import digest, retrain_inputs
from ffnet_search.config.retraining import Retraining
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import find_engine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext, evaluate_all
from ffnet_search.evaluation.factory import RetrainerFactory
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.evaluation.retrained import Retrained, retraining_sweep
from ffnet_search.evaluation.trained import WEIGHTS
from ffnet_search.export.retrained_record import RECORD, retrained_configuration
from ffnet_search.metrics import Metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import Bar, progress, say
from ffnet_search.space.hyperparameters import Configuration


def retrain(sweep: Sweep, candidates: Sequence[Candidate], retraining: Retraining) -> dict[str, Retrained]:
    """Retrain the candidates, the largest first; return key -> retrained network, without those that failed.

    Raises SweepError for a user error, and where the engine cannot work."""
    folder = sweep.files.retrained / weights_digest(sweep)[:12]
    for other in sweep.files.retrained.glob("*"):
        if other != folder:  # of another supernet or recipe: nothing reads it again
            shutil.rmtree(other)
    trials = RunPaths(folder).trials
    largest_first = sorted(candidates, key=lambda one: -one.network.macs_m)
    # By the key of what is trained, without the search's epochs: two candidates may be retrained as one.
    wanted = {one.key: one for one in (retrained_configuration(sweep, candidate) for candidate in largest_first)}
    found = {key: stored for key, one in wanted.items() if (stored := _read(trials / key, one)) is not None}
    waiting = [one for key, one in wanted.items() if key not in found]
    say(f"retrain: {len(wanted)} networks, {retraining}; {len(found)} of them were retrained before")
    if waiting:
        with progress("retrain", retraining.epochs * len(waiting), "epochs") as bar:
            for key, ended in _evaluate(sweep, folder, waiting, _Reports(bar, sweep.quality, retraining)):
                if isinstance(ended, Retrained):
                    _write(trials / key, ended)
                    found[key] = ended
                else:
                    say(f"retrain: {key} failed, and its weights stay: {getattr(ended, 'reason', 'it was stopped')}")
    keys = {candidate.key: retrained_configuration(sweep, candidate).key for candidate in candidates}
    return {candidate: found[key] for candidate, key in keys.items() if key in found}


def weights_digest(sweep: Sweep) -> str:
    """The digest of all that a retrained network depends on, but for its configuration."""
    inputs = retrain_inputs(sweep)
    if sweep.uses_supernet:
        inputs["supernet"] = hashlib.sha256(sweep.files.supernet.read_bytes()).hexdigest()
    return digest(inputs)


def _evaluate(
    sweep: Sweep, folder: Path, waiting: Sequence[Configuration], reports: _Reports
) -> Iterator[tuple[str, Ended]]:
    """Retrain on the engine; yield the key and outcome of what ends, in the order in which it ends."""
    section, code = retraining_sweep(sweep, folder).search, user_code(sweep.model_dump(mode="json"))
    context = EngineContext(RetrainerFactory(sweep, folder), section, reports, folder, sweep.search_space, code)
    with find_engine(section)(context) as engine:
        for configuration, ended in evaluate_all(engine, waiting):
            reports.end(configuration.key, engine.utilisation)
            yield configuration.key, ended


class _Reports:
    """The pruner of a retraining: it stops nothing, and shows the epochs of all networks on one bar."""

    def __init__(self, bar: Bar, quality: Metric, retraining: Retraining) -> None:
        self._bar, self._quality, self._epochs = bar, quality, retraining.epochs
        self._done: dict[str, int] = {}

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Show one more epoch. Returns True. See `outcome.Pruner`."""
        self._advance(key, epoch, {key: self._quality.format(metrics[self._quality.name])})
        return True

    def end(self, key: str, facts: Mapping[str, str]) -> None:
        """Show the end of a network."""
        self._advance(key, self._epochs, facts)

    def _advance(self, key: str, epoch: int, facts: Mapping[str, str]) -> None:
        self._bar.advance(max(0, epoch - self._done.get(key, 0)), facts=facts)
        self._done[key] = max(epoch, self._done.get(key, 0))


def _write(folder: Path, retrained: Retrained) -> None:
    """Keep a retrained network: the weights first, so that a record says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write.write_bytes(folder / WEIGHTS, retrained.weights)
    record = {"metrics": dict(retrained.metrics), "record": dict(retrained.record)}
    atomic_write.write_text(folder / RECORD, json.dumps(record, indent=1))


def _read(folder: Path, configuration: Configuration) -> Retrained | None:
    """The network that was retrained in a folder; None where none was."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        metrics, how = record["metrics"], record["record"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(f"{folder}: cannot be read as a retrained network ({error}); delete it") from None
    return Retrained(configuration.architecture, metrics, configuration.hyperparameters, how, weights=weights)
