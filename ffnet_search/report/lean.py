"""Optuna Dashboard's serialiser, without what its page does not read.

Half of what it sends are the distributions of each trial's parameters, which the page takes from the study's search
space (28 MB for 5,000 trials, which the browser must parse before it draws); and for each trial it looks through the
study's attributes for notes and files, and through the space of all trials before. Checked with 0.21; where another
version is built otherwise it is left alone, and is slower.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any

Serialize = Callable[[int, Any, Mapping[str, Any]], dict[str, Any]]
Update = Callable[[Any, Any], None]


@contextmanager
def without_forests() -> Iterator[None]:
    """While Optuna Dashboard is imported: of Optuna's importances it uses PED-ANOVA alone, and what the others need,
    scikit-learn, is most of what would be imported (1.3 of 1.6 s). Who asks for those later gets them whole."""
    if "sklearn" in sys.modules or "optuna.importance" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # as Python has it: not to be imported
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.startswith("optuna.importance")]:
            del sys.modules[name]
        del sys.modules["sklearn"]


def make_lean() -> None:
    """Once for this process: another call changes nothing."""
    from optuna_dashboard import _inmemory_cache, _serializer

    if not hasattr(_serializer.serialize_frozen_trial, "__wrapped__"):
        _serializer.serialize_frozen_trial = _of_trial(_serializer.serialize_frozen_trial)
        _serializer.serialize_distribution = lru_cache(maxsize=4096)(_serializer.serialize_distribution)
        cache = _inmemory_cache._CachedExtraStudyProperty
        cache._update_search_space = _of_new_spaces(cache._update_search_space)


def _of_trial(serialize: Serialize) -> Serialize:
    last: tuple[Mapping[str, Any], dict[str, dict[str, Any]]] = {}, {}

    @wraps(serialize)
    def lean(study_id: int, trial: Any, study_attributes: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal last
        if last[0] is not study_attributes:
            last = study_attributes, _by_trial(study_attributes)
        found = serialize(study_id, trial, last[1].get(str(trial._trial_id), {}))
        for parameter in found["params"]:
            parameter.pop("distribution", None)
        return found

    return lean


def _by_trial(study_attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Notes (`dashboard:ID:note_str:0`) and files (`dashboard:artifacts:ID:...`), which the study holds for trials."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in study_attributes.items():
        first, second, third, *_ = [*key.split(":"), "", ""]
        if first == "dashboard":
            found[third if second == "artifacts" else second][key] = value
    return found


def _of_new_spaces(update: Update) -> Update:
    @wraps(update)
    def lean(cache: Any, trial: Any) -> None:
        """The union and the intersection of search spaces stay the same where a space comes again."""
        seen = cache.__dict__.setdefault("_seen", [])
        if trial.distributions not in seen:
            seen.append(trial.distributions)
            update(cache, trial)

    return lean
