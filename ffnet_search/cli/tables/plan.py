"""The plan of a sweep: what `run` would do now; and its whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.cli.tables.space import print_space
from ffnet_search.config.binding import searched_fields
from ffnet_search.config.resolved import resolved_text
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import trial_epochs
from ffnet_search.formatting import plural

if TYPE_CHECKING:
    from ffnet_search.run.stages import StageStatus


def print_sweep(sweep: Sweep) -> None:
    """The search space of a sweep, and what `run` would do now."""
    from ffnet_search.run.check import split_note
    from ffnet_search.run.cost_comparison import advice, compare_ways
    from ffnet_search.run.data_changes import listed_once
    from ffnet_search.run.shared_time import as_trained, epochs_words
    from ffnet_search.run.stages import plan  # here, since most of what is shown needs no stages

    print_space(sweep.search_space)
    with listed_once():
        trained, states = as_trained(sweep), plan(sweep)
    epochs = plural(sweep.train.epochs, "epoch") if trained is sweep else epochs_words(trained, sweep)
    if sweep.search.warm_start and "train.epochs" not in searched_fields(sweep):
        epochs = f"{epochs}, then {trial_epochs(trained)} of each trial"
    print_plain(
        f"sweep {sweep.name}: {sweep.data.name}, {epochs}, {plural(sweep.search.trials, 'trial')} of "
        f"{sweep.search.sampler.class_path} for {', '.join(sweep.search.objectives)}; limits: {sweep.search.limits}"
    )
    if note := split_note(sweep):
        print_plain(note)
    retraining = retraining_of(trained)
    if retraining is not None:
        retrained = min(retraining.candidates, max(1, sweep.search_space.size))
        print_plain(
            f"export: {plural(retrained, 'network')} {'is' if retrained == 1 else 'are'} retrained, {retraining}"
        )
    if sweep.export.folds:
        print_plain(
            f"export: up to {sweep.export.top} networks are cross-validated, each trained {sweep.export.folds} times "
            f"from new weights for {plural(trained.train.epochs, 'epoch')}"
        )
    ways = compare_ways(trained)
    if ways is not None:
        change = advice(sweep, ways)
        print_plain(f"{ways}{f'; consider {change}' if change else ''}")
    _print_stages(sweep, states)


def _print_stages(sweep: Sweep, states: Mapping[str, StageStatus]) -> None:
    """The state of each stage, the fields by which it changed, and the code that did."""
    from ffnet_search.run.data_changes import change_words
    from ffnet_search.run.folder.code_changes import code_note

    rows = [
        [stage, status.state.value, ", ".join(change_words(status.changes, sweep))] for stage, status in states.items()
    ]
    print_plain(make_table(["stage", f"in {sweep.files.folder}", "changed fields"], rows))
    if note := code_note(sweep, states):
        print_plain(note)


def print_resolved(sweep: Sweep) -> None:
    """The whole configuration of a sweep as YAML, its search space included, as a run's folder keeps it."""
    print(resolved_text(sweep).rstrip("\n"))  # no line is broken: a file may be made of it
