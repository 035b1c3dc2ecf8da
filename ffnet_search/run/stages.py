"""The stages of a run, each defined once: what it reads, writes, depends on and does; and its state in a run's folder.

A stage works from files to files and knows nothing of the others. `pipeline` runs them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ffnet_search.config.binding import current_values
from ffnet_search.config.files import RunPaths
from ffnet_search.config.inputs import digest, export_inputs, profile_inputs, search_inputs, train_inputs
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import engine_of
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.export.formats.registry import formats_of
from ffnet_search.latency.table import LatencyTable
from ffnet_search.progress import say
from ffnet_search.run.data_changes import changes_of, images_of
from ffnet_search.run.folder.changes import Change, differences
from ffnet_search.run.folder.run_folder import EPOCHS, Records, read_records
from ffnet_search.run.latency_tables import cost_model, refuse_stale_tables


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    `is_needed`: whether a sweep has the stage at all. `reads`: the stages whose outputs it reads. `outputs`: the files
    that later stages or users read; it is done only where all exist. `leftovers`: all that it may leave, unfinished
    work included. `run` returns how much it made where a limit of time left it short of what the sweep says. `inputs`:
    all that its output depends on, as plain data. `amounts`: how much is wanted; where more is, it resumes.
    `only_exact`: a smaller amount than exists also needs other outputs. `packages`: the large ones that it uses, which
    are imported before it runs: Ctrl-C breaks no import."""

    name: str
    run: Callable[[Sweep], Mapping[str, int] | None]
    inputs: Callable[[Sweep], dict[str, Any]]
    outputs: Callable[[Sweep], list[Path]]
    leftovers: Callable[[RunPaths], list[Path]]
    reads: tuple[str, ...] = ()
    is_needed: Callable[[Sweep], bool] = lambda sweep: True
    amounts: Callable[[Sweep], dict[str, int]] = lambda sweep: {}
    only_exact: bool = False
    packages: tuple[str, ...] = ("torch", "torchmetrics", "lightning")

    def digest(self, sweep: Sweep) -> str:
        """16 hexadecimal digits of the stage's inputs."""
        return digest(self.inputs(sweep))

    def remains(self, files: RunPaths) -> list[Path]:
        """The stage's files in a run's folder: SQLite's journals and half-written files are named after theirs."""
        return [path for whole in self.leftovers(files) for path in sorted(whole.parent.glob(f"{whole.name}*"))]


class StageState(str, Enum):
    """The state of a stage in a run's folder."""

    DONE = "done"
    PENDING = "pending"  # never begun
    INCOMPLETE = "incomplete"  # interrupted, or more is wanted, or an input was made again: it resumes
    CHANGED = "changed"  # its output is of another sweep


@dataclass(frozen=True)
class StageStatus:
    """The state of a stage. `changes`: the fields of the sweep that differ where the state is CHANGED, and the amounts
    that do where a finished stage is INCOMPLETE."""

    state: StageState
    changes: tuple[Change, ...] = ()


def status(stage: Stage, sweep: Sweep, records: Records) -> StageStatus:
    """The state of a stage: done where its outputs exist, from the same inputs, as much as wanted, and up to date."""
    record = records.get(stage.name)
    if record is None:
        return StageStatus(StageState.PENDING)
    changes = changes_of(record, stage.inputs(sweep))
    if changes is not None:
        return StageStatus(StageState.CHANGED, changes)
    wanted = stage.amounts(sweep)
    if stage.only_exact:
        enough = record.amounts == wanted
    else:
        enough = all(record.amounts.get(name, 0) >= amount for name, amount in wanted.items())
    has_outputs = all(path.exists() for path in stage.outputs(sweep))
    if record.finished and not enough:
        return StageStatus(StageState.INCOMPLETE, tuple(differences(record.amounts, wanted)))
    done = record.finished and has_outputs and not is_outdated(stage, records)
    return StageStatus(StageState.DONE if done else StageState.INCOMPLETE)


def is_outdated(stage: Stage, records: Records) -> bool:
    """True if a finished stage reads an output that was made after it."""
    if stage.name not in records or not records[stage.name].finished:
        return False
    read = (records[name].number for name in stage.reads if name in records and records[name].finished)
    return records[stage.name].number < max(read, default=0)


def plan(sweep: Sweep) -> dict[str, StageStatus]:
    """The state of each stage of the sweep, in running order. Raises SweepError for a record that cannot be read."""
    records = read_records(sweep.files)
    return {stage.name: status(stage, sweep, records) for stage in stages_of(sweep)}


def stages_of(sweep: Sweep) -> list[Stage]:
    """The stages that the sweep needs, in running order."""
    return [stage for stage in STAGES.values() if stage.is_needed(sweep)]


def profile_device(sweep: Sweep, device: LatencySection) -> None:
    """Measure the latency table of one device, where it is missing. Raises SweepError for a table of other settings."""
    from ffnet_search.latency.build import profile
    from ffnet_search.latency.ray_bench import make_bench

    path = sweep.files.latency_table(device)
    if not path.exists():
        profile(sweep.search_space, device, path, seed=sweep.seed, make_bench=make_bench)
        return
    setting = LatencyTable.load(path).setting
    wanted = device.model_dump(include={"backend", "threads", "batch_size", "precision"})
    measured = {"backend": setting.backend, "threads": setting.threads, "batch_size": setting.batch_size}
    measured["precision"] = setting.dtype
    if measured != wanted:
        raise SweepError(
            f"{path}: must be of {wanted}, as latency says, but is of {measured}; move it away, or rename the device"
        )
    say(f"profile: {path} exists")


def _profile(sweep: Sweep) -> None:
    for device in sweep.searched_devices:
        profile_device(sweep, device)


