"""`ffnet-search fidelity`: train some networks of a run's space alone, and compare with their inherited quality.

Trainings are evaluations of the sweep's engine, in `runs/NAME/fidelity/seed-0` and `seed-1`. What has ended is in
`alone.json` there; what was interrupted resumes from its last epoch. The supernet's run stays as it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ffnet_search.atomic_write import write_json, write_text
from ffnet_search.config.commands import command_of
from ffnet_search.config.inputs import digest, train_inputs
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.fidelity import FILE, INHERITED, MIN_NETWORKS, SPLITS, Compared, Fidelity, supernet_digest
from ffnet_search.evaluation.fidelity_networks import choose_networks, choose_repeated
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY, MACS
from ffnet_search.progress import Bar, progress
from ffnet_search.provenance import git_state, now, versions
from ffnet_search.run.data_changes import change_words, changes_of, describe_changes, images_of, old_values
from ffnet_search.run.fidelity.trainings import Qualities, Trainings
from ffnet_search.run.folder.run_folder import RunFolder, StageRecord, open_run
from ffnet_search.run.interrupt import import_whole
from ffnet_search.run.shared_time import say_trained
from ffnet_search.run.stages import STAGES, StageState, status
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import analytic_metrics

NAME = "fidelity"  # of its record in a run's folder
TABLE = "networks.csv"


@dataclass(frozen=True)
class FidelityPlan:
    """`networks`: how many are trained alone; `repeated`: of these, with a second seed (by default a quarter, rounded
    up); `split`: the images that judge."""

    networks: int = 16
    repeated: int | None = None
    split: str = SPLITS[0]

    def __post_init__(self) -> None:
        if self.networks < MIN_NETWORKS:
            raise SweepError(f"--networks must be >= {MIN_NETWORKS}, or there is no ranking, but got {self.networks}")
        if not 0 <= self.repeats <= self.networks:
            raise SweepError(f"--repeated must be from 0 to {self.networks}, the networks, but got {self.repeats}")
        if self.split not in SPLITS:
            raise SweepError(f"--split must be {' or '.join(SPLITS)}, but got {self.split!r}")

    @property
    def repeats(self) -> int:
        """The number of networks that are trained twice."""
        return -(-self.networks // 4) if self.repeated is None else self.repeated


def measure_fidelity(sweep: Sweep, plan: FidelityPlan, *, fresh: bool = False) -> Fidelity:
    """Compare the supernet of a run with networks trained alone by the same recipe, and write `runs/NAME/fidelity/`.

    Raises SweepError if the run has no trained supernet, if what was trained alone is of another sweep and
    `fresh` is False (else it moves aside), and if fewer than `MIN_NETWORKS` networks could be trained."""
    if not sweep.uses_supernet:
        raise SweepError(
            f"{sweep.path}: search.evaluator must be 'supernet', or search.warm_start true, for a supernet whose "
            "ranking can be judged, but each trial trains from scratch"
        )
    with open_run(sweep) as folder:
        _refuse_untrained(sweep, folder)
        sweep = say_trained(sweep, NAME)
        _settle(sweep, folder, fresh)
        import_whole(*STAGES["train"].packages)
        networks = choose_networks(sweep.search_space, plan.networks, sweep.seed)
        _refuse_few(sweep, networks)
        trainings = Trainings(sweep, folder)
        again = {name: networks[name] for name in choose_repeated(networks, plan.repeats)}
        total, done = len(networks) + len(again), trainings.done(networks, again)
        showing = progress("fidelity", total, "trainings", done=done) if done < total else nullcontext(Bar("", 0, ""))
        with showing as bar:
            alone = [trainings.run(repeat, chosen, bar) for repeat, chosen in enumerate((networks, again))]
        fidelity = _compare(sweep, plan, networks, alone, trainings.failed)
        _write(sweep, fidelity)
        folder.finish(NAME)
    return fidelity


def _refuse_untrained(sweep: Sweep, folder: RunFolder) -> None:
    """Raise SweepError if the supernet of the sweep is not trained."""
    found = status(STAGES["train"], sweep, folder.records)
    if found.state is StageState.DONE:
        return
    changed = f" ({', '.join(change_words(found.changes, sweep))} changed since)" if found.changes else ""
    raise SweepError(
        f"{folder.path}: fidelity needs the supernet, but train is {found.state.value}{changed}; run "
        f"`{command_of('train', sweep)}` first"
    )


def _refuse_few(sweep: Sweep, networks: Collection[str]) -> None:
    """Raise SweepError if the space has too few networks for a ranking."""
    if len(networks) < MIN_NETWORKS:
        raise SweepError(
            f"{sweep.path}: a ranking needs {MIN_NETWORKS} networks, but the search space has {len(networks)}; widen it"
        )


def _record(sweep: Sweep) -> StageRecord:
    inputs = {**train_inputs(sweep), **images_of(sweep)}
    return StageRecord(digest(inputs), inputs)


def _settle(sweep: Sweep, folder: RunFolder, fresh: bool) -> None:
    """Move the networks trained alone for another sweep aside, or raise SweepError; record the inputs of the new
    ones."""
    before, now = folder.records.get(NAME), _record(sweep)
    changes = None if before is None else changes_of(before, now.inputs)
    if changes is not None:
        if not fresh:
            raise SweepError(
                f"{sweep.path}: {describe_changes(changes, sweep)} since networks were trained alone in "
                f"{sweep.files.fidelity}; add --fresh to train them again (the old ones move to "
                f"{folder.path}/previous-DATE){old_values(changes, sweep)}"
            )
        folder.set_aside({NAME: [path for path in [sweep.files.fidelity] if path.exists()]})
    folder.begin(NAME, now)


def _compare(
    sweep: Sweep,
    plan: FidelityPlan,
    networks: Mapping[str, Architecture],
    alone: list[dict[str, Qualities]],
    failed: Mapping[str, str],
) -> Fidelity:
    first, again = alone
    if len(first) < MIN_NETWORKS:
        reason = next(iter(failed.values()), "unknown")
        raise SweepError(
            f"fidelity: {MIN_NETWORKS} networks must be trained alone for a ranking, but {len(first)} of "
            f"{len(networks)} were; {len(failed)} failed, the first with: {reason}"
        )
    path = sweep.latency_path
    table = LatencyTable.load(path) if path.exists() else None
    inherited, fingerprint = _inherited(sweep, [networks[name] for name in first])
    compared = []
    for (name, qualities), shared in zip(first.items(), inherited, strict=True):
        arch = networks[name]
        costs = analytic_metrics(arch) | ({} if table is None else {LATENCY.name: table.predict_ms(arch)})
        compared.append(Compared(name, arch, costs, shared, qualities, again.get(name, {})))
    compared.sort(key=lambda one: one.costs[MACS.name])
    record = {
        "date": now(),
        "sweep": sweep.name,
        "seed": sweep.seed,
        "epochs": sweep.train.epochs,
        "supernet": supernet_digest(sweep.files.supernet),
        "data": fingerprint,
        "git": git_state(),
        "versions": versions(),
    }
    cost = MACS.name if table is None else LATENCY.name
    return Fidelity(sweep.task, plan.split, cost, tuple(compared), dict(failed), record)


def _inherited(sweep: Sweep, archs: list[Architecture]) -> tuple[list[Qualities], str]:
    """The quality of each network on the supernet's weights, by split; and the fingerprint of the data."""
    from ffnet_search.evaluation.inherited import Evaluator
    from ffnet_search.evaluation.judge import quality
    from ffnet_search.models.deployed import fuse
    from ffnet_search.models.saved import read_supernet
    from ffnet_search.training.fit import sweep_data

    data = sweep_data(sweep)
    evaluator = Evaluator(read_supernet(sweep.files.supernet, of=sweep.search_space), data)
    batches = dict(zip(SPLITS, (data.val_dataloader, data.test_dataloader), strict=True))
    found = []
    with progress(INHERITED, len(archs), "networks") as bar:
        for arch in archs:
            fused = fuse(evaluator.calibrated(arch))
            found.append({split: quality(fused, loader(), evaluator.task) for split, loader in batches.items()})
            bar.advance()
    return found, data.fingerprint


def _write(sweep: Sweep, fidelity: Fidelity) -> None:
    """Write `fidelity.json` and `networks.csv`, and the report again where the front is exported."""
    folder, splits = sweep.files.fidelity, [fidelity.split, *(one for one in SPLITS if one != fidelity.split)]
    write_json(folder / FILE, fidelity.to_dict())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    costs = list(fidelity.networks[0].costs)
    kinds = (INHERITED, "alone", "again")
    titles = [f"{kind}_{split}" for split in splits for kind in kinds]
    writer.writerow(["name", "key", *costs, *titles, "architecture"])
    for one in fidelity.networks:
        values: list[Any] = [getattr(one, kind).get(split, "") for split in splits for kind in kinds]
        writer.writerow([one.name, one.architecture.key, *one.costs.values(), *values, one.architecture])
    write_text(folder / TABLE, text.getvalue())
    if sweep.files.front_csv.exists():
        from ffnet_search.report.page import write_report

        write_report(sweep)
