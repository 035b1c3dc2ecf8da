"""The metrics of the networks of a run that were retrained, exported or not: read without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ffnet_search.config.files import RunPaths
from ffnet_search.config.retraining import retrained_values
from ffnet_search.config.sweep import Sweep
from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import Figures
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration

RECORD = "retrained.json"  # in the folder of each network that was retrained


def retrained_configuration(sweep: Sweep, candidate: Candidate) -> Configuration:
    """The configuration that is retrained for a candidate: without the search's epochs, at its own rate."""
    return Configuration(candidate.network, retrained_values(sweep, candidate.final_hyperparameters))


def retrained_metrics(sweep: Sweep, candidates: Iterable[Candidate]) -> dict[str, Mapping[str, float]]:
    """Key of a candidate -> its metrics after the retraining, of those that were retrained."""
    folders = [RunPaths(folder).trials for folder in sweep.files.retrained.glob("*")]
    files = {path.parent.name: path for folder in folders for path in folder.glob(f"*/{RECORD}")}
    found: dict[str, Mapping[str, float]] = {}
    for candidate in candidates if files else ():
        path = files.get(retrained_configuration(sweep, candidate).key)
        if path is None:
            continue
        try:
            found[candidate.key] = Figures.read(read_json(path)["metrics"], path)
        except (OSError, ValueError, KeyError, TypeError):  # the next export says what is wrong with it
            continue
    return found
