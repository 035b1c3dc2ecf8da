"""The command line `ffnet-search`: its verbs, its entry point, and how it exits."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ffnet_search.cli.inspect_commands import dashboard, pick, rerun, show
from ffnet_search.cli.options import Output, flat_options
from ffnet_search.cli.overview_commands import compare, list_, schema
from ffnet_search.cli.run_commands import ON_HEAD, check, export, fidelity, init, profile, run, search, submit, train
from ffnet_search.errors import START, SweepError, io_sentence
from ffnet_search.progress import say
from ffnet_search.run.interrupt import quick_end

EXIT_USER_ERROR = 2  # as argument parsers have it

app = typer.Typer(
    name="ffnet-search",
    help="""Find the best FFNet for your data, your device and your latency budget.

    You write one YAML file, a *sweep*: which data, which search space, which limits. `ffnet-search run` trains a
    supernet once, measures this machine, searches, and writes the Pareto front (accuracy against latency) as networks
    that can be deployed.

    Start with: ffnet-search init --data FOLDER, where FOLDER holds one folder of images per class.
    """,
    pretty_exceptions_enable=False,  # a bug shows a plain traceback
    rich_markup_mode="markdown",
)
FIRST = (init, run, check, profile, train, search, export, fidelity, submit)
VERBS = (*FIRST, pick, show, list_, compare, rerun, dashboard, schema)
for verb in VERBS:
    app.command(verb.__name__.rstrip("_"))(flat_options(verb))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ffnet-search {version('ffnet-search')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


WINDOWS = (
    "ffnet-search: the command runs on Linux and macOS, and on Windows inside WSL 2 (docs/windows.md); exported "
    "networks run on Windows as they are: python predict.py IMAGE"
)

# A socket's path has 107 bytes at most; those of Ray and of the loaders' workers lie in the temporary folder.
LONGEST_TEMPORARY = 40


def main() -> NoReturn:
    """Run the command of `sys.argv`. A user error is one line and exit code 2; a bug is a traceback."""
    if sys.platform == "win32":
        say(WINDOWS)
        raise SystemExit(EXIT_USER_ERROR)
    # Before torch is imported: threads that wait for each other sleep, where by default they spin. On a machine that
    # others use too, spinning made a training step of a small network 16 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if len(tempfile.gettempdir()) > LONGEST_TEMPORARY:
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
    with quick_end():
        try:
            code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False, prog_name=app.info.name)
        except Exception as error:
            is_usage = hasattr(error, "format_message")  # what typer raises for a wrong option
            message = _usage(error) if is_usage else str(error) if isinstance(error, SweepError) else io_sentence(error)
            if not message:
                raise
            code = EXIT_USER_ERROR
            Output(json="--json" in sys.argv).answer_error(message, code)
        raise SystemExit(code or 0)


def on_head(sweep: Path) -> NoReturn:
    """Run the copy of a sweep on a cluster's head."""
    os.environ[ON_HEAD] = "1"
    os.environ.setdefault("RAY_ADDRESS", "auto")  # the cluster of this head
    os.environ["TERM"] = "dumb"  # plain lines: what looks like a terminal here may be a file at the other end
    sys.argv[1:] = ["run", str(sweep), *sys.argv[1:]]
    main()


def _usage(error: Any) -> str:
    """The sentence for a wrong command line: what is wrong, and what to do."""
    message = str(error.format_message()).rstrip(".")
    verb = error.ctx.info_name if error.ctx is not None and error.ctx.parent is not None else None
    if getattr(error, "param", None) is not None and error.param.name == "sweep" and message.startswith("Missing"):
        return f"{message}: {verb} needs a sweep file; {START}"
    if message.endswith("?"):  # did you mean
        return message
    return f"{message}; see `ffnet-search {verb + ' ' if verb else ''}--help`"
