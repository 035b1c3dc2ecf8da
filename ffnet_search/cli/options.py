"""Arguments and options that verbs share, and groups of them as values."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, is_dataclass
from functools import wraps
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from ffnet_search.errors import AGAIN, SweepError, printable, shortened
from ffnet_search.files.bounded import MAX_MINUTES
from ffnet_search.formatting import finite
from ffnet_search.imports.consent import ForeignImports, foreign_imports, set_foreign_imports
from ffnet_search.progress import say

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

SweepFile = Annotated[
    Path, typer.Argument(metavar="SWEEP", help="The sweep file, or the name of a shipped one: digits.")
]
RunFolderOrSweep = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, e.g. runs/digits, or its sweep file.")
]
Name = Annotated[str | None, typer.Option(help="Name of the run and its folder; overrides the sweep's.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the run; overrides the sweep's.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="If the sweep changed: move outdated results aside, and make them again.")
]
AllowImports = Annotated[
    bool,
    typer.Option("--allow-imports", help="Allow classes and programs of your own that the sweep names."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, also for an error; for scripts.")]


@dataclass(frozen=True)
class Overrides:
    """The fields of a sweep that a command line replaces."""

    name: Name = None
    seed: Seed = None
    trials: Annotated[int | None, typer.Option(help="Number of trials; overrides search.trials.")] = None
    allow_imports: AllowImports = False

    def load(self, path: Path, *, runs: bool = True) -> Sweep:
        """Read a sweep file, or that of a run's folder, with the values of the command line. Raises SweepError.

        A verb that `runs` the sweep imports the classes that it names, if the user or the sweep allows it."""
        from ffnet_search.config.files import find_sweep, run_name
        from ffnet_search.config.sweep import Sweep

        permit_imports(self.allow_imports, runs=runs)
        if self.name is not None:
            try:
                run_name(self.name)
            except ValueError as error:
                raise SweepError(f"command line: name {error}") from None
        allowed = True if self.allow_imports else None
        sweep = Sweep.of_run(path) if self.name is None else Sweep.from_yaml(find_sweep(path), self.name)
        return sweep.override(seed=self.seed, trials=self.trials, allow_imports=allowed)


def permit_imports(allowed: bool, *, runs: bool) -> None:
    """Let this process import classes outside the installed packages: if the user allowed it, or, for a verb that runs
    a sweep, if the sweep does."""
    if allowed:
        set_foreign_imports(ForeignImports.ALLOWED)
    elif runs:
        set_foreign_imports(ForeignImports.BY_CONSENT)


@dataclass(frozen=True)
class Budget:
    """The requirements that one network must meet."""

    latency_ms: Annotated[float | None, typer.Option(help="Latency limit, in milliseconds for a batch.")] = None
    quality: Annotated[
        float | None,
        typer.Option(
            help="Least quality: of what the run ranks by, such as mIoU 0 to 1, or PSNR; of an error the greatest."
        ),
    ] = None
    accuracy: Annotated[
        float | None, typer.Option(help="Least accuracy, 0 to 1: the same, of a run that ranks by accuracy.")
    ] = None
    device: Annotated[str | None, typer.Option(help="Name of a latency table of the run; default: the search's.")] = (
        None
    )
    format: Annotated[
        str | None, typer.Option(help="Compare models of this format, which `export --format` wrote, such as litert.")
    ] = None


RunMinutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0.1, max=MAX_MINUTES, help="Time limit of all stages, which then end with the best so far."
    ),
]


@dataclass(frozen=True)
class Which:
    """The networks of a run that are exported."""

    key: Annotated[
        str | None, typer.Option(help="Key in candidates.csv of one more network, which is kept with the front.")
    ] = None
    top: Annotated[
        int | None, typer.Option(min=1, help="With --format or --table: number of networks, the best first.")
    ] = None


@dataclass(frozen=True)
class Requirements:
    """The user's requirements for a first sweep; None for the default."""

    latency_ms: Annotated[float | None, typer.Option(min=0, help="Latency limit of a network, in milliseconds.")] = None
    minutes: Annotated[
        float | None,
        typer.Option(min=1, max=MAX_MINUTES, help="Time of a run on this machine, approximately; default: 15."),
    ] = None
    name: Annotated[str | None, typer.Option(help="Name of the sweep; default: the folder's.")] = None
    pretrained: Annotated[
        str | None, typer.Option(metavar="NAME", help="Start from official weights, such as ffnet_1.")
    ] = None
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="super_resolution, if photos are to be enlarged.")
    ] = None


@dataclass(frozen=True)
class Comparison:
    """The networks that are trained alone, and the images on which they are compared."""

    networks: Annotated[int, typer.Option(help="Networks to train alone, evenly over the MACs of the space.")] = 16
    repeated: Annotated[
        int | None,
        typer.Option(help="Networks to train with a second seed, for the noise of training; default: a quarter."),
    ] = None
    split: Annotated[str, typer.Option(help="Split to compare on: validation, as in the search, or test.")] = (
        "validation"
    )


@dataclass(frozen=True)
class Output:
    """The form of a verb's output, quiet or JSON; prints results and errors in that form."""

    quiet: Annotated[bool, typer.Option("--quiet", help="Print results and errors only.")] = False
    json: Json = False

    def answer(self, value: Any, document: Callable[[Any], dict[str, Any]], show: Callable[[Any], None]) -> None:
        """Print the result of a verb on standard output: as a JSON document, or as `show` prints it."""
        if self.json:
            _print_document(document(value))
        else:
            show(value)

    def answer_error(self, message: str, code: int) -> None:
        """Print why a verb has no result: one line on standard error; as JSON a document, too."""
        message = shortened(printable(message))
        with suppress(OSError):  # standard error is a full disk, or a terminal that is gone
            if sys.stderr.isatty():
                from ffnet_search.cli.printing import print_error

                print_error(f"ffnet-search: {message}")
            else:
                say(f"ffnet-search: {message}")
        if self.json:
            with suppress(OSError):
                _print_document({"error": message, "exit_code": code})

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Discard standard error within the block, if `quiet`."""
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if self.quiet else nullcontext():
            yield


def _print_document(document: Mapping[str, Any]) -> None:
    typer.echo(dumps(finite(document), indent=1, default=str))


def flat_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn a function that takes groups of options into one that typer can call, with each option by itself.

    Each parameter of `verb` that is annotated with a dataclass, such as `overrides: Overrides`, is replaced in the
    signature by the dataclass's fields, in order, with their defaults and their `typer.Option`. A call gathers the
    values of those options into the dataclass and passes it to `verb`."""
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if name in groups:
            flat += inspect.signature(groups[name], eval_str=True).parameters.values()
        else:
            flat.append(parameter.replace(annotation=hints[name]))

    @wraps(verb)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{option: values.pop(option) for option in inspect.signature(group).parameters})
        with foreign_imports(ForeignImports.REFUSED):  # until the verb permits it
            try:
                verb(**values)
            except BrokenPipeError as error:  # typer would end without a word: it takes it for that of standard output
                raise SweepError(f"a process or machine that this command works with has ended; {AGAIN}") from error

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return command


class Verb(TyperCommand):
    """A command whose help names no type for a flag: Typer prints `<bool>`, as if `--fresh true` could be given."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_flags(super().get_params(ctx))


class Verbs(TyperGroup):
    """The commands, with the same help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_flags(super().get_params(ctx))


def _plain_flags(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params
