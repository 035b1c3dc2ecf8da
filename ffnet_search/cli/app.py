"""The command line `ffnet-search`: how it begins, and how it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer

from ffnet_search.cli.inspect_commands import dashboard, pick, rerun, show
from ffnet_search.cli.interrupt import EXIT_STOPPED, end_at_once
from ffnet_search.cli.options import ON_HEAD, load
from ffnet_search.cli.run_commands import check, export, init, profile, run, search, submit, train

EXIT_MISTAKE = 2  # as argument parsers have it

app = typer.Typer(
    name="ffnet-search",
    help="""Finds the best FFNet for your data, your device and your latency budget.

    You write one YAML file, a *sweep*: which data, which search space, which limits. `ffnet-search run` trains a
    supernet once, measures this machine, searches, and writes the Pareto front (accuracy against latency) as networks
    that can be deployed.

    Start with: ffnet-search init --data FOLDER, where FOLDER holds one folder of pictures per class.
    """,
    add_completion=False,
    pretty_exceptions_enable=False,  # a bug shows a plain traceback
    rich_markup_mode="markdown",
)
for verb in (init, run, check, profile, train, search, export, submit, pick, rerun, show, dashboard):
    app.command()(verb)


def on_head(sweep: Path) -> Any:
    """What runs on a cluster's head: `run` of its copy of the sweep, which says first which one that is."""
    os.environ[ON_HEAD] = "1"
    os.environ["TERM"] = "dumb"  # plain lines: what looks like a terminal here may be a file at the other end
    sys.argv[1:] = ["run", str(sweep), *sys.argv[1:]]
    return main(announce=sweep)


def _announce(path: Path) -> None:
    from datetime import datetime

    from ffnet_search.progress import say

    sweep = load(path)
    written = datetime.fromtimestamp(path.stat().st_mtime)
    say(f"sweep {sweep.name}, digest {sweep.digest}, in {path}, written {written:%Y-%m-%d %H:%M:%S}")


def _usage(error: Any) -> str:
    """What is wrong with the words of a command, and what to do, in one sentence."""
    from ffnet_search.errors import START

    told = str(error.format_message()).rstrip(".")
    verb = error.ctx.info_name if error.ctx is not None and error.ctx.parent is not None else None
    if getattr(error, "param", None) is not None and error.param.name == "sweep" and told.startswith("Missing"):
        return f"{told}: {verb} needs a sweep file; {START}"
    if told.endswith("?"):  # did you mean
        return told
    return f"{told}; see `ffnet-search {verb + ' ' if verb else ''}--help`"


def main(announce: Path | None = None) -> Any:
    """Entry point of `ffnet-search`. A user's mistake is one line and exit code 2; a bug is a traceback."""
    # Before torch is imported: threads that wait for each other sleep, where by default they spin. On a machine that
    # others use too, spinning made a training step of a small network 16 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    as_json = "--json" in sys.argv
    try:
        if announce is not None:
            _announce(announce)
        raise SystemExit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False, prog_name=app.info.name) or 0)
    except SystemExit as end:
        if end.code == EXIT_STOPPED:
            end_at_once()
        raise
    except Exception as error:
        from ffnet_search.errors import SweepError

        is_usage = hasattr(error, "format_message")  # what typer raises for a wrong option
        if not is_usage and not isinstance(error, SweepError):
            raise
        told = _usage(error) if is_usage else str(error)
        typer.echo(f"ffnet-search: {told}", err=True)
        if as_json:
            from ffnet_search.cli.json_output import as_text, of_mistake

            typer.echo(as_text(of_mistake(told, EXIT_MISTAKE)))
        raise SystemExit(EXIT_MISTAKE) from None


__all__ = ["app", "main", "on_head"]
