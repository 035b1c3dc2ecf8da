"""The card of an exported FFNet in a report: its facts, files, drawing and images."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ffnet_search.export.exported import CARD, SCORES, WEIGHTS, ExportedNetwork
from ffnet_search.export.formats.base import ModelFile, registered_files
from ffnet_search.metrics import JUDGED
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.data import Run, figures, front_columns

EXPORTED = (  # files of every exported network, but for those of formats
    ModelFile(WEIGHTS, "weights of the deployed form, for ffnet_search.load"),
    ModelFile("trainable.safetensors", "weights before fusing, to continue training"),
    ModelFile("architecture.yaml", "the network"),
    ModelFile("README.md", "the model card, as model hubs read it"),
    ModelFile(SCORES, "what it makes of each validation and test image, for paired tests"),
    ModelFile(CARD, "all figures and where they come from"),
)
SHEETS = {  # of images that a task draws -> the words below them
    "worst": "Its worst images on test: the image, its mask, and what the network makes of it.",
    "errors": "Its most confident errors on test: the label, what it says instead, and how sure it is.",
}
SHEET_WORDS = {"worst": "its worst images on test", "errors": "its most confident errors on test"}
SCRIPT = ModelFile("predict.py", "the network on images, with ONNX Runtime alone")


def network_card(run: Run, network: ExportedNetwork) -> dict[str, Any]:
    """An exported FFNet: `facts` stand in its card, `cells` in the table."""
    columns = front_columns(run.sweep, run.exported)
    cells = dict(zip(columns, figures(network, columns.values()), strict=True))
    spread = run.metric("measured_spread").format(network.metrics["measured_spread"])
    facts = [
        (_fact_title(run, title), f"{cell} ± {spread}" if title == "measured" else cell)
        for title, cell in cells.items()
    ]
    for name, value in network.hyperparameters.items():
        facts.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    letters = {split: run.groups.get(split, {}).get(network.folder.name, "") for split in JUDGED}
    return {
        "name": network.folder.name,
        "link": f"pareto/{network.folder.name}",
        "headline": f"{cells['test']}, {cells['measured']}",
        "facts": facts,
        "cells": [f"{cell} {letters.get(title, '')}".rstrip() for title, cell in cells.items()],
        "files": _files(network),
        "drawing": Markup(draw(network.network)),  # which escapes its texts
        "sheets": [
            (network.details[key], network.details.get("caption", words))
            for key, words in SHEETS.items()
            if network.details.get(key)
        ],
    }


def _fact_title(run: Run, column: str) -> str:
    """The title of a column where it stands alone: `test accuracy, inherited`."""
    phrases = {"params": "params_m", "MACs": "macs_m"}
    if column in phrases:
        return run.metric(phrases[column]).phrase
    split, comma, inherited = column.partition(", ")
    return f"{split} {run.task.quality.phrase}{comma}{inherited}" if split in JUDGED else column


def _files(network: ExportedNetwork) -> list[ModelFile]:
    """The files of an exported folder: those that are known first, with their words."""
    sheets = (ModelFile(network.details.get(key) or "", words) for key, words in SHEET_WORDS.items())
    known = (SCRIPT, *registered_files(), *EXPORTED, *sheets)
    names = {path.name for path in network.folder.iterdir()}
    others = sorted(names - {file.name for file in known})
    return [file for file in known if file.name in names] + [ModelFile(name, "") for name in others]
