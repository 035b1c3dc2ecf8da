"""Reuse of the candidates of an earlier search of a run, whose metrics are still valid: only a limit, an objective, a
device or the sampler has changed. The new search adopts them instead of evaluating them again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ffnet_search.config.files import LAST_CHECKPOINT, RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.formatting import plural
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import say
from ffnet_search.run.folder.changes import Change
from ffnet_search.run.folder.run_folder import read_records

if TYPE_CHECKING:
    from ffnet_search.search.optimizer import Optimizer

ASIDE = "previous-*"  # where `--fresh` moves what a changed sweep invalidates
# Fields of `search` that an evaluation depends on.
JUDGED_BY = ("evaluator", "warm_start", "trial_epochs", "metrics", "scheduler")


class Earlier(NamedTuple):
    """The candidates of an earlier search, and the folder of its files."""

    candidates: list[Candidate]
    folder: Path

    def bring_weights(self, key: str, trials: Path) -> None:
        """Copy the files of a candidate's trial, such as its weights, to the folder of the new search's trials."""
        old, new = RunPaths(self.folder).trials / key, trials / key
        if old.exists() and not new.exists():
            shutil.copytree(old, new)


def earlier_candidates(sweep: Sweep, inputs: Mapping[str, Any]) -> Earlier | None:
    """The candidates of the last search that was moved aside and whose evaluations were those of `inputs`, the search's
    own: same data, training, weights and seed. None if there is no such search."""
    from ffnet_search.search.storage.study import read_records as read_trials

    trained = read_records(sweep.files).get("train")
    for aside in sorted(sweep.files.folder.glob(ASIDE), reverse=True):
        try:
            records = read_records(RunPaths(aside))
            record = records.get("search")
            if record is None or "train" in records or _judged(record.inputs, sweep) != _judged(inputs, sweep):
                continue
            if trained is not None and sweep.uses_supernet and trained.number > record.number > 0:
                continue  # the supernet was trained again since
            found = [one for one in read_trials(RunPaths(aside).study) if one.state == "evaluated"]
            return Earlier([one.candidate(sweep.search_space) for one in found], aside)
        except SweepError:  # a damaged one has nothing to give
            continue
    return None


def adopt_earlier(optimizer: Optimizer, sweep: Sweep, inputs: Mapping[str, Any]) -> None:
    """Tell a new search what an earlier one of the run knows, where its evaluations would be the same."""
    earlier = None if optimizer.archive.entries else earlier_candidates(sweep, inputs)
    if earlier is None:
        return
    adopted = optimizer.adopt(earlier.candidates)
    for key in adopted:
        earlier.bring_weights(key, sweep.files.trials)
    if adopted:
        are = "is" if len(adopted) == 1 else "are"
        say(f"search: {plural(len(adopted), 'candidate')} that {earlier.folder} has evaluated {are} used again")


def continue_training(sweep: Sweep, changes: Sequence[Change], aside: Path) -> None:
    """Let a training resume from the checkpoint in `aside`, where more epochs of it are all that changed. The
    schedule of the learning rate is that of all epochs, so that it rises again to where it would be by then."""
    last = RunPaths(aside).training / LAST_CHECKPOINT
    if [change.field for change in changes] != ["train.epochs"] or not last.exists():
        return
    (change,) = changes
    if isinstance(change.old, int) and isinstance(change.new, int) and change.new > change.old:
        sweep.files.training.mkdir(exist_ok=True)
        shutil.copy2(last, sweep.files.training)
        say(f"train: resumes from the {plural(change.old, 'epoch')} of {aside}")


def _judged(inputs: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    """The inputs that the metrics of a candidate depend on; the latency of an FFNet is known without evaluation."""
    left = {key: value for key, value in inputs.items() if key != "latency" or sweep.module is not None}
    search = left.get("search", {})
    return {**left, "search": {name: search.get(name) for name in JUDGED_BY}}
