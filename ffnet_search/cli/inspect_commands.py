"""The verbs that read a run, and `show` for files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from ffnet_search.cli.options import AllowImports, Budget, Json, Output, RunFolderOrSweep, permit_imports
from ffnet_search.errors import SweepError
from ffnet_search.progress import say, signs_of_life


def pick(
    run: RunFolderOrSweep,
    budget: Budget,
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the best network there, retrained if the sweep says so.")
    ] = None,
    json: Json = False,
    allow_imports: AllowImports = False,
) -> None:
    """Print the folder of the best network within a latency, or of the quickest that is good enough.

    The quality is what the run ranks by. Of exported networks the measured latency counts, on any device that was
    profiled, or in a format that was written. Where a better network was evaluated and not exported, names it and the
    command that exports it. Answers at once, from the run's files."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.selection import print_selection
    from ffnet_search.run.select import select_network

    if budget.latency_ms is None and budget.quality is None and budget.accuracy is None:
        raise SweepError("pick: needs --latency-ms, --quality or both; add one")
    if budget.quality is not None and budget.accuracy is not None:
        raise SweepError("pick: --accuracy is --quality of a run that ranks by accuracy; remove one")
    if budget.device is not None and budget.format is not None:
        raise SweepError("pick: --device is of latency tables, and models of --format were timed here; remove one")
    permit_imports(allow_imports, runs=export is not None)
    latency_ms = inf if budget.latency_ms is None else budget.latency_ms
    quality, of = (budget.quality, "") if budget.accuracy is None else (budget.accuracy, "accuracy")
    selection = select_network(run, latency_ms, budget.device, quality, of, budget.format or "")
    Output(json=json).answer(selection, json_output.of_selection, print_selection)
    if export is not None:
        from ffnet_search.config.sweep import Sweep
        from ffnet_search.run.export_key import export_key

        best = selection.answer.best
        assert best is not None
        export_key(Sweep.of_run(run), best.key, export)
        say(f"wrote {best.key} to {export}")


def rerun(
    run: RunFolderOrSweep,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Number or key of a trial, from candidates.csv.")],
    allow_imports: AllowImports = False,
    *,
    output: Output,
) -> None:
    """Re-run one trial of a run, and print the difference: 0 on the same CPU and versions.

    Nothing in the run's folder changes."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.rerun import print_rerun
    from ffnet_search.run.rerun import rerun as rerun_trial

    permit_imports(allow_imports, runs=True)
    with output.silenced(), signs_of_life("rerun"):
        result = rerun_trial(run, trial)
    output.answer(result, json_output.of_rerun, print_rerun)


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A search space or architecture (YAML), a preset (ffnet_1 .. ffnet_4), a latency table (JSON), "
            "a sweep, the folder of a run or of an exported network, or a file in one.",
        ),
    ],
    json: Json = False,
    allow_imports: AllowImports = False,
) -> None:
    """Print the content of a file: a search space, an architecture, a latency table, a sweep, a run's front or one of
    its networks."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.resolve import Front, resolve
    from ffnet_search.cli.tables.front import print_run
    from ffnet_search.cli.tables.latency import print_latency
    from ffnet_search.cli.tables.network import print_network
    from ffnet_search.cli.tables.plan import print_sweep
    from ffnet_search.cli.tables.space import print_architecture, print_space
    from ffnet_search.config.sweep import Sweep
    from ffnet_search.export.exported import ExportedNetwork
    from ffnet_search.latency.table import LatencyTable
    from ffnet_search.space.architecture import Architecture
    from ffnet_search.space.search_space import SearchSpace

    forms: dict[type, tuple[Callable[[Any], dict[str, Any]], Callable[[Any], None]]] = {
        Architecture: (json_output.of_architecture, partial(print_architecture, name=what)),
        SearchSpace: (json_output.of_space, print_space),
        LatencyTable: (json_output.of_table, print_latency),
        Sweep: (json_output.of_plan, print_sweep),
        Front: (json_output.of_run, print_run),
        ExportedNetwork: (json_output.of_exported, print_network),
    }
    permit_imports(allow_imports, runs=False)
    value = resolve(what)
    Output(json=json).answer(value, *forms[type(value)])


def dashboard(
    run: RunFolderOrSweep,
    host: Annotated[str, typer.Option(help="Address to listen on; other machines can reach 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    allow_imports: AllowImports = False,
) -> None:
    """Open Optuna Dashboard on a run, while it searches or afterwards.

    The trials of the front have a note and the network's files there. Only this machine can reach it unless `--host`
    says otherwise: whoever can reach it may change the study."""
    import webbrowser

    from ffnet_search.config.sweep import Sweep
    from ffnet_search.report.annotate import annotated_study
    from ffnet_search.report.dashboard import serve

    permit_imports(allow_imports, runs=False)
    sweep = Sweep.of_run(run)

    def ready(address: str) -> None:
        typer.echo(f"{address}   (Ctrl-C stops it)")
        if sys.stdout.isatty():
            webbrowser.open(address)

    with annotated_study(sweep) as (study, artifacts), suppress(KeyboardInterrupt):
        serve(study, artifacts, host, port, ready)
