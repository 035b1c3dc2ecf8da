"""What all verbs share: their options, and how they answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

T = TypeVar("T")
ON_HEAD = "FFNET_SEARCH_ON_HEAD"  # in the environment of a run that was submitted: its command means nothing here

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


def load(path: Path, name: str | None = None, seed: int | None = None, trials: int | None = None) -> Sweep:
    from ffnet_search.config.sweep import Sweep

    return Sweep.from_yaml(path).override(name=name, seed=seed, trials=trials)


def tell(json: bool, value: T, document: Callable[[T], dict[str, Any]], show: Callable[[T], None]) -> None:
    """The result of a verb on standard output, for scripts or for people."""
    if json:
        from ffnet_search.cli.json_output import as_text

        typer.echo(as_text(document(value)))
    else:
        show(value)


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if quiet else nullcontext():
        yield
