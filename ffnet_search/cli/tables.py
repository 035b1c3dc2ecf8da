"""What a person sees of spaces, architectures, latency tables, sweeps and fronts: tables on standard output."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ffnet_search.cli.resolve import Shown
from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import BLOCK_AXES
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.hyperparameters import Hyperparameter
from ffnet_search.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ffnet_search.autoconfig.start import Started
    from ffnet_search.export.exported import ExportedNetwork
    from ffnet_search.latency.table import LatencyTable
    from ffnet_search.run.rerun import Rerun
    from ffnet_search.run.select import Selection
    from ffnet_search.run.stages import StageStatus

SAMPLES = 300  # of a space, for the range that its architectures have
SLOWER = 1.1  # times the milliseconds of the plain ONNX model: beyond the noise of one look


def print_shown(shown: Shown) -> None:
    """As tables."""
    value = shown.value
    if isinstance(value, Architecture):
        print_architecture(value, shown.name)
    elif isinstance(value, SearchSpace):
        print_space(value)
    elif isinstance(value, Sweep):
        from ffnet_search.run.stages import plan

        print_space(value.search_space)
        print_plan(value, plan(value))
    elif isinstance(value, Sequence):
        print_front(value)
        print_paths(RunPaths(Path(shown.name)))
    else:
        print_latency(value)


def print_space(space: SearchSpace) -> None:
    """Choices per stage, how many architectures they make, and what those cost; and the hyper-parameters."""
    if space.hyperparameters:
        rows = [[name, _range(one), _when(one)] for name, one in space.hyperparameters.items()]
        _print(_table(["hyper-parameter", "values", "only where"], rows))
    if space.architecture:
        print_architecture(space.architecture, f"the architecture of {space.name}")
    if not space.is_elastic:
        return
    shape = space.images
    _print(
        f"search space {space.name}: {space.size:,} architectures for {shape.channels} x {shape.resolution} x "
        f"{shape.resolution} images of {shape.outputs} classes"
    )
    _print(f"stem width {_choices(space.stem.width)}, stride {_choices(space.stem.stride)}")
    rows = [
        [str(number), _choices(stage.depth), _choices(stage.width), *(_choices(stage.choices(a)) for a in BLOCK_AXES)]
        for number, stage in enumerate(space.stages, 1)
    ]
    titles = [f"{axis.replace('_', ' ')}{' (each block)' if axis in space.per_block else ''}" for axis in BLOCK_AXES]
    _print(_table(["stage", "depth", "width", *titles], rows))
    rng = random.Random(0)
    drawn = sorted((space.sample(rng) for _ in range(SAMPLES)), key=lambda arch: arch.macs_m)
    named = {"smallest": space.smallest, "median": drawn[SAMPLES // 2], "largest": space.largest, **space.presets}
    cost = [[name, f"{arch.macs_m:.4g}", f"{arch.params_m:.3g}", str(arch)] for name, arch in named.items()]
    _print(_table(["architecture", "MACs (M)", "params (M)", "stem width/stride | stage width: blocks"], cost))


def print_architecture(arch: Architecture, name: str) -> None:
    """One network, and where its cost is."""
    _print(f"{name}: {arch.key}  {arch}")
    _print(f"{arch.macs_m:.5g} M MACs, {arch.params_m:.4g} M parameters in the deployed form, for one image")
    counts: dict[Any, int] = {}
    for part in arch.parts:
        counts[part] = counts.get(part, 0) + 1
    rows = [
        [part.key, str(count), f"{count * part.macs / 1e6:.4g}", f"{count * part.params / 1e6:.3g}"]
        for part, count in counts.items()
    ]
    _print(_table(["part", "times", "MACs (M)", "params (M)"], rows, right=3))


def print_latency(table: LatencyTable) -> None:
    """What was measured on which device, and how far to trust it."""
    at = table.setting
    _print(f"latency table {table.name}: {len(table.entries)} parts, {at.date}")
    _print(f"{at.device}; {at.backend}, {at.threads} threads, batch {at.batch_size}, {at.dtype}, {at.clock}")
    _print(f"versions: {', '.join(f'{name} {version}' for name, version in at.versions.items())}")
    _print(f"held out: {table.error}")
    rows = [
        [check.architecture.key, f"{check.measured_ms:.3f}", f"{check.predicted_ms:.3f}", f"{check.error:+.1%}"]
        for check in table.worst
    ]
    _print(_table(["held-out network", "measured ms", "predicted ms", "error"], rows, right=3))


def print_plan(sweep: Sweep, plan: Mapping[str, StageStatus]) -> None:
    """What `run` would do now."""
    limits = ", ".join(f"{name} <= {limit:g}" for name, limit in sweep.search.constraints.items()) or "none"
    _print(
        f"sweep {sweep.name}: {sweep.data.name}, {sweep.train.epochs} epochs, {sweep.search.trials} trials of "
        f"{sweep.search.sampler.class_path} for {', '.join(sweep.search.objectives)}; limits: {limits}"
    )
    _print(
        _table(["stage", f"in {sweep.files.folder}"], [[stage, stage_words(status)] for stage, status in plan.items()])
    )


def stage_words(status: StageStatus) -> str:
    """The state of a stage in words: `done`, `pending`, `incomplete`, `changed: train.epochs (30 -> 4)`."""
    if not status.changes:
        return status.state.value
    return f"{status.state.value}: {', '.join(map(str, status.changes))}"


def print_start(started: Started) -> None:
    """What `init` found and wrote, what a run costs, and the next command."""
    for line in started.lines:
        _print(line)
    for path in started.files:
        _print(f"wrote {path}")
    if started.minutes:
        rows = [[stage, f"{minutes:.1f}"] for stage, minutes in started.minutes.items()]
        _print(_table(["stage", "minutes"], [*rows, ["all", f"{sum(started.minutes.values()):.1f}"]], right=1))
    _print(f"next: ffnet-search run {started.sweep}")


FRONT = {  # metric of an exported network -> title, how it is written; any other by its own name
    "search_accuracy": ("accuracy %", lambda x: f"{100 * x:.2f}"),
    "test_accuracy": ("test %", lambda x: f"{100 * x:.2f}"),
    "predicted_ms": ("predicted ms", lambda x: f"{x:.3f}"),
    "measured_ms": ("measured ms", lambda x: f"{x:.3f}"),
    "params_m": ("params (M)", lambda x: f"{x:.3f}"),
    "weights_mb": ("weights (MB)", lambda x: f"{x:.3g}"),
    "peak_memory_mb": ("maps (MB)", lambda x: f"{x:.3g}"),
    "macs_m": ("MACs (M)", lambda x: f"{x:.2f}"),
}


def print_front(picks: Sequence[ExportedNetwork]) -> None:
    """The exported front, best first."""
    names = [name for name in picks[0].metrics if name != "measured_spread"] if picks else []
    columns = [FRONT.get(name, (name, lambda x: f"{x:.4g}")) for name in names]
    rows = [
        [write(pick.metrics[name]) for name, (_, write) in zip(names, columns, strict=True)]
        + [pick.key, str(Configuration(pick.architecture, pick.hyperparameters))]
        for pick in picks
    ]
    what = "architecture" if not picks or picks[0].architecture else "hyper-parameters"
    _print(_table([*(title for title, _ in columns), "key", what], rows, right=len(columns), left=0))


def print_formats(picks: Sequence[ExportedNetwork], name: str) -> None:
    """What `export --format` wrote, and how it compares with torch and with the ONNX model."""
    rows, slower = [], []
    for pick in picks:
        found = json.loads((pick.folder / "card.json").read_text(encoding="utf-8"))["formats"][name]
        slower.append(found.get("latency_ms", 0.0) > SLOWER * found.get("onnx_latency_ms", 1.0))
        accuracy = found.get("test_accuracy")
        test = "as torch" if "max_difference" in found else "not here"
        test = test if accuracy is None else f"{100 * accuracy:.2f} ({100 * found['test_accuracy_before']:.2f})"
        times = [f"{found[ms]:.3f}" if ms in found else "not here" for ms in ("latency_ms", "onnx_latency_ms")]
        times.append(f"{found['max_difference']:.1e}" if "max_difference" in found else "not here")
        rows.append([str(pick.folder / found["files"][0]), *times, test])
    _print(_table(["file", "ms", "onnx ms", "logits differ by", "test % (before)"], rows, right=4))
    if any(slower):
        which = "all of them are" if all(slower) else f"{sum(slower)} of them are"
        _print(f"{which} slower here than model.onnx: on this machine, that is the one to use")


def print_rerun(found: Rerun) -> None:
    """A trial's metrics then and now."""
    _print(f"trial {found.number}, {found.configuration.key}: {found.configuration}")
    before, now = found.reasons
    if before or now:
        _print(f"then: {before or 'no failure'}")
        _print(f"now: {now or 'no failure'}")
    rows = [[name, f"{x:.6g}", f"{y:.6g}", f"{y - x:+.3g}"] for name, (x, y) in found.metrics.items()]
    if rows:
        _print(_table(["metric", "then", "now", "difference"], rows, right=3))
    for words in found.changed:
        _print(f"not as it was then: {words}")


