"""The bundle of an exported network, by which its folder is usable without this program.

`README.md` is the model card for people and model hubs; `predict.py` stands beside it where the task has such a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ffnet_search.atomic_write import write_text
from ffnet_search.export.bundle.interface import interface
from ffnet_search.export.bundle.script import predict_script
from ffnet_search.export.class_table import CLASS_TITLES, class_rows
from ffnet_search.formatting import code_span, markdown, sentence_case
from ffnet_search.metrics import COSTS, ERROR, FOLDS, IMAGES, JUDGED, MEASURED
from ffnet_search.tasks.base import Task


def write_bundle(folder: Path, card: Mapping[str, Any], task: Task) -> None:
    """Write `README.md` beside the model and, if the task has a script and the card the normalisation, `predict.py`."""
    script = task.predict_script if "mean" in card["input"] else None
    if script is not None:
        write_text(folder / "predict.py", predict_script(script))
    name = f"ffnet-{card['key']}"
    template = (files(__package__) / "model_card.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(keep_trailing_newline=True)  # Markdown: names are escaped by the filters
    environment.filters |= {"markdown": markdown, "code_span": code_span}
    text = environment.from_string(template)
    optional = [f"{split}_{IMAGES.name}" for split in JUDGED]
    folds = f"{FOLDS}_{task.quality.name}"
    optional += [f"{key}{ERROR}" for key in (task.search_quality, task.test_quality, folds)]
    model_card = text.render(
        header=yaml.safe_dump(_metadata(name, card, task), sort_keys=False),
        name=name,
        card=card,
        data=str(_dataset(card["data"])["name"]),
        m={**dict.fromkeys(optional), **card["metrics"]},
        classes=class_rows(card.get("details") or {}),
        class_titles=CLASS_TITLES,
        task=task,
        quality=task.quality,
        reference=sentence_case(task.reference_note(card.get("details") or {})),
        predict_words=task.predict_words.replace("{outputs}", str(card["input"].get(task.outputs_word))),
        note=task.quality_note(len((card.get("details") or {}).get(task.each, ()))),
        folds=folds,
        costs=[cost for cost in COSTS.values() if cost.name in card["metrics"]],
        devices={"": card["latency"], **card.get("devices", {})},  # by name, the device of the search first
        measured=MEASURED["measured_ms"],
        predicted=MEASURED["predicted_ms"],
        interface=interface(card, task),
        script=script is not None,
        fingerprint=str(card["data"]["fingerprint"])[:16],
    )
    write_text(folder / "README.md", model_card)


def _metadata(name: str, card: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """The head of the model card, as Hugging Face's hub reads it (`model-index`)."""
    value = round(card["metrics"][task.test_quality], 6)
    quality = {"type": task.quality.name, "value": value, "name": f"{task.quality_name} on test"}
    result = {"task": {"type": task.hub_task}, "dataset": _dataset(card["data"]), "metrics": [quality]}
    return {
        "library_name": "ffnet-search",
        "pipeline_tag": task.hub_task,
        "tags": [task.hub_task, "ffnet", "neural-architecture-search", "onnx"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _dataset(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data set's name, which is that of its folder if it has one, and its kind."""
    return {"name": data.get("folder") or data["name"], "type": data["name"]}
