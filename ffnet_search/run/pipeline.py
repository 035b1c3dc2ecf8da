"""All stages of a sweep in order: each skips what is done and unchanged, and goes on where it was killed.

A stage is done when its output is there, its inputs (`Sweep.inputs`) are those it was made from, as much was made as is
wanted (`Sweep.amounts`), and nothing that it reads was made after it. The stages themselves know nothing of all this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import STAGES, Sweep
from ffnet_search.engines.registry import find_engine
from ffnet_search.errors import SweepError, error_context
from ffnet_search.evaluation.engine import Engine
from ffnet_search.latency.table import LatencyTable
from ffnet_search.progress import clock, say
from ffnet_search.run.changes import Change, changes
from ffnet_search.run.folder import RunFolder, StageRecord, open_run
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.feasibility import CostModel, check_budget
from ffnet_search.space.parts import Part

if TYPE_CHECKING:
    from ffnet_search.export.exported import ExportedNetwork

READS: Mapping[str, tuple[str, ...]] = {
    "profile": (),
    "train": (),
    "search": ("profile", "train"),
    "export": ("profile", "train", "search"),
}


def run(sweep: Sweep, *, fresh: bool = False, stages: Collection[str] = STAGES) -> list[ExportedNetwork]:
    """Runs `stages`, skipping what is done; returns the exported front, empty where nothing was exported.

    `fresh` moves what a changed sweep invalidates to `previous-DATE` in the run's folder, and makes it anew. Raises
    SweepError where the sweep changed without it, where a stage is missing that is read but not asked for, and where
    the folder is in use, foreign or cannot be written.
    """
    with open_run(sweep) as folder:
        _refuse_foreign(sweep, stages)
        _agree(sweep, folder, fresh, stages)
        if "search" in stages and not is_done(sweep, folder, "search"):
            _engine(sweep).check(sweep.search)  # before hours are spent on what comes before the search
        for number, stage in enumerate(sweep.stages, 1):
            if stage in stages:
                _require(sweep, folder, stage)
                _run_stage(sweep, folder, stage, f"{stage} ({number} of {len(sweep.stages)})")
                if stage == "profile":
                    for device in sweep.devices:  # those that the search does not ask for: for `pick` and the report
                        if device not in sweep.searched:
                            _profile_on(sweep, device)
            if stage == "profile" and "search" in stages:
                refuse_impossible(sweep)  # before hours are spent on training
                if not is_done(sweep, folder, "search"):
                    _refuse_inaccurate(sweep)
    return read_front(sweep.files)


def _refuse_foreign(sweep: Sweep, stages: Collection[str]) -> None:
    if not set(stages) & set(sweep.stages):
        raise SweepError(
            f"{sweep.path}: has no stage {_words(list(stages))}, since its search needs {_words(list(sweep.stages))} "
            "alone (search.evaluator, search.warm_start and search_space decide); run one of those"
        )


def profile_device(sweep: Sweep, name: str) -> Path:
    """The table of one of the sweep's devices, made where it is missing; whatever was searched stays as it is."""
    device = sweep.on_device(name).latency
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
        folder.claim()
        _profile_on(sweep, device)
    return sweep.files.latency_table(device)


def _profile(sweep: Sweep) -> None:
    for device in sweep.searched:
        _profile_on(sweep, device)


def _profile_on(sweep: Sweep, device: LatencySection) -> None:
    """The table of one device, where it is not there. Raises SweepError where it is, but of something else."""
    from ffnet_search.latency.build import profile
    from ffnet_search.latency.ray_bench import make_bench

    path = sweep.files.latency_table(device)
    if not path.exists():
        profile(sweep.search_space, device, path, seed=sweep.seed, make_bench=make_bench)
        return
    at = LatencyTable.load(path).setting
    found = {"backend": at.backend, "threads": at.threads, "batch_size": at.batch_size}
    if found != (wanted := {name: getattr(device, name) for name in found}):
        raise SweepError(
            f"{path}: must be of {wanted}, as latency says, but is of {found}; move it away, or name the device anew"
        )
    say(f"profile: {path} is there")


def _train(sweep: Sweep) -> None:
    if _engine(sweep).trains_on_cluster:
        from ffnet_search.training.ray_train import train_on_cluster as train
    else:
        from ffnet_search.training.ranks import train_on_ranks as train

    train(sweep)


def _search(sweep: Sweep) -> None:
    from ffnet_search.run.search import run_search

    _refuse_stale(sweep)
    run_search(sweep)


def _export(sweep: Sweep) -> None:
    from ffnet_search.export.front import export_front
    from ffnet_search.report.write import write_report

    _refuse_stale(sweep)
    export_front(sweep)
    write_report(sweep)


def _refuse_inaccurate(sweep: Sweep) -> None:
    from ffnet_search.latency.validation import refuse_inaccurate

    for device in sweep.searched:
        path = sweep.files.latency_table(device)
        if path.exists():  # where it is not, the search says so
            refuse_inaccurate(LatencyTable.load(path), device, path)


def _refuse_stale(sweep: Sweep) -> None:
    if "profile" not in sweep.stages:
        return
    from ffnet_search.latency.ray_bench import make_bench
    from ffnet_search.latency.validation import refuse_stale

    for device in sweep.searched:
        path = sweep.files.latency_table(device)
        refuse_stale(LatencyTable.load(path), device, path, make_bench)


RUN: Mapping[str, Callable[[Sweep], None]] = {
    "profile": _profile,
    "train": _train,
    "search": _search,
    "export": _export,
}


