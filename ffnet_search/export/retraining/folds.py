"""k-fold cross-validation of the networks that are exported, where search validation is too small to tell them apart.

runs/NAME/folds/DIGEST/1/trials/KEY/   the scores of a network on the first fold; while it trains last.ckpt

Each network is trained from new weights on all folds of training and search validation but one, by the recipe of
`train`, and judged on that one: its quality and its error are of all these images (Kohavi, 1995). They are of the
architecture, trained again, and not of the weights that are exported. The standard error is over images; the luck of
each training is not in it. All networks have the same folds, so that paired tests compare them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.config.inputs import digest, fold_inputs
from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import Fold
from ffnet_search.evaluation.factory import FoldFactory
from ffnet_search.evaluation.judge import Judged
from ffnet_search.evaluation.retrained import FOLD_SCORES, Retrained, read_fold_scores
from ffnet_search.evaluation.standalone import sweep_alone
from ffnet_search.export.retraining.training import Training, remove_others, train_all
from ffnet_search.formatting import plural
from ffnet_search.metrics import FOLDS, IMAGES
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import progress, say
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.scores import Scores


@dataclass(frozen=True)
class Folds:
    """The figures of a network on all folds, `folds_accuracy` and so on, and its scores, image by image."""

    metrics: Mapping[str, float]
    scores: Scores


def cross_validate(sweep: Sweep, candidates: Sequence[Candidate]) -> dict[str, Folds]:
    """Cross-validate the candidates on `export.folds` folds, if any; return key -> figures, without those that failed.

    Raises SweepError for a user error, and where the engine cannot work."""
    count = sweep.export.folds
    if not count:
        return {}
    root = sweep.files.folds / digest(fold_inputs(sweep))[:12]
    remove_others(root)
    wanted = {one.key: one for one in (Configuration(each.network, each.final_hyperparameters) for each in candidates)}
    trainings = [_training(sweep, root, Fold(number, count)) for number in range(count)]
    stored = [training.stored(wanted) for training in trainings]
    done = sum(len(found) for found, _ in stored)
    say(
        f"folds: {plural(len(wanted), 'network')}, each trained {count} times from new weights for "
        f"{plural(sweep.train.epochs, 'epoch')}; "
        f"{done} of {count * len(wanted)} trainings were done before"
    )
    epochs = sum(training.total(missing) for training, (_, missing) in zip(trainings, stored, strict=True))
    if epochs:
        with progress("folds", epochs, "epochs") as bar:
            for training, (found, missing) in zip(trainings, stored, strict=True):
                if missing:
                    found |= train_all(training, missing, bar)
    keys = {each.key: Configuration(each.network, each.final_hyperparameters).key for each in candidates}
    by_fold = [found for found, _ in stored]
    return {
        candidate: _pooled(sweep, [found[key] for found in by_fold])
        for candidate, key in keys.items()
        if all(key in found for found in by_fold)
    }


def _training(sweep: Sweep, root: Path, fold: Fold) -> Training:
    folder = root / str(fold.number + 1)
    factory, trained_by = FoldFactory(sweep, folder, fold), sweep_alone(sweep, folder)
    name = f"folds, {fold.number + 1} of {fold.count}"
    epochs = sweep.train.epochs
    return Training(name, folder, factory, trained_by, lambda _: epochs, FOLD_SCORES, "has no figures of folds")


def _pooled(sweep: Sweep, folds: Sequence[Retrained]) -> Folds:
    """The figures of a network over its folds: the task's quality of all images together, others as a mean."""
    task = find_task(sweep.task)
    scores = Scores.gathered(task, [read_fold_scores(one.content) for one in folds])
    weights = [one.metrics[IMAGES.name] for one in folds]
    others = {
        name: sum(weight * one.metrics[name] for weight, one in zip(weights, folds, strict=True)) / sum(weights)
        for name in named_metrics(sweep)
    }
    return Folds(Judged(scores.quality, scores, others).metrics(f"{FOLDS}_"), scores)