def print_choice(choice: Selection) -> None:
    """One network of a study, for a latency on a device."""
    arch = choice.candidate.network
    _print(
        f"{arch.key}: {100 * choice.candidate.metrics['accuracy']:.2f} % of the search's validation images, "
        f"{choice.latency_ms:.3g} ms on {choice.device} (predicted; {choice.table.error})"
    )
    _print(f"{arch.params_m:.3g} M parameters, {arch.macs_m:.4g} M MACs: {arch}")
    if choice.warning:
        _print(f"warning: {choice.warning}")
    if choice.advice:
        _print(f"advice: {choice.advice}")


def print_paths(files: RunPaths) -> None:
    """What is in the run's folder, for whom."""
    told = {
        files.report: "the front to look at, in a browser",
        files.pareto: "the networks: architecture, weights, ONNX, card",
        files.candidates: "all candidates",
        files.study: "the study, for Optuna",
        files.supernet: "the supernet's weights",
        files.latency: "latency tables",
    }
    there = {str(path): words for path, words in told.items() if path.exists()}
    for name, words in there.items():
        _print(f"{name:<{max(map(len, there))}}  {words}")


def _range(one: Hyperparameter) -> str:
    if one.choices is not None:
        return _choices(one.choices)
    low, high = one.range
    how = ", log" if one.log else "" if one.step is None else f", in steps of {one.step:g}"
    return f"{low:g} to {high:g}{how}"


def _when(one: Hyperparameter) -> str:
    return ", ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in one.when.items())


def _choices(values: Sequence[object]) -> str:
    return " ".join(map(str, values))


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0, left: int = 1) -> Table:
    """`right` columns of numbers after `left` of words."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, title in enumerate(titles):
        is_number = left <= index < left + right
        table.add_column(title, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in rows:
        table.add_row(*row)
    return table


def _print(what: str | Table) -> None:
    # Away from a terminal nothing is cut or wrapped: people search and copy it.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 250)
    console.print(what, soft_wrap=isinstance(what, str))
