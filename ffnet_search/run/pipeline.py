"""Run the stages of a sweep in order: skip what is done and unchanged, resume what was interrupted."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ffnet_search.config.commands import command_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.registry import engine_of
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.formatting import listed, plural
from ffnet_search.progress import clock, say, signs_of_life
from ffnet_search.run.check import check_before_profile, check_classes, check_limits
from ffnet_search.run.data_changes import describe_changes, list_again, listed_once, old_values, say_remarks
from ffnet_search.run.folder.changes import Change
from ffnet_search.run.folder.code_changes import changed_code, code_of
from ffnet_search.run.folder.run_folder import RunFolder, StageRecord, open_run
from ffnet_search.run.interrupt import import_whole
from ffnet_search.run.latency_tables import check_tables
from ffnet_search.run.reuse import continue_training
from ffnet_search.run.shared_time import RunTime, say_trained
from ffnet_search.run.stages import (
    STAGES,
    Stage,
    StageState,
    is_outdated,
    profile_device,
    stages_of,
    status,
)


def run_sweep(
    sweep: Sweep, *, fresh: bool = False, stages: Collection[str] = tuple(STAGES), minutes: float | None = None
) -> list[ExportedNetwork]:
    """Run `stages`, except those that are done; a done export is made again where nothing else is asked for. Return the
    exported front, empty if nothing was exported.

    `minutes`: the time for all of them; training, search and retraining end early, with the best so far, to keep it.
    `fresh` moves what a changed sweep invalidates to `previous-DATE` in the run's folder, and makes it again. Raises
    SweepError if the sweep changed and `fresh` is False, if a stage needs another that is neither done nor in
    `stages`, and if the folder is in use, of something else, or cannot be written."""
    run_time = RunTime.of(minutes)
    with open_run(sweep) as folder, listed_once():
        _refuse_unneeded(sweep, stages)
        wanted = [stage.name for stage in stages_of(sweep) if stage.name in stages]
        check_classes(sweep, [name for name in wanted if not _is_done(name, sweep, folder)])
        _settle_changes(sweep, folder, fresh, stages)
        pending = {name for name in wanted if not _is_done(name, sweep, folder)}
        if "search" in pending:  # before any long stage: an engine may lack something, such as a cluster
            engine_of(sweep).check(sweep.search)
        _refuse_start(sweep, folder, stages)
        if pending & {"train", "search"}:
            say_remarks(sweep)
            if "profile" in pending:  # which takes minutes; without it the data are read at once
                check_before_profile(sweep)
        needed = stages_of(sweep)
        for number, stage in enumerate(needed, 1):
            if stage.name in stages:
                list_again()
                found = _found_so_far(sweep, folder) if stage.name == "export" else 0
                _refuse_unread(stage, sweep, folder, found)
                label, again = f"{stage.name} ({number} of {len(needed)})", tuple(stages) == ("export",)
                if _is_done(stage.name, sweep, folder) and not again:
                    _say_done(label, folder.records[stage.name])
                else:
                    to_come = [one.name for one in needed[number - 1 :] if one.name in stages]
                    trained = say_trained(sweep, stage.name) if stage.name == "export" else sweep
                    _run_stage(stage, sweep, folder, label, run_time.limited(trained, to_come), found)
            if stage.name == "profile" and "profile" in stages:
                _profile_other_devices(sweep)
            if stage.name == "profile" and "search" in pending:  # before hours are spent on training
                from ffnet_search.latency.validation import refuse_inaccurate

                check_limits(sweep)
                check_tables(sweep, refuse_inaccurate)
    return read_exported(sweep.files.pareto)


def profile_named_device(sweep: Sweep, name: str) -> Path:
    """Measure the latency table of one of the sweep's devices, where it is missing; a search stays as it is.

    Returns the table's path. Raises SweepError for an unknown device."""
    device = sweep.device(name)
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
        folder.write_records(folder.records)
        profile_device(sweep, device)
    return sweep.files.latency_table(device)


def _refuse_start(sweep: Sweep, folder: RunFolder, names: Collection[str]) -> None:
    """Load the weights that training starts from, before any long stage. Raises SweepError if that fails."""
    trains = "train" if sweep.uses_supernet else "search"
    if sweep.train.start_from is None or trains not in names or _is_done(trains, sweep, folder):
        return
    import_whole(*STAGES[trains].packages)
    from ffnet_search.training.start import load_start

    load_start(sweep)


def _is_done(name: str, sweep: Sweep, folder: RunFolder) -> bool:
    return status(STAGES[name], sweep, folder.records).state is StageState.DONE


def _say_done(label: str, record: StageRecord) -> None:
    amounts = "".join(f", {amount} {name}" for name, amount in record.amounts.items())
    say(f"{label}: done before and unchanged{amounts}, made {record.finished[:16].replace('T', ' ')} UTC")


