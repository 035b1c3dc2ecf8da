"""The page: all that must be readable without a script is written here, tables first; `page.js` adds the charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.formatting import figure, ms, percent, plural
from ffnet_search.latency.table import LatencyTable
from ffnet_search.provenance import versions
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.charts import learning_curves
from ffnet_search.search.history import History

TOP_AXES = 12  # of the importances: the others matter less than they are in the way
WORDS = {
    "latency_ms": "latency",
    "params_m": "parameters",
    "macs_m": "MACs",
    "weights_mb": "weights",
    "peak_memory_mb": "peak memory",
    "accuracy": "accuracy",
}
UNITS = {"latency_ms": " ms", "params_m": " M", "macs_m": " M", "weights_mb": " MB", "peak_memory_mb": " MB"}
FILES = {
    "predict.py": "classifies pictures, with ONNX Runtime alone",
    "model.onnx": "for ONNX Runtime and most others, any batch size",
    "model.int8.onnx": "quantised to 8 bits, for ONNX Runtime",
    "model.pt2": "for torch.export.load, without this package",
    "model.mlpackage": "for CoreML",
    "openvino.xml": "for OpenVINO, with openvino.bin beside it",
    "model.safetensors": "weights of the deployed form, for ffnet_search.load",
    "trainable.safetensors": "weights before fusing, to go on training",
    "architecture.yaml": "the network",
    "README.md": "the model card, as model hubs read it",
    "card.json": "all figures and where they come from",
}
BUSY = 1.2  # wall / CPU time beyond which other programs were in the way


def page(
    sweep: Sweep,
    history: History,
    picks: Sequence[ExportedNetwork],
    table: LatencyTable,
    content: Mapping[str, Any],
    devices: Sequence[str] = (),
) -> str:
    """The whole file; `devices` have a front too. Links lead to files beside it, and to nowhere else."""
    here = files(__package__)
    data = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(sweep.name)}: the Pareto front</title>
<link rel="icon" href="data:,">
<style>
{(here / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header><h1>{escape(sweep.name)}</h1>{_summary(sweep, history, picks, table)}</header>
<main>
{_choice(sweep, picks)}
{_front(devices)}
{_table(sweep, picks)}
{_search(history)}
{learning_curves(history)}
{importances(history)}
{_latency(table)}
{_networks(picks)}
{left_out(sweep, history)}
{_provenance(sweep, picks, table)}
</main>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>
{(here / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _summary(sweep: Sweep, history: History, picks: Sequence[ExportedNetwork], table: LatencyTable) -> str:
    best = max(picks, key=lambda pick: pick.metrics["search_accuracy"])
    count, size = len(history.evaluated), sweep.search_space.size
    what = f"{count:,} architectures of {size:,} were evaluated."
    if sweep.search_space.hyperparameters:
        what = f"{count:,} networks were trained to the end, in a space of {size:,} architectures."
    return (
        f"<p>{what} {plural(len(picks), 'network')} "
        "of the front were rebuilt alone, measured again and tested on images that neither training nor search saw: "
        f"up to <strong>{percent(best.metrics['test_accuracy'])}</strong> at "
        f"{ms(best.metrics['measured_ms'])} on {escape(table.setting.device)}.</p>"
        "<noscript><p>The charts and the budget need JavaScript; the tables below say the same.</p></noscript>"
    )


def _choice(sweep: Sweep, picks: Sequence[ExportedNetwork]) -> str:
    times = [pick.metrics["measured_ms"] for pick in picks]
    low, high = min(times), max(times)
    start = min(max(sweep.search.constraints.get("latency_ms", high * 1.001), low), high * 1.05)
    span = f'min="{low:.6g}" max="{high * 1.05:.4g}" step="any" value="{start:.6g}"'
    templates = "".join(f'<template id="card-{pick.folder.name}">{_card(pick)}</template>' for pick in picks)
    return f"""<section aria-labelledby="choose"><h2 id="choose">Which network for my budget?</h2>
