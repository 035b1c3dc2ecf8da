"""The verbs that make a run: `init` and `check` before it, `run` and one per stage, `submit` for a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffnet_search.cli.format_commands import Formats, check_formats, export_formats
from ffnet_search.cli.options import (
    AllowImports,
    Comparison,
    Fresh,
    Json,
    Name,
    Output,
    Overrides,
    Requirements,
    RunFolderOrSweep,
    RunMinutes,
    Seed,
    SweepFile,
    Which,
)
from ffnet_search.cli.resumable import ON_HEAD, resumable
from ffnet_search.formatting import quoted
from ffnet_search.progress import say, signs_of_life
from ffnet_search.run.interrupt import EXIT_STOPPED

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def init(
    data: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Your images: one folder per class, images/ and masks/, a CSV, or photos."),
    ] = None,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write a shipped sweep here instead, such as cifar, to edit it.")
    ] = None,
    *,
    requirements: Requirements,
    output: Output,
) -> None:
    """Write a first sweep for your images and this machine, and print what a run will cost.

    Inspects the images, measures a few training steps and latencies (seconds), and writes a commented sweep and search
    space into this folder, overwriting nothing. Without `--data`, writes an example on handwritten digits."""
    from ffnet_search.autoconfig.start import start, start_example
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.start import print_start
    from ffnet_search.errors import SweepError

    with output.silenced(), signs_of_life("init"):
        given = {name: value for name, value in vars(requirements).items() if value is not None}
        if data is None and given:
            raise SweepError(f"--{next(iter(given)).replace('_', '-')} needs --data, the images to search for; add it")
        if data is not None and example is not None:
            raise SweepError("--example writes a sweep with its own data, so --data must be left out; remove one")
        started = start_example(example or "digits", Path()) if data is None else start(data, Path(), **given)
    output.answer(started, json_output.of_start, print_start)


def run(
    sweep: SweepFile,
    overrides: Overrides,
    minutes: RunMinutes = None,
    *,
    fresh: Fresh = False,
    output: Output,
) -> None:
    """Run all stages: profile, train, search, export.

    Skips what is done and unchanged. To resume a stopped run, give the same command again. Ends with the Pareto front
    as a table and the paths of what was written to `runs/NAME`."""
    from ffnet_search.run.stages import STAGES

    loaded = overrides.load(sweep)
    if ON_HEAD in os.environ:
        written = datetime.fromtimestamp(sweep.stat().st_mtime)
        say(f"sweep {loaded.name}, digest {loaded.digest}, in {sweep}, written {written:%Y-%m-%d %H:%M:%S}")
    _run(loaded, tuple(STAGES), fresh, output, minutes)


def check(
    sweep: SweepFile,
    overrides: Overrides,
    data: Annotated[bool, typer.Option("--data", help="Read all data as a run does; report repeated images.")] = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the whole configuration, defaults included, as YAML.")
    ] = False,
    *,
    json: Json = False,
) -> None:
    """Check a sweep in a second, without running anything.

    Reads the sweep and its search space, checks that the data exist and that the limits can be kept, prints the plan.
    Your own classes are read; with `--allow-imports` they are imported and tried as a run tries them. `--data` takes
    longer: it opens every image, and refuses all that a training would refuse."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.plan import print_resolved, print_sweep
    from ffnet_search.config.resolved import resolved_content
    from ffnet_search.run.check import check_content, check_sweep
    from ffnet_search.run.data_changes import say_audit, say_remarks

    loaded = overrides.load(sweep, runs=False)
    check_sweep(loaded, imports=overrides.allow_imports)
    say_remarks(loaded)
    if data:
        say_audit(loaded)
        check_content(loaded)
    if resolved:
        Output(json=json).answer(loaded, resolved_content, print_resolved)
        return
    Output(json=json).answer(loaded, json_output.of_plan, print_sweep)


def profile(
    sweep: SweepFile,
    name: Name = None,
    device: Annotated[
        str | None, typer.Option(help="Name of one of the sweep's devices, before or after a search.")
    ] = None,
    *,
    fresh: Fresh = False,
    allow_imports: AllowImports = False,
    output: Output,
) -> None:
    """Measure the latency of every building block on this machine.

    Blocks are timed in the form that will be deployed, and the table is checked against whole networks that were not
    used to fit it. Keep the machine idle meanwhile: a busy one is detected and refused."""
    loaded = Overrides(name, allow_imports=allow_imports).load(sweep)
    if device is None:
        _run(loaded, ("profile",), fresh, output)
        return
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.latency import print_latency
    from ffnet_search.latency.table import LatencyTable
    from ffnet_search.run.pipeline import profile_named_device

    with output.silenced(), signs_of_life("profile"):
        table = LatencyTable.load(profile_named_device(loaded, device))
    output.answer(table, json_output.of_table, print_latency)


