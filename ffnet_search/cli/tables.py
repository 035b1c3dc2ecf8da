"""Search spaces, architectures, latency tables, sweeps and fronts as tables on standard output."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ffnet_search.cli.front_table import chosen_of, front_grid, front_words
from ffnet_search.cli.printing import make_table, print_path, print_plain
from ffnet_search.cli.resolve import Front
from ffnet_search.config.binding import searched_fields
from ffnet_search.config.resolved import resolved_text
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import trial_epochs
from ffnet_search.export.groups import read_first, read_groups
from ffnet_search.formatting import figure, listed, plural, quoted
from ffnet_search.metrics import ERROR, FOLDS, IMAGES, INT8, JUDGED, LATENCY, MACS, PARAMS, SPLITS, Metric
from ffnet_search.progress import say
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import BLOCK_AXES
from ffnet_search.space.hyperparameters import Hyperparameter
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import spelled
from ffnet_search.tasks.base import task_of

if TYPE_CHECKING:
    from ffnet_search.autoconfig.start import Started
    from ffnet_search.export.exported import ExportedNetwork
    from ffnet_search.latency.table import LatencyTable
    from ffnet_search.run.rerun import Rerun
    from ffnet_search.run.select import Selection
    from ffnet_search.run.stages import StageStatus

SAMPLES = 300  # architectures of a space, for its median


def print_space(space: SearchSpace) -> None:
    """The choices of a search space, the number of its architectures and their costs, and its hyper-parameters."""
    if space.hyperparameters:
        rows = [[name, _range(one), _when(one)] for name, one in space.hyperparameters.items()]
        print_plain(make_table(["hyper-parameter", "values", "only where"], rows))
    if space.architecture:
        print_architecture(space.architecture, f"the architecture of {space.name}")
    if not space.is_elastic:
        return
    shape = space.images
    name = "" if space.name == SearchSpace.model_fields["name"].default else f" {space.name}"
    print_plain(
        f"search space{name}: {plural(space.size, 'architecture')} for {shape.channels} x "
        f"{spelled(shape.resolution)} images of {task_of(shape).outputs_words(shape.outputs)}"
    )
    print_plain(f"stem width {_choices(space.stem.width)}, stride {_choices(space.stem.stride)}")
    if space.head_axes:
        print_plain("head " + ", ".join(f"{name} {_choices(choices)}" for name, choices in space.head_axes.items()))
    rows = [
        [str(number), _choices(stage.depth), _choices(stage.width), *(_choices(stage.choices(a)) for a in BLOCK_AXES)]
        for number, stage in enumerate(space.stages, 1)
    ]
    titles = [f"{axis.replace('_', ' ')}{' (each block)' if axis in space.per_block else ''}" for axis in BLOCK_AXES]
    print_plain(make_table(["stage", "depth", "width", *titles], rows))
    rng = random.Random(0)
    drawn = sorted((space.sample(rng) for _ in range(SAMPLES)), key=lambda arch: arch.macs_m)
    named = {"smallest": space.smallest, "median": drawn[SAMPLES // 2], "largest": space.largest, **space.presets}
    costs = [[name, *_costs(arch.macs_m, arch.params_m), str(arch)] for name, arch in named.items()]
    titles = ["architecture", MACS.label, PARAMS.label, "stem width/stride | stage width: blocks"]
    print_plain(make_table(titles, costs))


def print_architecture(arch: Architecture, name: str) -> None:
    """One network, and the cost of each of its parts."""
    print_plain(f"{name}: {arch.key}  {arch}")
    print_plain(f"{arch.macs_m:.5g} M MACs, {arch.params_m:.4g} M parameters in the deployed form, for one image")
    rows = [
        [part.key, str(count), *_costs(count * part.costs.macs / 1e6, count * part.costs.params / 1e6)]
        for part, count in Counter(arch.parts).items()
    ]
    print_plain(make_table(["part", "times", MACS.label, PARAMS.label], rows, right=3))


def print_latency(table: LatencyTable) -> None:
    """The setting of a latency table, its held-out error, and the networks that it predicts worst."""
    setting = table.setting
    content = plural(len(table.held_out), "network") if table.is_exact else f"{len(table.entries)} parts"
    print_plain(f"latency table {table.name}: {content}, {setting.date}")
    print_plain(
        f"{setting.device}; {setting.backend}, {plural(setting.threads, 'thread')}, batch {setting.batch_size}, "
        f"{setting.dtype}, {setting.clock}"
    )
    print_plain(f"versions: {', '.join(f'{name} {version}' for name, version in setting.versions.items())}")
    print_plain(f"{'error' if table.is_exact else 'held out'}: {table.error}")
    rows = [
        [check.architecture.key, figure(check.measured_ms), figure(check.predicted_ms), f"{check.error:+.1%}"]
        for check in table.worst
    ]
    titles = (
        ["network", "again ms", "table ms"] if table.is_exact else ["held-out network", "measured ms", "predicted ms"]
    )
    print_plain(make_table([*titles, "error"], rows, right=3))


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


def print_start(started: Started) -> None:
    """The images, the files that `init` wrote, the cost of a run, and the next command."""
    for line in started.lines:
        print_plain(line)
    for path in started.files:
        print_path(f"wrote {path}")
    if started.minutes:
        rows = [[stage, f"{minutes:.1f}"] for stage, minutes in started.minutes.items()]
        print_plain(make_table(["stage", "minutes"], [*rows, ["all", f"{sum(started.minutes.values()):.1f}"]], right=1))
    print_plain(f"next: ffnet-search run {quoted(started.sweep)}")


def print_run(front: Front) -> None:
    """The exported front, best first, with a column for each metric in its unit; then the run's files."""
    if front.networks:
        chosen, why = chosen_of(front)
        print_plain(front_grid(front, chosen))
        print_plain(f"* {why}")
        pareto = front.networks[0].folder.parent
        for line in front_words(front, read_first(pareto), read_groups(pareto)):
            print_plain(line)
    print_files(front)