<p>The most accurate exported network (on search validation: the test split chooses nothing) whose measured latency
keeps the budget.</p>
<div class="card"><div class="budget"><label for="slider">Latency budget</label>
<input type="range" id="slider" {span}>
<span><input type="number" id="budget" {span} aria-label="Latency budget in milliseconds"> ms</span></div>
<div id="winner" aria-live="polite"></div></div>{templates}</section>"""


def _card(pick: ExportedNetwork) -> str:
    m = pick.metrics
    facts = {
        "test accuracy": percent(m["test_accuracy"]),
        "search accuracy": percent(m["search_accuracy"]),
        "measured": f"{ms(m['measured_ms'])} ± {percent(m['measured_spread'], 1)}",
        "predicted": ms(m["predicted_ms"]),
        "parameters": f"{figure(m['params_m'])} M",
        "MACs": f"{figure(m['macs_m'])} M",
    }
    facts |= {n: f"{v:.4g}" if isinstance(v, float) else str(v) for n, v in pick.hyperparameters.items()}
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    there = [name for name in FILES if (pick.folder / name).exists()]
    there += sorted(path.name for path in pick.folder.iterdir() if path.name not in FILES)
    folder = f"pareto/{pick.folder.name}"
    links = "".join(
        f'<li><a href="{folder}/{escape(name)}">{escape(name)}</a> <span class="muted">{FILES.get(name, "")}</span>'
        for name in there
    )
    return (
        f'<h3><a href="{folder}/">{pick.folder.name}</a></h3><dl>{pairs}</dl>{_drawing(pick)}'
        f"<details open><summary>Its files</summary><ul>{links}</ul></details>"
    )


def _drawing(pick: ExportedNetwork) -> str:
    label = f"Drawing of {pick.folder.name}"
    return f'<div class="drawing" role="region" tabindex="0" aria-label="{label}">{draw(pick.network)}</div>'


def _front(devices: Sequence[str]) -> str:
    costs = [name for name in WORDS if name != "accuracy"] + [f"latency_ms@{name}" for name in devices]
    options = "".join(f'<option value="{escape(name)}">{escape(word_of(name))}</option>' for name in costs)
    return f"""<section aria-labelledby="front-title"><h2 id="front-title">The front</h2>
<div class="tools"><label>against <select id="axis">{options}</select></label>
<label><input type="checkbox" id="zoom" checked> close to the front</label></div>
<div class="chart" id="front"></div>
{
        _legend(
            {
                "dot": ("candidates, predicted", "dot"),
                "blue": ("front, predicted", "blue"),
                "red": ("exported, measured alone; bars: one standard deviation of a round", "red"),
            }
        )
    }
<p class="muted">Point at a dot, or use the arrow keys, to see its architecture.</p></section>"""


def word_of(metric: str) -> str:
    """`latency on phone` of `latency_ms@phone`."""
    name, _, device = metric.partition("@")
    return f"{WORDS[name]} on {device}" if device else WORDS[name]


def _legend(items: Mapping[str, tuple[str, str]]) -> str:
    entries = "".join(f'<li><i style="background:var(--{colour})"></i>{text}</li>' for text, colour in items.values())
    return f'<ul class="legend">{entries}</ul>'


def _table(sweep: Sweep, picks: Sequence[ExportedNetwork]) -> str:
    heads = ["network", "test", "search", "measured", "predicted", "params", "MACs"]
    head = "".join(f'<th scope="col"{" class=number" if i else ""}>{name}</th>' for i, name in enumerate(heads))
    rows = "".join(
        f'<tr id="row-{pick.folder.name}"><th scope="row"><a href="#{pick.folder.name}">{pick.folder.name}</a></th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in _cells(pick))
        + "</tr>"
        for pick in picks
    )
    return f"""<div class="wide" tabindex="0" role="region" aria-label="Table of the front"><table id="picks">
<caption><span>The exported networks: accuracy on test and on search validation, latency of one batch of
{sweep.latency[0].batch_size} measured alone and predicted while searching, millions of parameters and of
multiply-accumulates.</span></caption>
<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"""


def _cells(pick: ExportedNetwork) -> Iterable[str]:
    m = pick.metrics
    yield from (percent(m["test_accuracy"]), percent(m["search_accuracy"]), ms(m["measured_ms"]))
    yield from (ms(m["predicted_ms"]), f"{figure(m['params_m'])} M", f"{figure(m['macs_m'])} M")


def _search(history: History) -> str:
    return f"""<section aria-labelledby="search-title"><h2 id="search-title">The search</h2>
<p>{len(history.evaluated):,} candidates in the order in which they were evaluated. The hypervolume is what the front
dominates, down to the worst that was seen: where it has been flat for long, more trials would find little.</p>
<div class="two"><div><h3>Accuracy</h3><div class="chart" id="accuracy"></div></div>
<div><h3>Hypervolume</h3><div class="chart" id="hypervolume"></div></div></div></section>"""


def importances(history: History) -> str:
    tables = "".join(
        f'<div><table class="bars"><caption>for {escape(word_of(objective))}</caption>{_bars(shares)}</table></div>'
        for objective, shares in history.importances.items()
        if shares
    )
    if not tables:
        return ""
    return f"""<section aria-labelledby="matter"><h2 id="matter">Which choices mattered</h2>