def outputs(sweep: Sweep, stage: str) -> list[Path]:
    """What a stage writes and later ones or people read: it is done only where all of it is there."""
    files = sweep.files
    return {
        "profile": [sweep.files.latency_table(device) for device in sweep.searched],
        "train": [files.supernet],
        "search": [files.study],
        "export": [files.front_csv, files.report],
    }[stage]


def leftovers(files: RunPaths, stage: str) -> list[Path]:
    """All that a stage leaves in the run's folder, unfinished work included."""
    wholes = {
        "profile": [files.latency],
        "train": [files.supernet, files.training],
        "search": [files.study, files.candidates, files.trials],
        "export": [files.pareto, files.front_png, files.report],
    }[stage]
    # SQLite keeps its journal beside the study, and files are written beside their names first.
    return [path for whole in wholes for path in sorted(whole.parent.glob(f"{whole.name}*"))]


def is_done(sweep: Sweep, folder: RunFolder, stage: str) -> bool:
    """See the head of this file."""
    record = folder.records.get(stage)
    if record is None or not record.finished or record.digest != sweep.digest(stage):
        return False
    enough = all(record.amounts.get(name, 0) >= amount for name, amount in sweep.amounts(stage).items())
    if stage == "export":  # shows the whole study and so many picks: fewer are other ones
        enough = record.amounts == sweep.amounts(stage)
    return enough and not _is_older(folder, stage) and all(path.exists() for path in outputs(sweep, stage))


def _is_older(folder: RunFolder, stage: str) -> bool:
    """Whether a finished stage reads what was made after it."""
    record = folder.records.get(stage)
    read = [folder.records[other].finished for other in READS[stage] if other in folder.records]
    return record is not None and "" < record.finished < max(read, default="")


def plan(sweep: Sweep) -> dict[str, str]:
    """What `run` would do now: stage -> "done", "to do", "goes on" or "changed: ..."."""
    folder = RunFolder(sweep.files)
    words = {}
    for stage in sweep.stages:
        record = folder.records.get(stage)
        if record is None:
            words[stage] = "to do"
        elif record.digest != sweep.digest(stage):
            words[stage] = f"changed: {', '.join(map(str, changes(record.inputs, sweep.inputs(stage))))}"
        else:
            words[stage] = "done" if is_done(sweep, folder, stage) else "goes on"
    return words


def _run_stage(sweep: Sweep, folder: RunFolder, stage: str, label: str) -> None:
    if is_done(sweep, folder, stage):
        say(f"{label}: done before and unchanged, made {folder.records[stage].finished[:16].replace('T', ' ')} UTC")
        return
    say(label)
    under_way = StageRecord(sweep.digest(stage), sweep.inputs(stage), sweep.amounts(stage))
    folder.write(stage, under_way)
    start = time.monotonic()
    RUN[stage](sweep)
    folder.write(stage, replace(under_way, finished=datetime.now(timezone.utc).isoformat(timespec="microseconds")))
    say(f"{label}: took {clock(time.monotonic() - start)}")


def _require(sweep: Sweep, folder: RunFolder, stage: str) -> None:
    for other in (other for other in READS[stage] if other in sweep.stages):
        if not is_done(sweep, folder, other):
            raise SweepError(
                f"{folder.path}: {stage} needs {other}, which is not done; run `ffnet-search {other} {sweep.path}` "
                f"first, or `ffnet-search run {sweep.path}` for all stages"
            )


class _Unmeasured:
    """Stands for a latency table that is not there yet: no limit on latency is known to be impossible."""

    def predict_ms(self, arch: Architecture) -> float:
        return 0.0

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return 0.0


def refuse_impossible(sweep: Sweep) -> None:
    """Raises SweepError where no architecture of the space keeps a limit; on latency once its table is there."""

    def table(device: LatencySection) -> LatencyTable | _Unmeasured:
        path = sweep.files.latency_table(device)
        return LatencyTable.load(path) if path.exists() else _Unmeasured()

    devices = {name: table(sweep.on_device(name).latency) for name in sweep.search.devices}
    check_budget(sweep, CostModel(table(sweep.latency), devices))


def _engine(sweep: Sweep) -> type[Engine]:
    with error_context(sweep.path):
        return find_engine(sweep.search)


def _agree(sweep: Sweep, folder: RunFolder, fresh: bool, stages: Collection[str]) -> None:
    """Nothing that the sweep invalidates is left in place: the user said `fresh`, or gets the choice."""
    matters = [stage for stage in STAGES if stage in stages or any(stage in READS[other] for other in stages)]
    stale = [s for s in STAGES if s in folder.records and folder.records[s].digest != sweep.digest(s)]
    if fresh and "search" not in stale and _is_older(folder, "search"):
        stale += ["search", "export"]  # of a supernet or a latency table that was made anew by hand
    if not any(stage in stale for stage in matters):
        folder.write_sweep(sweep)
        return
    if fresh:
        folder.set_aside({stage: leftovers(sweep.files, stage) for stage in stale})
        folder.write_sweep(sweep)
        return
    found: dict[str, Change] = {}
    for stage in stale:
        found |= {change.field: change for change in changes(folder.records[stage].inputs, sweep.inputs(stage))}
    several = len(found) > 1
    raise SweepError(
        f"{sweep.path}: {', '.join(map(str, found.values()))} {'have' if several else 'has'} changed since "
        f"{folder.path} was made, which invalidates {_words(stale)}; add --fresh to make that anew (the old files move "
        f"to {folder.path}/previous-DATE), or take another name with --name"
    )


def read_front(files: RunPaths) -> list[ExportedNetwork]:
    """The exported front, read from the run's folder; empty where nothing was exported."""
    if not files.front_csv.exists():
        return []
    from ffnet_search.export.exported import read_exported

    return read_exported(files)


def _words(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
