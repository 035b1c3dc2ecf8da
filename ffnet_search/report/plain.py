"""The page of a run without latency table: hyper-parameters of one architecture, or of a module of the user's own.
Tables alone, no script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import versions
from ffnet_search.report.charts import learning_curves
from ffnet_search.report.page import importances, left_out, provenance
from ffnet_search.search.history import History

BEST = 50  # trials that are listed: the CSV beside the page has all


def plain_page(sweep: Sweep, history: History, picks: Sequence[ExportedNetwork]) -> str:
    """The whole file. Links lead to files beside it, and to nowhere else."""
    css = (files(__package__) / "page.css").read_text(encoding="utf-8")
    first, direction = next(iter(sweep.search.directions.items()))
    sign = -1 if direction == "maximize" else 1
    best = sorted(history.evaluated, key=lambda candidate: sign * candidate.metrics[first])[:BEST]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(sweep.name)}: the best trials</title>
<link rel="icon" href="data:,">
<style>
{css}</style>
</head>
<body>
<header><h1>{escape(sweep.name)}</h1><p>{len(history.evaluated):,} trials were trained to their end, {history.stopped:,}
stopped early and {len(history.failures):,} failed. {len(picks):,} of the front were exported.</p>
<img src="{sweep.files.front_png.name}" alt="All trials and the front" style="max-width:100%"></header>
<main>
<section aria-labelledby="front-title"><h2 id="front-title">The front</h2>
{_table("Exported, best first", _pick_rows(picks))}</section>
<section aria-labelledby="best"><h2 id="best">The best trials</h2>
{_table(f"By {first}; all are in {sweep.files.candidates.name}", _trial_rows(best))}</section>
{learning_curves(history)}
{importances(history)}
{left_out(sweep, history)}
{_provenance(sweep, picks)}
</main>
</body>
</html>
"""


def _pick_rows(picks: Sequence[ExportedNetwork]) -> Iterable[dict[str, str]]:
    for pick in picks:
        values = {name: _short(value) for name, value in {**pick.metrics, **pick.hyperparameters}.items()}
        link = f'<a href="pareto/{escape(pick.folder.name)}/">{escape(pick.folder.name)}</a>'
        yield {"network": link, **values}


def _trial_rows(candidates: Sequence[Candidate]) -> Iterable[dict[str, str]]:
    for candidate in candidates:
        values = {
            name: _short(value) for name, value in {**candidate.metrics, **candidate.final_hyperparameters}.items()
        }
        yield {"trial": escape(candidate.key), **values}


def _table(caption: str, rows: Iterable[dict[str, str]]) -> str:
    """`rows` hold HTML; what one of them lacks is left empty."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    cells = ("".join(f'<td class="number">{row.get(name, "")}</td>' for name in names[1:]) for row in rows)
    body = "".join(f"<tr><td>{row[names[0]]}</td>{rest}</tr>" for row, rest in zip(rows, cells, strict=True))
    return f"""<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>
<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"""


def _provenance(sweep: Sweep, picks: Sequence[ExportedNetwork]) -> str:
    card = json.loads((picks[0].folder / "card.json").read_text(encoding="utf-8"))
    training = card["training"]
    search = sweep.search
    return provenance(
        sweep,
        {
            "Sweep": f"{sweep.path.name}, seed {sweep.seed}",
            "Data": f"{sweep.data.name}, fingerprint {training.get('data')}",
            "Git": training.get("git"),
            "Objectives": ", ".join(f"{direction} {name}" for name, direction in search.directions.items()),
            "Sampler": f"{search.sampler.class_path} {dict(search.sampler.init_args)}",
            "Exported": card["date"],
            "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        },
    )


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else escape(str(value))