def _run_stage(stage: Stage, sweep: Sweep, folder: RunFolder, label: str, limited: Sweep, found: int) -> None:
    """Run a stage by `limited`, the sweep with limits of time, and record it as one of the sweep. `found`: the
    candidates of a search that was stopped."""
    say(label)
    amounts = stage.amounts(sweep) | ({"trials": found} if found else {})  # so that it is made again when all are there
    record = StageRecord(stage.digest(sweep), stage.inputs(sweep), amounts, code=_code(stage, sweep, folder))
    folder.begin(stage.name, record)
    start = time.monotonic()
    with signs_of_life(stage.name):
        import_whole(*stage.packages)
        made = stage.run(limited)
    folder.finish(stage.name, made)
    say(f"{label}: took {clock(time.monotonic() - start)}")


def _code(stage: Stage, sweep: Sweep, folder: RunFolder) -> Mapping[str, str]:
    """The user-supplied code of a stage: that with which it began, where it resumes."""
    before = folder.records.get(stage.name)
    resumes = before is not None and not stage.only_exact and stage.remains(sweep.files)
    return before.code if before is not None and resumes else code_of(sweep)


def _profile_other_devices(sweep: Sweep) -> None:
    """Measure the devices that the search does not use: for `pick` and the report."""
    for device in sweep.latency:
        if device not in sweep.searched_devices:
            profile_device(sweep, device)


def _refuse_unneeded(sweep: Sweep, names: Collection[str]) -> None:
    """Raise SweepError if the sweep has none of the stages."""
    needed = [stage.name for stage in stages_of(sweep)]
    if not set(names) & set(needed):
        raise SweepError(
            f"{sweep.path}: has no stage {listed(names)}, since its search needs {listed(needed)} alone "
            "(search.evaluator, search.warm_start and search_space decide); run one of those"
        )


def _found_so_far(sweep: Sweep, folder: RunFolder) -> int:
    """The candidates of a search that was stopped; 0 if there is none, or it is done, or of another sweep or other
    weights."""
    stage = STAGES["search"]
    if status(stage, sweep, folder.records).state is not StageState.INCOMPLETE or is_outdated(stage, folder.records):
        return 0
    import_whole(*STAGES["search"].packages)
    from ffnet_search.search.storage.study import read_candidates

    found = len(read_candidates(sweep.files.study, sweep.search_space)) if sweep.files.study.exists() else 0
    if found:
        say(
            f"export: the search is not done, so this is the front of {plural(found, 'candidate')}; "
            f"`{command_of('run', sweep)}` resumes the search"
        )
    return found


def _refuse_unread(stage: Stage, sweep: Sweep, folder: RunFolder, found: int) -> None:
    """Raise SweepError if a stage that this one reads is not done. `found`: the candidates of a stopped search, which
    are enough for an export."""
    for other in stage.reads:
        if other == "search" and found:
            continue
        if STAGES[other].is_needed(sweep) and not _is_done(other, sweep, folder):
            raise SweepError(
                f"{folder.path}: {stage.name} needs {other}, which is not done; run `{command_of(other, sweep)}` "
                f"first, or `{command_of('run', sweep)}` for all stages"
            )


def _settle_changes(sweep: Sweep, folder: RunFolder, fresh: bool, names: Collection[str]) -> None:
    """Move aside what the sweep invalidates if `fresh`; else raise SweepError, which offers that."""
    records = folder.records
    changes: list[Change] = []
    stale: list[str] = []
    for stage in STAGES.values():
        current = status(stage, sweep, records)
        if current.state is StageState.CHANGED:
            stale.append(stage.name)
            changes += current.changes
    if fresh and "search" not in stale and is_outdated(STAGES["search"], records):
        stale += ["search", "export"]  # a study continues on the supernet and the tables that it began with alone
    concerned = set(names).union(*(STAGES[name].reads for name in names))
    if not concerned.isdisjoint(stale):
        if not fresh:
            raise _changed(sweep, folder, changes, stale)
        trained = status(STAGES["train"], sweep, records).changes
        aside = folder.set_aside({name: STAGES[name].remains(sweep.files) for name in stale})
        continue_training(sweep, trained, aside)
    folder.write_sweep(sweep)
    changed = changed_code(sweep, folder.records, names)
    if changed:
        say(f"note: {changed}")


def _changed(sweep: Sweep, folder: RunFolder, changes: Sequence[Change], stale: Sequence[str]) -> SweepError:
    """The error of a sweep that differs from the one that the `stale` stages were made by."""
    begin = f"{sweep.path}: {describe_changes(changes, sweep)} since {folder.path} was made"
    if values := old_values(changes, sweep):
        return SweepError(f"{begin}; add --fresh to redo {listed(stale)}, take another name with --name{values}")
    return SweepError(
        f"{begin}, which invalidates {listed(stale)}; add --fresh to re-run it (the old files move to "
        f"{folder.path}/previous-DATE), or take another name with --name"
    )
