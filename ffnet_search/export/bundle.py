"""Files that make an exported folder usable without this program: `predict.py`, and a model card for model hubs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml

from ffnet_search.atomic_write import write_text
from ffnet_search.formatting import ms
from ffnet_search.metrics import COSTS
from ffnet_search.tasks.base import Task


class Measured(NamedTuple):
    """A device in the model card: `name` is "" for the device of the search."""

    name: str
    suffix: str
    setting: Mapping[str, Any]
    is_near: bool  # whether the predicted latency is near the measured one


def write_bundle(folder: Path, card: Mapping[str, Any], task: Task) -> None:
    """Write `README.md` beside the model and, if the task has a script and the card the normalisation, `predict.py`."""
    script = task.predict_script if "mean" in card["input"] else None
    if script is not None:
        write_text(folder / "predict.py", (files(__package__) / script).read_text(encoding="utf-8"))
    write_text(folder / "README.md", model_card(card, task, has_script=script is not None))


def model_card(card: Mapping[str, Any], task: Task, has_script: bool) -> str:
    """Markdown below a header of metadata, as Hugging Face's hub reads it (`model-index`)."""
    name, side = f"ffnet-{card['key']}", card["input"]["resolution"]
    template = (files(__package__) / "model_card.md.j2").read_text(encoding="utf-8")
    text = jinja2.Template(template, keep_trailing_newline=True)  # Markdown: nothing is escaped
    return text.render(
        header=yaml.safe_dump(_metadata(name, card, task), sort_keys=False),
        name=name,
        card=card,
        m=card["metrics"],
        task=task,
        quality=task.quality,
        costs=[cost for cost in COSTS.values() if cost.name in card["metrics"]],
        devices=_measured(card),
        ms=ms,
        shape=f"{card['input']['channels']} x {side} x {side}",
        script=has_script,
        fingerprint=str(card["data"]["fingerprint"])[:16],
    )


def _measured(card: Mapping[str, Any]) -> list[Measured]:
    devices = [Measured("", "", card["latency"], card.get("predicted_within_10_percent", True))]
    for name, setting in card.get("devices", {}).items():
        is_near = card.get(f"predicted_within_10_percent@{name}", True)
        devices.append(Measured(name, f"@{name}", setting, is_near))
    return devices


def _metadata(name: str, card: Mapping[str, Any], task: Task) -> dict[str, Any]:
    data = card["data"]["name"]
    quality = {
        "type": task.quality.name,
        "value": round(card["metrics"][task.test_quality], 6),
        "name": f"{task.quality_name} on test",
    }
    result = {"task": {"type": task.hub_task}, "dataset": {"name": data, "type": data}, "metrics": [quality]}
    return {
        "library_name": "ffnet-search",
        "pipeline_tag": task.hub_task,
        "tags": [task.hub_task, "ffnet", "neural-architecture-search", "onnx"],
        "model-index": [{"name": name, "results": [result]}],
    }
