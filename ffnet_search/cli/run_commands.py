"""The verbs that make a run: one per stage, one for all, and those that come before and beyond this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffnet_search.cli.interrupt import EXIT_STOPPED, stoppable
from ffnet_search.cli.options import (
    ON_HEAD,
    Fresh,
    Json,
    Name,
    Quiet,
    RunFolderOrSweep,
    Seed,
    SweepFile,
    Trials,
    hushed,
    load,
    tell,
)
from ffnet_search.export.formats.registry import FORMATS

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def init(
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Your pictures: a folder that holds one folder per class.")
    ] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0, help="What a network may take, in milliseconds.")] = None,
    minutes: Annotated[float, typer.Option(min=1, help="What a run may cost on this machine, about.")] = 15,
    name: Annotated[str | None, typer.Option(help="Of the sweep; the folder's by default.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Writes a first sweep for your pictures and this machine, and says what it will cost.

    Looks at the pictures, measures a few training steps and latencies (seconds), and writes a commented sweep and
    search space into this folder, overwriting nothing. Without `--data`, the starter on handwritten digits.
    """
    from ffnet_search.autoconfig.start import start, start_digits
    from ffnet_search.cli.json_output import of_start
    from ffnet_search.cli.tables import print_start

    here = Path()
    with hushed(quiet):
        if data is None:
            started = start_digits(here)
        else:
            started = start(data, here, name=name, latency_ms=latency_ms, minutes=minutes)
    tell(json, started, of_start, print_start)


def run(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    trials: Trials = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Does all stages: profile, train, search, export.

    What is done and unchanged is skipped, and a stopped run goes on where it was: give the same command again. Ends
    with the Pareto front as a table and the paths of what was written to `runs/NAME`.
    """
    from ffnet_search.run.stages import STAGES

    _run(load(sweep, name, seed, trials), tuple(STAGES), fresh, quiet, json)


def check(sweep: SweepFile, name: Name = None, seed: Seed = None, trials: Trials = None, json: Json = False) -> None:
    """Checks a sweep in a second, without running anything.

    Reads the sweep and its search space, looks whether the data are there and whether the limits can be kept at all,
    and says what would be run.
    """
    from ffnet_search.cli.tables import print_plan, print_space
    from ffnet_search.run.check import check_sweep
    from ffnet_search.run.stages import plan

    loaded = load(sweep, name, seed, trials)
    check_sweep(loaded)
    if json:
        from ffnet_search.cli.json_output import as_text, of_plan

        typer.echo(as_text(of_plan(loaded, plan(loaded))))
    else:
        print_space(loaded.search_space)
        print_plan(loaded, plan(loaded))


def profile(
    sweep: SweepFile,
    name: Name = None,
    device: Annotated[
        str | None, typer.Option(help="Name of one of the sweep's devices, before or after a search.")
    ] = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measures the latency of every building block on this machine.

    Blocks are timed in the form that will be deployed, and the table is checked against whole networks that were not
    used to fit it. Leave the machine alone meanwhile: a busy one is noticed and refused.
    """
    if device is not None:
        from ffnet_search.cli.json_output import of_table
        from ffnet_search.cli.tables import print_latency
        from ffnet_search.latency.table import LatencyTable
        from ffnet_search.run.pipeline import profile_named_device

        with hushed(quiet):
            table = LatencyTable.load(profile_named_device(load(sweep, name), device))
        tell(json, table, of_table, print_latency)
        return
    _run(load(sweep, name), ("profile",), fresh, quiet, json)


def train(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Trains the supernet: one set of weights that every architecture of the search space shares."""
    _run(load(sweep, name, seed), ("train",), fresh, quiet, json)


def search(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    trials: Trials = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Searches for the Pareto front; needs `profile` and `train`.

    More trials than last time continue the same study.
    """
    _run(load(sweep, name, seed, trials), ("search",), fresh, quiet, json)


def export(
    sweep: RunFolderOrSweep,
    name: Name = None,
    seed: Seed = None,
    trials: Trials = None,
    format: Annotated[
        str | None, typer.Option(help=f"Write exported networks in this format too: {', '.join(FORMATS)}.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="With --format: only the best so many.")] = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Writes the front's networks: architecture, weights, ONNX, metrics; needs `search`.

    Each is rebuilt alone, measured again and tested on the test split, which nothing else looks at. With `--format`
    networks that are exported already are written for another runtime, run there, and compared with torch; what was
    found is in their cards.
    """
    if sweep.is_dir() and format is None:
        sweep /= "sweep.yaml"
    if format is not None:
        from ffnet_search.cli.json_output import of_formats
        from ffnet_search.cli.tables import print_formats
        from ffnet_search.config.sweep import Sweep
        from ffnet_search.export.formats.write import export_format

        with hushed(quiet):
            picks = export_format(Sweep.of_run(sweep).override(name=name), format, top)
        tell(json, picks, lambda written: of_formats(written, format), lambda written: print_formats(written, format))
        return
    _run(load(sweep, name, seed, trials), ("export",), fresh, quiet, json)


def submit(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    trials: Trials = None,
    detach: Annotated[
        bool, typer.Option("--detach/--follow", help="Leave it in tmux on the head, or follow it to its end.")
    ] = False,
) -> None:
    """Runs a sweep on a Ray cluster: the one of the file that carries it under `metadata: sweep:`.

    Checks the file, starts the cluster where it is not running, packs this program with the sweep into one archive
    (so that every node runs what is here now), submits that, and brings the run's folder back.
    """
    from ffnet_search.cluster.submit import submit as submit_it
    from ffnet_search.progress import say

    try:
        code = submit_it(load(sweep, name, seed, trials), detach=detach)
    except KeyboardInterrupt:
        again = " ".join(["ffnet-search", *sys.argv[1:]])
        say(f"\nstopped, here and on the cluster, where what was done is kept; to go on from there: {again}")
        raise typer.Exit(EXIT_STOPPED) from None
    if code:
        again = " ".join(["ffnet-search", *sys.argv[1:]])
        say(f"it did not end well, or was stopped; what was done is kept on the cluster; to go on from there: {again}")
        raise typer.Exit(code)


def _run(sweep: Sweep, stages: tuple[str, ...], fresh: bool, quiet: bool, json: bool) -> None:
    from ffnet_search.cli.json_output import as_text, of_mistake, of_run
    from ffnet_search.cli.tables import print_front, print_paths
    from ffnet_search.progress import say
    from ffnet_search.run.pipeline import run_sweep
    from ffnet_search.run.stages import plan

    def tell_stopped() -> None:
        words = ["ffnet-search", *(word for word in sys.argv[1:] if word != "--fresh")]
        again = "submit it again" if ON_HEAD in os.environ else " ".join(words)
        told = f"stopped; what was done is kept in {sweep.files.folder}; to go on from there: {again}"
        say(f"\n{told}")
        if json:
            typer.echo(as_text(of_mistake(told, EXIT_STOPPED)))

    try:
        with stoppable(tell_stopped), hushed(quiet):
            picks = run_sweep(sweep, fresh=fresh, stages=stages)
    except KeyboardInterrupt:
        tell_stopped()
        raise typer.Exit(EXIT_STOPPED) from None
    if json:
        typer.echo(as_text(of_run(sweep, picks, plan(sweep))))
        return
    if "export" in stages:
        print_front(picks)
    print_paths(sweep.files)
    if "export" in stages:
        folder = sweep.files.folder
        pick = f"; choose: ffnet-search pick {folder} --latency-ms MS" if sweep.latency_path.exists() else ""
        say(f"look: ffnet-search dashboard {folder}{pick}")
