"""Options of `export` for networks that exist: other formats, their table, and a model hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffnet_search.cli.options import Output, Overrides, Which, permit_imports
from ffnet_search.errors import SweepError
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.progress import signs_of_life

if TYPE_CHECKING:
    from ffnet_search.export.exported import ExportedNetwork

ALL = "all"


@dataclass(frozen=True)
class Formats:
    """The formats of exported networks."""

    format: Annotated[
        str | None,
        typer.Option(help=f"Write exported networks in this format too: {', '.join(FORMATS)}; or {ALL}."),
    ] = None
    table: Annotated[
        bool,
        typer.Option("--table", help="Print each network's formats: size, difference from torch, accuracy, ms."),
    ] = False

    push: Annotated[
        str | None,
        typer.Option(metavar="hf:OWNER/NAME", help="Upload the network of --key, or the only one, to Hugging Face."),
    ] = None
    license: Annotated[
        str | None, typer.Option(help="With --push: license, in the hub's spelling: apache-2.0, mit, other.")
    ] = None

    @property
    def are_asked_for(self) -> bool:
        """True if exported networks are to be converted, listed or uploaded; False for the export itself."""
        return self.format is not None or self.table or self.push is not None


def check_formats(formats: Formats, which: Which, overrides: Overrides) -> None:
    """Raise SweepError if a format or a hub is unknown or lacks a package, or if an option has no effect: before
    anything is computed or torch is imported. A format by import path is imported: the user names it."""
    from ffnet_search.export.bundle.push import repository_of
    from ffnet_search.export.formats.base import find_format

    if which.top is not None and not formats.are_asked_for:
        raise SweepError(
            "export: --top is of --format and --table, which must be given with it; to export fewer networks, set "
            "export.top in the sweep"
        )
    if formats.license is not None and formats.push is None:
        raise SweepError("export: --license is of --push, which must be given with it; add it, or remove --license")
    if formats.push is not None:
        repository_of(formats.push)
    if formats.format not in (None, ALL):
        permit_imports(overrides.allow_imports or ":" in str(formats.format), runs=True)
        find_format(str(formats.format))


def export_formats(run: Path, overrides: Overrides, formats: Formats, which: Which, output: Output) -> None:
    """Write the exported networks of a run in a format, or in all that can be written here, and print the results."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.formats import of_format_table, print_format_table, print_formats
    from ffnet_search.config.sweep import Sweep
    from ffnet_search.export.bundle.push import repository_of
    from ffnet_search.export.exported import exported_of

    name = formats.format
    repository = None if formats.push is None else repository_of(formats.push)
    permit_imports(overrides.allow_imports or ":" in (name or ""), runs=True)  # a format is named by the user
    sweep = Sweep.of_run(run).override(name=overrides.name)
    problems: dict[str, str] = {}
    with output.silenced(), signs_of_life("export"):
        networks = exported_of(sweep, which.top, which.key)
        if name is not None:
            from ffnet_search.export.formats.write import export_all, export_format
            from ffnet_search.run.folder.lock import alone_in

            can_be_written = os.access(sweep.files.folder, os.W_OK)  # else what is there is enough
            with alone_in(sweep) if can_be_written else nullcontext():  # cards are read and written again
                if name == ALL:
                    networks, problems = export_all(sweep, which.top, which.key)
                else:
                    networks = export_format(sweep, name, which.top, which.key)
    if repository is not None:
        _push(networks, repository, formats.license, output)
    elif formats.table or name in (None, ALL):
        document = partial(of_format_table, problems=problems)
        output.answer(networks, document, partial(print_format_table, problems=problems))
    else:
        document = partial(json_output.of_formats, name=str(name))
        output.answer(networks, document, partial(print_formats, name=str(name)))


def _push(networks: Sequence[ExportedNetwork], repository: str, license: str | None, output: Output) -> None:
    from ffnet_search.cli.printing import print_path
    from ffnet_search.export.bundle.push import push

    if len(networks) > 1:
        keys = ", ".join(network.key for network in networks)
        raise SweepError(f"--push uploads one network, but {len(networks)} are exported; give --key, one of {keys}")
    address = push(networks[0], repository, license)
    document = {"folder": str(networks[0].folder), "address": address}
    output.answer(document, dict, lambda document: print_path(document["address"]))
