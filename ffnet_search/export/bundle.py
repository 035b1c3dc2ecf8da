"""What makes an exported folder usable without this program: `predict.py`, and a model card that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml


def write_bundle(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes `README.md` beside the model and, where the card says how pictures are normalised, `predict.py`."""
    readable = "mean" in card["input"]
    if readable:
        script = (files(__package__) / "predict.py.txt").read_text(encoding="utf-8")
        (folder / "predict.py").write_text(script, encoding="utf-8")
    (folder / "README.md").write_text(model_card(card, readable), encoding="utf-8")


def model_card(card: Mapping[str, Any], readable: bool) -> str:
    """Markdown below a header of metadata, as Hugging Face's hub has it (its `model-index` for the figures)."""
    m, at, data = card["metrics"], card["latency"], card["data"]["name"]
    name = f"ffnet-{card['key']}"
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": data, "type": data},
        "metrics": [{"type": "accuracy", "value": round(m["test_accuracy"], 6), "name": "top-1 on test"}],
    }
    header = {
        "library_name": "ffnet-search",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "ffnet", "neural-architecture-search", "onnx"],
        "model-index": [{"name": name, "results": [result]}],
    }
    rows = "".join(
        f"| latency, batch {there['batch_size']}, {there['threads']} thread(s), {there['backend']}, on {name} | "
        f"{m[f'measured_ms@{name}']:.3g} ms |\n"
        for name, there in card.get("devices", {}).items()
    )
    off = "".join(
        f"The latency table had predicted {m[f'predicted_ms{d}']:.3g} ms{d and ' on ' + d[1:]}, which is off by more "
        "than 10 %.\n\n"
        for d in ("", *(f"@{name}" for name in card.get("devices", {})))
        if not card.get(f"predicted_within_10_percent{d}", True)
    )
    shape = f"{card['input']['channels']} x {card['input']['resolution']} x {card['input']['resolution']}"
    use = "```\npip install numpy pillow onnxruntime\npython predict.py picture.png\n```\n\n" if readable else ""
    return f"""---
{yaml.safe_dump(header, sort_keys=False)}---
# {name}

A small vision network that `ffnet-search` found for {data} on {at["device"]}: `{card["summary"]}`.

| | |
|---|---|
| accuracy on test | {100 * m["test_accuracy"]:.2f} % |
| accuracy on the images that the search looked at | {100 * m["search_accuracy"]:.2f} % |
| latency, batch {at["batch_size"]}, {at["threads"]} thread(s), {at["backend"]} | {m["measured_ms"]:.3g} ms |
{rows}| parameters | {m["params_m"]:.3g} M |
| multiply-accumulates for one image | {m["macs_m"]:.3g} M |
| weights; maps at the worst moment, one image, float32 | {m["weights_mb"]:.3g} + {m["peak_memory_mb"]:.3g} MB |

{off}## Use

{use}`model.onnx` takes normalised images, float32 (batch, {shape}), named `images`, and gives `logits`; how they are
normalised and what the classes are is in `card.json`, under `input`. In Python: `ffnet_search.load(folder)`.

## Limits

Trained and tested on {data} alone (fingerprint `{str(card["data"]["fingerprint"])[:16]}`). The search compared many
networks on its validation images, so that their accuracy there is flattering: the one on test is not. Latency is of the
device above; on another it ranks differently.
"""
