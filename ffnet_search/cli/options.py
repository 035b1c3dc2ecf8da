"""Arguments and options that verbs share, and groups of them as values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep file, e.g. sweeps/digits.yaml.")]
RunFolderOrSweep = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, e.g. runs/digits, or its sweep file.")
]
Name = Annotated[str | None, typer.Option(help="Name of the run, and of its folder; instead of the sweep's.")]
Seed = Annotated[int | None, typer.Option(help="Instead of the sweep's seed.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Where the sweep changed: move what that invalidates aside, and re-run it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, also for an error; for scripts.")]


@dataclass(frozen=True)
class Overrides:
    """The fields of a sweep that a command line replaces."""

    name: Name = None
    seed: Seed = None
    trials: Annotated[int | None, typer.Option(help="Architectures to try; instead of the sweep's search.trials.")] = (
        None
    )


@dataclass(frozen=True)
class Output:
    """The form of a verb's output: without progress, as JSON."""

    quiet: Annotated[bool, typer.Option("--quiet", help="Print results and errors only.")] = False
    json: Json = False


def flat_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn a function that takes option groups into one that typer shows with flat options.

    Each parameter of `verb` that is annotated with a dataclass, such as `overrides: Overrides`, is replaced in the
    signature by the dataclass's fields, in order, with their defaults and their `typer.Option`. A call gathers the
    values of those options into the dataclass and passes it to `verb`.
    """
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
        verb(**values)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return command


def load(path: Path, overrides: Overrides) -> Sweep:
    """Read a sweep file with the values of the command line. Raises SweepError."""
    from ffnet_search.config.sweep import Sweep

    return Sweep.from_yaml(path).override(name=overrides.name, seed=overrides.seed, trials=overrides.trials)
