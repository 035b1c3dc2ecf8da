"""The verbs that look over several runs, and `schema` for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffnet_search.cli.options import AllowImports, Json, Output, permit_imports


def list_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds runs.")] = Path("runs"),
    json: Json = False,
    allow_imports: AllowImports = False,
) -> None:
    """List the runs of a folder: state, best network, size; the last one changed first."""
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.overview import print_runs
    from ffnet_search.run.overview import runs

    permit_imports(allow_imports, runs=False)
    Output(json=json).answer(runs(folder), json_output.of_runs, print_runs)


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or of an exported network.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of another one.")],
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The image of both fronts; compare-RUN-RUN.png by default.")
    ] = None,
    json: Json = False,
    allow_imports: AllowImports = False,
) -> None:
    """Compare two runs: their fronts as one table and one image, and the settings in which they differ. Or two
    networks: whether one is really better than the other."""
    from ffnet_search.atomic_write import write_bytes
    from ffnet_search.cli import json_output
    from ffnet_search.cli.tables.overview import image_of, print_comparison, print_pair
    from ffnet_search.export.pair import are_networks, pair
    from ffnet_search.progress import say
    from ffnet_search.run.run_comparison import compare_runs

    permit_imports(allow_imports, runs=False)
    if are_networks(first, second):
        Output(json=json).answer(pair(first, second), json_output.of_pair, print_pair)
        return
    fronts = compare_runs(first, second)
    path = image or Path(f"compare-{'-'.join(sweep.name for sweep in fronts.sweeps)}.png")
    write_bytes(path, image_of(fronts))
    Output(json=json).answer(fronts, json_output.of_run_comparison, print_comparison)
    say(f"both fronts as an image: {path}")


def schema(
    kind: Annotated[str, typer.Argument(metavar="sweep|space", help="A sweep's file, or a search space's.")] = "sweep",
) -> None:
    """Print the JSON Schema of a sweep or a search space, by which editors complete and check YAML."""
    from json import dumps

    from ffnet_search.config.json_schema import json_schema
    from ffnet_search.errors import SweepError, did_you_mean

    if kind not in ("sweep", "space"):
        raise SweepError(
            f"schema: must be of a sweep or a space, but got {kind!r}{did_you_mean(kind, ['sweep', 'space'])}"
        )
    typer.echo(dumps(json_schema("space" if kind == "space" else "sweep"), indent=1))
