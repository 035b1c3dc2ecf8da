"""The remarks of `check` on a sweep beside its plan, as sentences: for its tables and its JSON document."""

from __future__ import annotations

from collections.abc import Iterable

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import validation_images
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import few_words, split_words


def split_note(sweep: Sweep) -> str:
    """The differences that the validation images tell from luck; empty if they are unknown, or no question."""
    judged = sweep.search_space.images if sweep.search_space.has_network and sweep.module is None else None
    images = None if judged is None else validation_images(sweep.data, sweep.seed, judged)
    if judged is None or images is None:
        return ""
    if sweep.quality.unit == "%" and task_of(judged).is_mean:
        return split_words(*images, sweep.data.validation, sweep.export.folds)
    return few_words(images[0]) or ""


def code_note(sweep: Sweep, stages: Iterable[str]) -> str:
    """The code of the user's classes that was edited since the stages began; empty if none was."""
    from ffnet_search.run.folder.code_changes import changed_code  # here, since most of what is shown needs no stages
    from ffnet_search.run.folder.run_folder import read_records

    return changed_code(sweep, read_records(sweep.files), list(stages))
