"""The evaluator of a sweep, made in this process or in another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import Fold
from ffnet_search.evaluation.outcome import Evaluate
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.provenance import git_state


class EvaluatorFactory:
    """Makes the evaluator of a sweep.

    Pickled, it takes the supernet along, so that the nodes of a cluster need no shared files. Data are expected at the
    same absolute path on every node."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.git = sweep, git_state()
        self.weights: bytes | None = None

    def __call__(self) -> Evaluate:
        if self.weights is None:
            return self._make(None)
        with scratch_folder() as folder:
            supernet = Path(folder) / self.sweep.files.supernet.name
            supernet.write_bytes(self.weights)
            return self._make(supernet)

    def _make(self, supernet: Path | None) -> Evaluate:
        """The evaluator with the supernet in a file; None: that of the run. Imports what it is made of."""
        if self.sweep.search.evaluator == "train":
            from ffnet_search.evaluation.trained import TrialEvaluator

            return TrialEvaluator(self.sweep, supernet, self.git)
        from ffnet_search.evaluation.inherited import Evaluator

        return Evaluator.from_sweep(self.sweep, supernet)

    def __getstate__(self) -> dict[str, Any]:
        weights = self.sweep.files.supernet.read_bytes() if self.sweep.uses_supernet else None
        return {"sweep": self.sweep.with_absolute_paths(), "git": self.git, "weights": weights}


class RetrainerFactory(EvaluatorFactory):
    """Makes the evaluator that retrains networks of a sweep, in the run's folder `folder`. It travels as the other."""

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        super().__init__(sweep)
        self.folder = folder

    def _make(self, supernet: Path | None) -> Evaluate:
        from ffnet_search.evaluation.retrained import Retrainer, RetrainingTarget, retraining_sweep

        if supernet is None and self.sweep.uses_supernet:
            supernet = self.sweep.files.supernet
        retraining = retraining_of(self.sweep)
        assert retraining is not None
        sweep = retraining_sweep(self.sweep, self.folder)
        return Retrainer(sweep, RetrainingTarget(sweep, retraining, supernet), self.git)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "folder": self.folder.absolute()}


class FoldFactory(EvaluatorFactory):
    """Makes the evaluator that trains networks of a sweep on all folds but one, in the run's folder `folder`."""

    def __init__(self, sweep: Sweep, folder: Path, fold: Fold) -> None:
        super().__init__(sweep)
        self.folder, self.fold = folder, fold

    def __call__(self) -> Evaluate:
        from ffnet_search.evaluation.retrained import FoldTarget, Retrainer
        from ffnet_search.evaluation.standalone import sweep_alone

        sweep = sweep_alone(self.sweep, self.folder)
        return Retrainer(sweep, FoldTarget(sweep, self.fold), self.git)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the supernet, which folds do not use."""
        return {**self.__dict__, "sweep": self.sweep.with_absolute_paths(), "folder": self.folder.absolute()}
