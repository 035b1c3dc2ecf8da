"""The time of a whole run (`run --minutes`), divided over its stages, and the epochs that a supernet had time for.

Networks that are trained alone, to be compared with the supernet's or exported, are trained by these epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ffnet_search.config.commands import command_of
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import RetrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import with_epochs
from ffnet_search.progress import clock, say
from ffnet_search.run.folder.run_folder import EPOCHS, read_records
from ffnet_search.run.stages import STAGES, StageState, status

SHARES = {"profile": 0.1, "train": 0.5, "search": 0.2, "export": 0.2}  # where `init` has measured nothing
MIN_MINUTES = 0.05  # of a stage, so that each makes something


@dataclass(frozen=True)
class RunTime:
    """The end of a run, by `time.monotonic`; infinite without a limit.

    Training and search end in their share of what is left; profile takes what it takes; retraining gets half of its
    epochs, a quarter, ... or none, as the time that is left allows, and none where the sweep has no estimate of it.
    Time that a stage does not use goes to the later ones."""

    end: float = math.inf

    @classmethod
    def of(cls, minutes: float | None) -> RunTime:
        """The run that ends after so many minutes from now."""
        return cls() if minutes is None else cls(time.monotonic() + 60 * minutes)

    def limited(self, sweep: Sweep, stages: Sequence[str]) -> Sweep:
        """The sweep whose first stage of `stages`, which are to come, ends in its share of the time that is left."""
        if math.isinf(self.end):
            return sweep
        estimate = {name: sweep.estimate.get(name, 0.0) for name in stages}  # type: ignore[call-overload]
        if not all(estimate.values()):
            estimate = {name: SHARES[name] for name in stages}
        left = max(0.0, (self.end - time.monotonic()) / 60)
        stage = stages[0]
        minutes = max(MIN_MINUTES, left * estimate[stage] / sum(estimate.values()))
        if stage in ("train", "search"):
            section = getattr(sweep, stage)
            minutes = min(minutes, section.minutes or minutes)
            say(f"{stage}: may take {clock(60 * minutes)}")
            return sweep.model_copy(update={stage: section.model_copy(update={"minutes": minutes})})
        return _without_folds(_retrained_within(sweep, minutes)) if stage == "export" else sweep


def _retrained_within(sweep: Sweep, minutes: float) -> Sweep:
    """The sweep with as many epochs of retraining as so many minutes allow, by the estimate of the sweep."""
    retraining, whole = retraining_of(sweep), sweep.estimate.get("export", 0.0)
    if retraining is None or 0 < whole <= minutes:
        return sweep
    epochs = retraining.epochs if whole else 0  # without an estimate the number of epochs that fit is unknown
    while epochs and whole * epochs / retraining.epochs > minutes:
        epochs //= 2
    say(f"export: {epochs} of {retraining.epochs} epochs of retraining, for want of time")
    most = sweep.export.retrain.max_epochs
    fewer = {"epochs": epochs, "max_epochs": most and max(epochs, most * epochs // retraining.epochs)}
    section = sweep.export.retrain.model_copy(update=fewer) if epochs else RetrainSection(epochs=0)
    return sweep.model_copy(update={"export": sweep.export.model_copy(update={"retrain": section})})


def _without_folds(sweep: Sweep) -> Sweep:
    """The sweep without cross-validation, of whose time there is no estimate."""
    if not sweep.export.folds:
        return sweep
    say(f"export: no cross-validation under --minutes; `{command_of('export', sweep)}` adds it afterwards")
    return sweep.model_copy(update={"export": sweep.export.model_copy(update={"folds": 0})})


def as_trained(sweep: Sweep) -> Sweep:
    """The sweep with the epochs of its supernet in the place of `train.epochs`, and its estimate of the export by them.

    Before the training, those that `train.minutes` allows by the sweep's estimate, where it has both."""
    if not sweep.uses_supernet:
        return sweep
    records, epochs = read_records(sweep.files), sweep.train.epochs
    if status(STAGES["train"], sweep, records).state is StageState.DONE:
        epochs = records["train"].amounts.get(EPOCHS, epochs)
    elif sweep.train.minutes is not None and sweep.estimate.get("train"):
        epochs = max(1, min(epochs, int(epochs * sweep.train.minutes / sweep.estimate["train"])))
    trained = with_epochs(sweep, epochs)
    if trained is sweep:
        return sweep
    planned, retraining = retraining_of(sweep), retraining_of(trained)
    if planned is None or retraining is None or "export" not in sweep.estimate:
        return trained
    share = retraining.epochs / planned.epochs
    scaled = {name: share * spent for name, spent in sweep.estimate.items() if name in ("export", "retraining")}
    return trained.model_copy(update={"estimate": {**sweep.estimate, **scaled}})


def say_trained(sweep: Sweep, label: str) -> Sweep:
    """The sweep of `as_trained`; where it has less epochs, a line says so."""
    trained = as_trained(sweep)
    if trained.train.epochs < sweep.train.epochs:
        say(f"{label}: the supernet had time for {epochs_words(trained, sweep)}, by which networks are trained alone")
    return trained


def epochs_words(trained: Sweep, sweep: Sweep) -> str:
    """The epochs of a sweep of `as_trained` beside those of the sweep itself."""
    return f"{trained.train.epochs} of {sweep.train.epochs} epochs"