def print_rerun(rerun: Rerun) -> None:
    """A trial's metrics then and now."""
    print_plain(f"trial {rerun.number}, {rerun.configuration.key}: {rerun.configuration}")
    if any(rerun.reasons):
        for time, reason in zip(("then", "now"), rerun.reasons, strict=True):
            print_plain(f"{time}: {reason or 'no failure'}")
    rows = [[name, f"{x:.6g}", f"{y:.6g}", f"{y - x:+.3g}"] for name, (x, y) in rerun.metrics.items()]
    if rows:
        print_plain(make_table(["metric", "then", "now", "difference"], rows, right=3))
    for words in rerun.changed:
        print_plain(f"differs from then: {words}")


def print_selection(selection: Selection) -> None:
    """One network of a run for a budget: its folder, or its model in a format, on standard output for scripts, and all
    else on standard error. A network that is not exported has no folder: all lines are on standard output."""
    offer, quality, exported = selection.offer, selection.quality, selection.exported
    predicted = f"predicted; {selection.table.error}"
    show: Callable[[str], None] = print_plain if exported is None else say
    if exported is not None:
        print_path(selection.path)
        arch, figures, split = exported.network, exported.metrics, "search_"
        origin = "measured" if offer.is_measured else predicted
    else:
        assert offer.candidate is not None
        arch, figures, split, origin = offer.candidate.network, offer.candidate.metrics, "", predicted
    reached = quality.format_with(offer.quality, figures.get(f"{split}{quality.key}{ERROR}"))
    images = figures.get(f"{split}{IMAGES.name}")
    counted = "" if images is None else f" ({images:,.0f} images)"
    show(
        f"{offer.key}: {quality.phrase} {reached} {SPLITS['search']}{counted}, {LATENCY.format(offer.ms)} "
        f"{selection.measured_as} ({origin})"
    )
    if exported is not None:
        for line in _other_qualities(exported, quality):
            show(line)
    show(f"{PARAMS.format(arch.params_m)} parameters, {MACS.format(arch.macs_m)} MACs: {arch}")
    if alike := selection.alike:
        quicker = listed([f"{name} ({LATENCY.format(ms)})" for name, ms in alike.items()])
        show(f"quicker, and not told apart from it by a paired test on these images: {quicker}")
    if selection.hint:
        show(selection.hint)
    if selection.warning:
        show(f"warning: {selection.warning}")
    if selection.advice:
        show(f"advice: {selection.advice}")


def _other_qualities(network: ExportedNetwork, quality: Metric) -> Iterator[str]:
    """The quality by cross-validation, and that of the network in 8 bits, where they were measured."""
    task, metrics, folds = task_of(network.network.input), network.metrics, f"{FOLDS}_{quality.key}"
    if folds in metrics:
        reached = quality.format_with(metrics[folds], metrics.get(f"{folds}{ERROR}"))
        images = metrics[f"{FOLDS}_{IMAGES.name}"]
        yield f"{JUDGED[FOLDS]}: {quality.phrase} {reached} on {images:,.0f} images"
    if INT8 + task.test_quality in metrics:
        names = {"search validation": task.search_quality, "test": task.test_quality}
        reached_on = (f"{task.quality.format(metrics[INT8 + name])} on {split}" for split, name in names.items())
        yield f"with 8 bits: {', '.join(f'{task.quality.phrase} {words}' for words in reached_on)}"


def print_files(front: Front) -> None:
    """The files of a run that exist, with their purpose."""
    files = front.sweep.files
    words = {
        files.report: "interactive report (open in a browser)",
        files.pareto: "the networks: architecture, weights, ONNX, card",
        files.candidates: "all candidates",
        files.study: "the study, for Optuna",
        files.supernet: "the supernet's weights",
        files.latency: "latency tables",
    }
    existing = [path for path in words if path.exists()]
    width = max((len(str(path)) for path in existing), default=0)
    for path in existing:
        print_plain(f"{path!s:<{width}}  {words[path]}")


def _costs(macs_m: float, params_m: float) -> list[str]:
    return [MACS.format(macs_m, unit=False), PARAMS.format(params_m, unit=False)]


def _range(one: Hyperparameter) -> str:
    if one.choices is not None:
        return _choices(one.choices)
    low, high = one.range
    scale = ", log" if one.log else "" if one.step is None else f", in steps of {one.step:g}"
    return f"{low:g} to {high:g}{scale}"


def _when(one: Hyperparameter) -> str:
    return ", ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in one.when.items())


def _choices(values: Sequence[object]) -> str:
    return " ".join(map(str, values))