def _train(sweep: Sweep) -> Mapping[str, int]:
    from ffnet_search.models.saved import read_epochs

    if engine_of(sweep).trains_on_cluster:
        from ffnet_search.training.ray_train import train_on_cluster as train
    else:
        from ffnet_search.training.ranks import train_on_ranks as train

    train(sweep)
    epochs = read_epochs(sweep.files.supernet) or sweep.train.epochs
    return {EPOCHS: max(1, round(epochs))} if epochs < sweep.train.epochs else {}


def _search(sweep: Sweep) -> None:
    from ffnet_search.evaluation.factory import EvaluatorFactory
    from ffnet_search.run.reuse import adopt_earlier
    from ffnet_search.search.loop import run_search
    from ffnet_search.search.optimizer import Optimizer
    from ffnet_search.search.problem import SearchProblem
    from ffnet_search.search.storage.search_storage import open_storage
    from ffnet_search.search.trial_loggers import trial_loggers

    refuse_stale_tables(sweep)
    space, section, files = sweep.search_space, sweep.search, sweep.files
    costs = cost_model(sweep) if space.is_elastic else None
    problem = SearchProblem(space, section, costs, sweep.seed, current_values(sweep))
    digest, engine = _study_digest(sweep), engine_of(sweep)
    here = engine.evaluates_here
    resumable = here or section.evaluator == "train"
    opened = open_storage(problem, files.study, files.candidates, digest=digest, resumable=resumable, counts=here)
    with opened as storage:
        optimizer = Optimizer(problem, storage)
        context = EngineContext.of_sweep(sweep, EvaluatorFactory(sweep), optimizer.pruner)
        adopt_earlier(optimizer, sweep, STAGES["search"].inputs(sweep))
        run_search(optimizer, engine(context), storage, trial_loggers(section.loggers, files.folder))


def _export(sweep: Sweep) -> None:
    from ffnet_search.export.formats.write import export_format
    from ffnet_search.export.front import export_front
    from ffnet_search.export.yardstick.measure import measure_yardstick
    from ffnet_search.report.page import write_report

    refuse_stale_tables(sweep)
    export_front(sweep)
    for name in formats_of(sweep):
        export_format(sweep, name)
    if sweep.report.yardstick and sweep.search_space.is_elastic and sweep.module is None:
        measure_yardstick(sweep)
    write_report(sweep)


def _search_amounts(sweep: Sweep) -> dict[str, int]:
    minutes = sweep.search.minutes
    return {"trials": sweep.search.trials} | ({} if minutes is None else {"minutes": math.ceil(minutes)})


def _train_amounts(sweep: Sweep) -> dict[str, int]:
    return {} if sweep.train.minutes is None else {"minutes": math.ceil(sweep.train.minutes)}


def _export_amounts(sweep: Sweep) -> dict[str, int]:
    retraining = retraining_of(sweep)
    retrained = {} if retraining is None else {"retrained": retraining.candidates}
    formats = {f"as {name}": sweep.export.top for name in sweep.export.formats}
    folds = {"folds": sweep.export.folds} if sweep.export.folds else {}
    return {"trials": sweep.search.trials, "top": sweep.export.top, **retrained, **folds, **formats}


def _export_leftovers(files: RunPaths) -> list[Path]:
    return [files.retrained, files.folds, files.pareto, files.yardstick, files.front_png, files.report]


def _study_digest(sweep: Sweep) -> str:
    """16 hexadecimal digits of all that a candidate's metrics depend on: inputs, latency tables and weights."""
    content = hashlib.sha256(STAGES["search"].digest(sweep).encode())
    for name in STAGES["search"].reads:
        if not STAGES[name].is_needed(sweep):
            continue
        for path in STAGES[name].outputs(sweep):
            try:
                content.update(path.read_bytes())
            except OSError as error:
                raise SweepError(f"{path}: the search needs it, but it cannot be read: {error.strerror}") from None
    return content.hexdigest()[:16]


STAGES: Mapping[str, Stage] = {  # in running order: a budget that no network keeps is refused before training
    stage.name: stage
    for stage in (
        Stage(
            name="profile",
            run=_profile,
            inputs=profile_inputs,
            outputs=lambda sweep: [sweep.files.latency_table(device) for device in sweep.searched_devices],
            leftovers=lambda files: [files.latency],
            is_needed=lambda sweep: sweep.search_space.is_elastic,
            packages=("torch", "scipy.stats", "onnxruntime", "onnx"),
        ),
        Stage(
            name="train",
            run=_train,
            inputs=lambda sweep: {**train_inputs(sweep), **images_of(sweep)},
            outputs=lambda sweep: [sweep.files.supernet],
            leftovers=lambda files: [files.supernet, files.training],
            amounts=_train_amounts,
            is_needed=lambda sweep: sweep.uses_supernet,
        ),
        Stage(
            name="search",
            run=_search,
            reads=("profile", "train"),
            inputs=lambda sweep: {**search_inputs(sweep), **images_of(sweep)},
            outputs=lambda sweep: [sweep.files.study],
            leftovers=lambda files: [files.study, files.candidates, files.trials],
            amounts=_search_amounts,
            packages=("torch", "torchmetrics", "lightning", "optuna"),
        ),
        Stage(
            name="export",
            run=_export,
            reads=("profile", "train", "search"),
            inputs=lambda sweep: {**export_inputs(sweep), **images_of(sweep)},
            outputs=lambda sweep: [sweep.files.front_csv, sweep.files.report],
            leftovers=_export_leftovers,
            amounts=_export_amounts,
            only_exact=True,  # the report shows the whole study, the front so many networks
        ),
    )
}