def train(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    *,
    fresh: Fresh = False,
    allow_imports: AllowImports = False,
    output: Output,
) -> None:
    """Train the supernet: one set of weights that every architecture of the search space shares."""
    _run(Overrides(name, seed, allow_imports=allow_imports).load(sweep), ("train",), fresh, output)


def search(sweep: SweepFile, overrides: Overrides, *, fresh: Fresh = False, output: Output) -> None:
    """Search for the Pareto front; needs `profile` and `train`.

    More trials than last time continue the same study."""
    _run(overrides.load(sweep), ("search",), fresh, output)


def export(
    sweep: RunFolderOrSweep,
    overrides: Overrides,
    formats: Formats,
    *,
    which: Which,
    fresh: Fresh = False,
    output: Output,
) -> None:
    """Write the front's networks: architecture, weights, ONNX, metrics; needs `search`.

    Each is rebuilt alone, measured again and tested on the test split, which nothing else uses. With `--format`
    exported networks are written for another runtime, run there, and compared with torch; the results are in their
    cards, and `--table` prints those of every format. With `--key` one more network is exported beside the front, and
    stays there; `--format` then applies to that one."""
    check_formats(formats, which, overrides)
    if which.key is not None:
        _export_key(overrides.load(sweep), which.key, output, silent=formats.are_asked_for)
    if formats.are_asked_for:
        export_formats(sweep, overrides, formats, which, output)
    elif which.key is None:
        _run(overrides.load(sweep), ("export",), fresh, output)


def _export_key(sweep: Sweep, key: str, output: Output, *, silent: bool) -> None:
    """Export one network beside the front, and print its folder, unless `silent`."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.printing import print_path
    from ffnet_search.run.export_key import export_key

    with resumable(sweep, output), signs_of_life("export"):
        network = export_key(sweep, key)
    if not silent:
        output.answer(network, json_output.of_exported, lambda one: print_path(one.folder))


def fidelity(
    sweep: SweepFile,
    comparison: Comparison,
    name: Name = None,
    *,
    fresh: Fresh = False,
    allow_imports: AllowImports = False,
    output: Output,
) -> None:
    """Measure how well the supernet ranks networks, against training each alone and against MACs. Needs `train`.

    Trains some networks alone, by the sweep's recipe and engine, and compares with their quality on the supernet's
    weights. To resume after a stop, give the same command again; more networks continue it."""
    from ffnet_search.cli.tables.fidelity import print_fidelity
    from ffnet_search.evaluation.fidelity import Fidelity
    from ffnet_search.run.fidelity.measure import FidelityPlan, measure_fidelity

    loaded = Overrides(name, allow_imports=allow_imports).load(sweep)
    plan = FidelityPlan(comparison.networks, comparison.repeated, comparison.split)
    with resumable(loaded, output), signs_of_life("fidelity"):
        measured = measure_fidelity(loaded, plan, fresh=fresh)
    output.answer(measured, Fidelity.to_dict, print_fidelity)
    if not output.json:
        say(f"written to {loaded.files.fidelity}")


def submit(
    sweep: SweepFile,
    overrides: Overrides,
    detach: Annotated[
        bool, typer.Option("--detach/--follow", help="Leave the run in tmux on the head, or follow it to its end.")
    ] = False,
) -> None:
    """Run a sweep on a Ray cluster, from a cluster file that holds the sweep under `metadata: sweep:`.

    Checks the file, starts the cluster where it is not running, packs this program with the sweep into one archive
    (so that every node runs the code of this machine), submits that, and brings the run's folder back."""
    from ffnet_search.cluster.submit import submit as submit_sweep

    again, outcome = shlex.join(["ffnet-search", *sys.argv[1:]]), "the run failed or was stopped"
    try:
        code = submit_sweep(overrides.load(sweep), detach=detach)
    except KeyboardInterrupt:
        say("")  # ends the line of the terminal's ^C
        code, outcome = EXIT_STOPPED, "stopped, here and on the cluster"
    if code:
        say(f"{outcome}; results so far are kept on the cluster; to resume: {again}")
        raise typer.Exit(code)


def _run(sweep: Sweep, stages: tuple[str, ...], fresh: bool, output: Output, minutes: float | None = None) -> None:
    """Run stages and print the front."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.resolve import Front
    from ffnet_search.cli.tables.front import print_files, print_run
    from ffnet_search.run.pipeline import run_sweep

    with resumable(sweep, output):
        networks = run_sweep(sweep, fresh=fresh, stages=stages, minutes=minutes)
    exported = "export" in stages
    output.answer(Front(sweep, networks), json_output.of_run, print_run if exported else print_files)
    if exported and not output.json:
        folder = quoted(sweep.files.folder)
        say(f"inspect: ffnet-search dashboard {folder}")
        if sweep.search_space.is_elastic and (ms := networks[0].metrics.get("measured_ms")) is not None:
            say(f"select: ffnet-search pick {folder} --latency-ms {1.01 * ms:.3g}")  # rounded up: the network keeps it
