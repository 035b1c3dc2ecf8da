"""The command line `ffnet-search`: its verbs, its entry point, and how it exits."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from ffnet_search.cli.inspect_commands import dashboard, pick, rerun, show
from ffnet_search.cli.options import Output, Verb, Verbs, flat_options
from ffnet_search.cli.overview_commands import compare, list_, schema
from ffnet_search.cli.resumable import ON_HEAD
from ffnet_search.cli.run_commands import check, export, fidelity, init, profile, run, search, submit, train
from ffnet_search.errors import START, SweepError, io_reason, io_sentence
from ffnet_search.files.temporary import TemporaryFolder, remove_left
from ffnet_search.progress import say
from ffnet_search.run.interrupt import quick_end

EXIT_USER_ERROR = 2  # as argument parsers have it
EXIT_UNREAD = 1  # nobody read the result to its end

app = typer.Typer(
    name="ffnet-search",
    cls=Verbs,
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
    app.command(verb.__name__.rstrip("_"), cls=Verb)(flat_options(verb))


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

# A socket's path has 107 bytes at most, on macOS 103; those of Ray and of the loaders' workers lie in the temporary
# folder, and take 83.
LONGEST_TEMPORARY = 24 if sys.platform == "linux" else 20


def main() -> NoReturn:
    """Run the command of `sys.argv`. A user error is one line and exit code 2; a bug is a traceback."""
    if sys.platform == "win32":
        say(WINDOWS)
        raise SystemExit(EXIT_USER_ERROR)
    # Before torch is imported: threads that wait for each other sleep, where by default they spin. On a machine that
    # others use too, spinning made a training step of a small network 16 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_streams()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports its use otherwise
    with quick_end(), _own_temporary_folder():
        message = ""
        try:
            code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False, prog_name=app.info.name)
            sys.stdout.flush()
        except Exception as error:
            message = _user_message(error)
            if not message:
                raise
            code = EXIT_USER_ERROR
            Output(json="--json" in sys.argv).answer_error(message, code)
        _shorten_last_errors(message)
        raise SystemExit(code or 0)


def _shorten_last_errors(said: str) -> None:
    """Have a file error of a library's function at exit, such as a logger's, told in one line, unless it was `said`."""
    usual = sys.unraisablehook

    def tell(ended: Any) -> None:
        reason = io_reason(ended.exc_value)
        if not reason:
            usual(ended)
        elif reason not in said:
            say(f"ffnet-search: a file of a library was not written to its end: {reason}")

    sys.unraisablehook = tell


class _ProgressFile(FileIO):
    """Standard error, whose reader, terminal or disk may be gone: what it cannot take is lost, and the run
    continues."""

    def write(self, content: Any) -> int:
        size = memoryview(content).nbytes
        try:
            return super().write(content) or size
        except OSError:
            return size


class _ResultFile(FileIO):
    """Standard output: where its reader has ended, as `head` does, the command ends without a word."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for what Python flushes at its end
            os.close(nowhere)
            if isinstance(error, BrokenPipeError):
                raise SystemExit(EXIT_UNREAD) from None
            raise


def _open_streams() -> None:
    """Reopen closed standard streams, so that no other file takes their place, and escape characters that a stream
    cannot encode."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for name, kind in (("stdout", _ResultFile), ("stderr", _ProgressFile)):
        stream = getattr(sys, name)
        if not isinstance(stream, TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):  # not what a notebook or a test put in its place
            raw = BufferedWriter(kind(stream.fileno(), "w", closefd=False))
            stream.flush()
            lines, through = stream.line_buffering or name == "stderr", stream.write_through
            stream = TextIOWrapper(raw, stream.encoding, line_buffering=lines, write_through=through)
            setattr(sys, name, stream)
        stream.reconfigure(errors="backslashreplace")


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """Give this process, its libraries and its children their own temporary folder, removed at the end of the block, or
    at the next start if the process was killed. Without a writable folder there is none."""
    names = ("TMPDIR", "RAY_TMPDIR", "MPLCONFIGDIR")
    variables, folder = {name: os.environ.get(name) for name in names}, tempfile.tempdir
    try:
        usual = tempfile.gettempdir()
        if "RAY_ADDRESS" in os.environ or sys.argv[1:2] == ["submit"]:  # where Ray keeps its list of clusters
            os.environ.setdefault("RAY_TMPDIR", variables["TMPDIR"] or "/tmp")
        if len(usual) > LONGEST_TEMPORARY:
            os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
        remove_left()
        own = TemporaryFolder()
    except OSError:
        yield
        return
    with own, _removed_at_signals(own):
        os.environ["TMPDIR"] = tempfile.tempdir = own.name
        if not _home_takes_folders():  # Matplotlib warns of it, and its own folder would outlive this one
            os.environ.setdefault("MPLCONFIGDIR", own.name)
        try:
            yield
        finally:
            tempfile.tempdir = folder
            for name, value in variables.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _home_takes_folders() -> bool:
    """True if the folders of libraries can be made in the user's home, which may be read-only, or none at all."""
    for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        path = Path(os.environ.get(variable) or Path(os.path.expanduser("~"), usual))
        while not os.path.lexists(path):
            path = path.parent
        if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            return False
    return True


@contextmanager
def _removed_at_signals(folder: TemporaryFolder) -> Iterator[None]:
    """Remove a folder before a signal ends the process within the block: a dashboard is ended by SIGTERM. A verb that
    resumes hears the signal itself."""

    def end(number: int, frame: FrameType | None) -> None:
        folder.cleanup()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def on_head(sweep: Path) -> NoReturn:
    """Run the copy of a sweep on a cluster's head."""
    os.environ[ON_HEAD] = "1"
    os.environ.setdefault("RAY_ADDRESS", "auto")  # the cluster of this head
    os.environ["TERM"] = "dumb"  # plain lines: what looks like a terminal here may be a file at the other end
    sys.argv[1:] = ["run", str(sweep), *sys.argv[1:]]
    main()


def _user_message(error: Exception) -> str:
    """The message of a user error; empty for any other error, which is a bug."""
    if hasattr(error, "format_message"):  # what typer raises for a wrong option
        return _usage(error)
    return str(error) if isinstance(error, SweepError) else io_sentence(error)


def _usage(error: Any) -> str:
    """The message for a wrong command line: the problem and its remedy."""
    message = str(error.format_message()).rstrip(".")
    verb = error.ctx.info_name if error.ctx is not None and error.ctx.parent is not None else None
    if getattr(error, "param", None) is not None and error.param.name == "sweep" and message.startswith("Missing"):
        return f"{message}: {verb} needs a sweep file; {START}"
    if message.endswith("?"):  # did you mean
        return message
    command = f"ffnet-search {verb}" if verb else "ffnet-search"
    if verb == "pick" and message.startswith("No such option"):  # --miou, --psnr
        message += "; the limit of any quality is --quality"
    return f"{message}; see `{command} --help`"
