"""The interface of an exported `model.onnx` in words, for those who deploy it without this program: its input and its
output by name, type and shape, the preparation of images, and the meaning of the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffnet_search.formatting import code_span, markdown
from ffnet_search.tasks.base import Task

MAX_NAMED = 30  # outputs that are named; `card.json` has all
COLOURS = {1: "grey", 3: "RGB"}  # by the number of channels


def interface(card: Mapping[str, Any], task: Task) -> list[tuple[str, str]]:
    """Rows of a table in Markdown: what, and its words."""
    facts, output = card["input"], card["output"]
    sides = facts["resolution"]
    sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
    given, made = ["batch", facts["channels"], *sides], ["batch", *output["shape"]]
    if task.any_size:
        given[2:] = axes = ["height", "width"]
        made[-2:] = [f"{size // side} x {axis}" for size, side, axis in zip(made[-2:], sides, axes, strict=True)]
    layout = "that is (batch, channels, height, width)"
    if task.any_size:
        layout = f"of any height and width; the latency above is at {sides[0]} x {sides[1]}"
    rows = [
        (f"input {code_span('images')}", f"float32 {_shape(given)}, {layout}"),
        ("preparation", _preparation(facts, card["data"], task, sides)),
        (f"output {code_span(output['name'])}", f"{output['dtype']} {_shape(made)}"),
    ]
    note = task.output_note(output["shape"])
    if note:
        rows.append(("meaning", note))
    names = facts.get(task.outputs_word)
    if isinstance(names, list):
        shown = [f"{number} {markdown(name)}" for number, name in enumerate(names[:MAX_NAMED])]
        shown = [f"0 to {len(names) - 1}"] if names == list(map(str, range(len(names)))) else shown
        more = f" and {len(names) - MAX_NAMED} more, in `card.json`" if len(names) > MAX_NAMED == len(shown) else ""
        rows.append((task.outputs_word, f"{', '.join(shown)}{more}"))
    return rows


def _shape(sizes: Sequence[object]) -> str:
    return f"({', '.join(map(str, sizes))})"


def _preparation(facts: Mapping[str, Any], data: Mapping[str, Any], task: Task, sides: Sequence[int]) -> str:
    """The steps from an image to the input."""
    if "mean" not in facts:
        return f"as {code_span(data['name'])} gives images"
    height, width = sides
    sized = "of any size"
    if not task.any_size:
        whole = "the whole image" if task.whole else f"its largest centred {'square' if height == width else 'box'}"
        sized = f"{whole} resized (bicubic) to {height} x {width}"
    mean, spread = (listed_numbers(facts[name]) for name in ("mean", "std"))
    colours = COLOURS.get(facts["channels"], f"{facts['channels']} channels")
    return f"{colours}, {sized}; of levels 0 to 255: (level - mean) / std of each channel, mean {mean}, std {spread}"


def listed_numbers(values: Sequence[float]) -> str:
    """Numbers in words: `125.3, 123, 113.9`."""
    return ", ".join(f"{value:.4g}" for value in values)
