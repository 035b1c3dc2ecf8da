"""The command line: one verb per stage, one for all, and some to begin and to look. Imports happen inside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ffnet_search.stopping import EXIT_STOPPED, end_at_once, stoppable

if TYPE_CHECKING:
    from ffnet_search.sweep import Sweep

T = TypeVar("T")
EXIT_MISTAKE = 2  # as argument parsers have it
ON_HEAD = "FFNET_SEARCH_ON_HEAD"  # in the environment of a run that was submitted: its command means nothing here

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

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep file, e.g. sweeps/digits.yaml.")]
RunFolderOrSweep = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, e.g. runs/digits, or its sweep file.")
]
Name = Annotated[str | None, typer.Option(help="Name of the run, and of its folder; instead of the sweep's.")]
Seed = Annotated[int | None, typer.Option(help="Instead of the sweep's seed.")]
Trials = Annotated[int | None, typer.Option(help="Architectures to try; instead of the sweep's search.trials.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Where the sweep changed: move what that invalidates aside, and make it anew.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print results and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, also for a mistake; for scripts.")]


@app.command()
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
    from ffnet_search.documents import of_start
    from ffnet_search.show import print_start
    from ffnet_search.starter import start, start_digits

    here = Path()
    with _hushed(quiet):
        if data is None:
            started = start_digits(here)
        else:
            started = start(data, here, name=name, latency_ms=latency_ms, minutes=minutes)
    _tell(json, started, of_start, print_start)


@app.command()
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
    from ffnet_search.sweep import STAGES

    _run(_load(sweep, name, seed, trials), STAGES, fresh, quiet, json)


@app.command()
def check(sweep: SweepFile, name: Name = None, seed: Seed = None, trials: Trials = None, json: Json = False) -> None:
    """Checks a sweep in a second, without running anything.

    Reads the sweep and its search space, looks whether the data are there and whether the limits can be kept at all,
    and says what would be run.
    """
    from ffnet_search.data import check_data
    from ffnet_search.errors import mistakes_in
    from ffnet_search.pipeline import plan, refuse_impossible
    from ffnet_search.settings import check_imports
    from ffnet_search.show import print_plan, print_space
    from ffnet_search.sweepfile import is_cluster

    loaded = _load(sweep, name, seed, trials)
    if is_cluster(sweep):
        from ffnet_search.search.submit import check_cluster

        check_cluster(sweep)  # the data are on its nodes, not here
    else:
        with mistakes_in(loaded.path):
            if loaded.module is None or ":" not in loaded.data.name:
                check_data(loaded.data, loaded.search_space.images)
            check_imports(loaded)
    refuse_impossible(loaded)
    if json:
        from ffnet_search.documents import as_text, of_plan

        typer.echo(as_text(of_plan(loaded, plan(loaded))))
    else:
        print_space(loaded.search_space)
        print_plan(loaded, plan(loaded))


@app.command()
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
        from ffnet_search.documents import of_table
        from ffnet_search.latency import LatencyTable
        from ffnet_search.pipeline import profile_device
        from ffnet_search.show import print_latency

        with _hushed(quiet):
            table = LatencyTable.load(profile_device(_load(sweep, name), device))
        _tell(json, table, of_table, print_latency)
        return
    _run(_load(sweep, name), ("profile",), fresh, quiet, json)


@app.command()
def train(
    sweep: SweepFile,
    name: Name = None,
    seed: Seed = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Trains the supernet: one set of weights that every architecture of the search space shares."""
    _run(_load(sweep, name, seed), ("train",), fresh, quiet, json)


@app.command()
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
    _run(_load(sweep, name, seed, trials), ("search",), fresh, quiet, json)