<p>How much a choice decided whether a candidate was in the best tenth, as shares of all choices (PED-ANOVA). Of what
was proposed: a sampler that settled on a value early hides what the others would have done.</p>
<div class="two">{tables}</div></section>"""


def _bars(shares: Mapping[str, float]) -> str:
    top = max(shares.values()) or 1.0
    return "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><span class="bar" style="width:{70 * share / top:.1f}%"></span>'
        f"{percent(share, 0)}</td></tr>"
        for name, share in list(shares.items())[:TOP_AXES]
    )


def _latency(table: LatencyTable) -> str:
    at = table.setting
    busy = (
        f" <strong>Other programs used the cores meanwhile (wall / CPU time {at.contention:.1f}): measure again on a "
        "quiet machine before you trust small differences.</strong>"
        if at.contention > BUSY
        else ""
    )
    return f"""<section aria-labelledby="latency-title"><h2 id="latency-title">Can the latency be trusted?</h2>
<p>Predictions are sums of measured parts, checked on whole networks that were not used to fit them:
{escape(str(table.error))}. The band is 10 %.{busy}</p>
<div class="chart" id="latency" style="max-width:40rem"></div>
{_legend({"dot": ("held-out networks", "dot"), "red": ("exported networks", "red")})}</section>"""


def _networks(picks: Sequence[ExportedNetwork]) -> str:
    drawings = "".join(
        f'<div class="card" id="{pick.folder.name}"><h3>{pick.folder.name}: {percent(pick.metrics["test_accuracy"])}, '
        f"{ms(pick.metrics['measured_ms'])}</h3>{_drawing(pick)}</div>"
        for pick in picks
    )
    return f"""<section aria-labelledby="networks"><h2 id="networks">The networks</h2>
<p>A row per stage; a box is a block, as high as the stage is wide: the token mixer with its kernel, below it the
channel mixer with its kernel and expansion.</p><div class="two">{drawings}</div></section>"""


def left_out(sweep: Sweep, history: History) -> str:
    limits = sweep.search.constraints
    lines = [
        f"{plural(count, 'architecture')} beyond {escape(word_of(name))} ≤ "
        f"{limits[name]:g}{UNITS.get(name.partition('@')[0], '')}"
        for name, count in history.infeasible.items()
    ]
    excluded = f"{', '.join(lines)}: never evaluated, and no part of any chart here." if lines else "none."
    items = "".join(f"<li><code>{escape(key)}</code>: {escape(reason)}" for key, reason in history.failures)
    failed = f"<ul>{items}</ul>" if items else "none"
    stopped = f"<p>Stopped early: {plural(history.stopped, 'trial')}.</p>" if history.stopped else ""
    return f"""<section aria-labelledby="left-out"><h2 id="left-out">What was skipped or failed</h2>
<p>Skipped: {excluded}</p>{stopped}<div>Failed: {failed}</div></section>"""


def _provenance(sweep: Sweep, picks: Sequence[ExportedNetwork], table: LatencyTable) -> str:
    at, search, names = table.setting, sweep.search, ", ".join(sweep.search_space.hyperparameters)
    searched = f", but for what was searched ({names})" if names else ""
    card = json.loads((picks[0].folder / "card.json").read_text(encoding="utf-8"))
    facts = {
        "Sweep": f"{sweep.path.name}, seed {sweep.seed}",
        "Data": f"{sweep.data.name}, fingerprint {card['data']['fingerprint']}",
        "Search space": f"{sweep.search_space.name}, {sweep.search_space.size:,} architectures",
        "Objectives": ", ".join(f"{direction} {name}" for name, direction in search.directions.items()),
        "Limits": ", ".join(f"{name} ≤ {limit:g}" for name, limit in search.constraints.items()) or "none",
        "Sampler": f"{search.sampler.class_path} {dict(search.sampler.init_args)}",
        "Training": f"{sweep.train.epochs} epochs of {sweep.train.optimizer}{searched}; fine-tuned "
        f"{sweep.export.finetune_epochs} epochs",
        "Latency": f"{at.backend}, {plural(at.threads, 'thread')}, batch {at.batch_size}, {at.dtype}, {at.clock}, "
        f"on {at.device}, {at.date}",
        "Exported": card["date"],
        "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    return provenance(sweep, facts)


def provenance(sweep: Sweep, facts: Mapping[str, object]) -> str:
    """Facts by name, and the whole sweep."""
    rows = "".join(f'<tr><th scope="row">{k}</th><td>{escape(str(v))}</td></tr>' for k, v in facts.items())
    text = sweep.files.sweep.read_text(encoding="utf-8") if sweep.files.sweep.exists() else ""
    whole = f"<details><summary>The whole sweep</summary><pre>{escape(text)}</pre></details>" if text else ""
    return f"""<section aria-labelledby="made"><h2 id="made">How it was made</h2>
<div class="wide" tabindex="0" role="region" aria-label="How it was made">
<table class="facts">{rows}</table></div>{whole}</section>"""
