"""The origin of a front: the sweep, data, limits, sampler, training, device and versions that it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from ffnet_search.config.binding import searched_fields
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import trial_epochs
from ffnet_search.data.registry import data_title
from ffnet_search.formatting import plural
from ffnet_search.provenance import versions
from ffnet_search.report.data import Run


def origin(run: Run) -> Iterator[tuple[str, object]]:
    """The origin of the front, fact by fact."""
    sweep, search, card = run.sweep, run.sweep.search, run.exported[0].read_card()
    training = card.get("training", {})
    yield "Sweep", f"{sweep.path.name}, seed {sweep.seed}"
    fingerprint = card["data"].get("fingerprint") if "data" in card else training.get("data")
    yield "Data", f"{data_title(sweep.data)}, fingerprint {fingerprint}"
    if run.table is None:
        yield "Git", training.get("git")
    else:
        yield "Search space", f"{sweep.search_space.name}, {plural(sweep.search_space.size, 'architecture')}"
    yield "Objectives", ", ".join(f"{direction} {name}" for name, direction in search.directions.items())
    if run.table is not None:
        limits = (f"{name} {run.metric(name).relation} {limit:g}" for name, limit in search.constraints.items())
        yield "Limits", ", ".join(limits) or "none"
    yield "Sampler", f"{search.sampler.class_path} {dict(search.sampler.init_args)}"
    if run.table is not None:
        yield "Training", _training(sweep)
        setting = run.table.setting
        batch = f"{plural(setting.threads, 'thread')}, batch {setting.batch_size}, {setting.dtype}"
        yield "Latency", f"{setting.backend}, {batch}, {setting.clock}, on {setting.device}, {setting.date}"
    yield "Exported", card.get("date", "")
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())


def _training(sweep: Sweep) -> str:
    names = ", ".join(sweep.search_space.hyperparameters)
    searched = f", but for what was searched ({names})" if names else ""
    epochs = f"{plural(sweep.train.epochs, 'epoch')} of {sweep.train.optimizer}{searched}"
    if sweep.search.warm_start and "train.epochs" not in searched_fields(sweep):
        epochs = f"{epochs}, trials from its weights for {trial_epochs(sweep)}"
    retraining = retraining_of(sweep)
    return f"{epochs}; {f'then each alone: {retraining}' if retraining else 'not retrained'}"