@app.command()
def export(
    sweep: RunFolderOrSweep,
    name: Name = None,
    seed: Seed = None,
    trials: Trials = None,
    format: Annotated[
        str | None, typer.Option(help="Write exported networks in this format too: onnx, pt2, openvino, int8, coreml.")
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
        from ffnet_search.documents import of_formats
        from ffnet_search.formats import export_format
        from ffnet_search.show import print_formats
        from ffnet_search.sweep import Sweep

        with _hushed(quiet):
            picks = export_format(Sweep.of_run(sweep).override(name=name), format, top)
        _tell(json, picks, lambda written: of_formats(written, format), lambda written: print_formats(written, format))
        return
    _run(_load(sweep, name, seed, trials), ("export",), fresh, quiet, json)


@app.command()
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
    from ffnet_search.progress import say
    from ffnet_search.search.submit import submit as submit_it

    try:
        code = submit_it(_load(sweep, name, seed, trials), detach=detach)
    except KeyboardInterrupt:
        again = " ".join(["ffnet-search", *sys.argv[1:]])
        say(f"\nstopped, here and on the cluster, where what was done is kept; to go on from there: {again}")
        raise typer.Exit(EXIT_STOPPED) from None
    if code:
        again = " ".join(["ffnet-search", *sys.argv[1:]])
        say(f"it did not end well, or was stopped; what was done is kept on the cluster; to go on from there: {again}")
        raise typer.Exit(code)


@app.command()
def pick(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, e.g. runs/digits.")],
    latency_ms: Annotated[float, typer.Option(help="What the network may take, in milliseconds for a batch.")],
    device: Annotated[str | None, typer.Option(help="Name of a latency table of the run; the search's own.")] = None,
    json: Json = False,
) -> None:
    """Picks the most accurate network that was evaluated and fits a latency, on any device that was profiled.

    Answers at once, from the study and the device's table, and says where it would pay to search on.
    """
    from ffnet_search.documents import of_choice
    from ffnet_search.pick import pick as choose
    from ffnet_search.show import print_choice

    _tell(json, choose(run, latency_ms, device), of_choice, print_choice)


@app.command()
def rerun(
    run: RunFolderOrSweep,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Number or key of a trial, from candidates.csv.")],
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Repeats one trial of a run, and prints the difference: 0 on the same CPU and versions.

    Nothing in the run's folder changes.
    """
    from ffnet_search.documents import of_rerun
    from ffnet_search.search.rerun import rerun as repeat
    from ffnet_search.show import print_rerun

    with _hushed(quiet):
        found = repeat(run, trial)
    _tell(json, found, of_rerun, print_rerun)


@app.command()
def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A search space or architecture (YAML), a preset (ffnet_1 .. ffnet_4), a latency table (JSON), "
            "a sweep, or the folder of a run.",
        ),
    ],
    json: Json = False,
) -> None:
    """Prints what a file holds: a search space, an architecture, a latency table, a sweep or a run's front."""
    from ffnet_search.documents import of_shown
    from ffnet_search.show import look_up, print_shown

    _tell(json, look_up(what), of_shown, print_shown)


@app.command()
def dashboard(
    run: RunFolderOrSweep,
    host: Annotated[str, typer.Option(help="Address to listen on; other machines can reach 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
) -> None:
    """Opens Optuna Dashboard on a run, while it searches or afterwards.

    The trials of the front have a note and the network's files there. Only this machine can reach it unless `--host`
    says otherwise: whoever can reach it may change the study.
    """
    import webbrowser

    from ffnet_search.report import annotate_study
    from ffnet_search.search.dashboard import serve
    from ffnet_search.sweep import Sweep

    sweep = Sweep.of_run(run)
    annotate_study(sweep)

    def ready(address: str) -> None:
        typer.echo(f"{address}   (Ctrl-C stops it)")
        sys.stdout.flush()
        if sys.stdout.isatty():
            webbrowser.open(address)

    try:
        serve(sweep.files.study, sweep.files.artifacts, host, port, ready)
    except KeyboardInterrupt:
        raise typer.Exit() from None


def _load(path: Path, name: str | None = None, seed: int | None = None, trials: int | None = None) -> Sweep:
    from ffnet_search.sweep import Sweep

    return Sweep.from_yaml(path).override(name=name, seed=seed, trials=trials)


def _tell(json: bool, value: T, document: Callable[[T], dict[str, Any]], show: Callable[[T], None]) -> None:
    """The result of a verb on standard output, for scripts or for people."""
    if json:
        from ffnet_search.documents import as_text

        typer.echo(as_text(document(value)))
    else:
        show(value)


@contextmanager
def _hushed(quiet: bool) -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if quiet else nullcontext():
        yield


def _run(sweep: Sweep, stages: tuple[str, ...], fresh: bool, quiet: bool, json: bool) -> None:
    from ffnet_search.documents import as_text, of_mistake, of_run
    from ffnet_search.pipeline import plan
    from ffnet_search.pipeline import run as run_pipeline
    from ffnet_search.progress import say
    from ffnet_search.show import print_front, print_paths

    def tell_stopped() -> None:
        words = ["ffnet-search", *(word for word in sys.argv[1:] if word != "--fresh")]
        again = "submit it again" if ON_HEAD in os.environ else " ".join(words)
        told = f"stopped; what was done is kept in {sweep.files.folder}; to go on from there: {again}"
        say(f"\n{told}")
        if json:
            typer.echo(as_text(of_mistake(told, EXIT_STOPPED)))

    try:
        with stoppable(tell_stopped), _hushed(quiet):
            picks = run_pipeline(sweep, fresh=fresh, stages=stages)
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


def on_head(sweep: Path) -> Any:
    """What runs on a cluster's head: `run` of its copy of the sweep, which says first which one that is."""
    os.environ[ON_HEAD] = "1"
    os.environ["TERM"] = "dumb"  # plain lines: what looks like a terminal here may be a file at the other end
    sys.argv[1:] = ["run", str(sweep), *sys.argv[1:]]
    return main(announce=sweep)


def _announce(path: Path) -> None:
    from datetime import datetime

    from ffnet_search.progress import say

    sweep = _load(path)
    written = datetime.fromtimestamp(path.stat().st_mtime)
    say(f"sweep {sweep.name}, digest {sweep.digest('export')}, in {path}, written {written:%Y-%m-%d %H:%M:%S}")


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
        raise SystemExit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
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
            from ffnet_search.documents import as_text, of_mistake

            typer.echo(as_text(of_mistake(told, EXIT_MISTAKE)))
        raise SystemExit(EXIT_MISTAKE) from None


if __name__ == "__main__":
    main()
