"""The files that are written for a person: YAML with the reasons beside the values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from ffnet_search.autoconfig.budget import EXPORTED, Budget
from ffnet_search.autoconfig.draft import Draft


def sweep_text(amounts: Budget, name: str, latency_ms: float | None) -> Iterator[str]:
    """The lines of the sweep's file."""
    found, pace = amounts.draft.found, amounts.pace
    stages = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in amounts.seconds.items())
    range_ms = f"{pace.smallest_ms:.2g} to {pace.largest_ms:.2g} ms"
    crop = max(1, amounts.draft.resolution // 8)
    yield f"# Written by `ffnet-search init` on {date.today()} for {found}."
    yield f"# Run it: ffnet-search run {name}.yaml   (about {amounts.minutes:.0f} minutes on this machine: {stages})"
    yield f"search_space: {name}_space.yaml  # what may vary in the networks"
    yield "seed: 0"
    yield "data:"
    yield "  name: image_folder  # one folder per class"
    yield f"  path: {quoted(str(found.folder))}"
    yield f"  batch_size: {amounts.batch_size}"
    yield f"  validation: {amounts.validation}  # of the training pictures: {amounts.held_out:,} to compare networks on"
    yield f"  calibration: {amounts.calibration}  # of the training pictures, for the statistics of each network"
    yield f"  augment: {{crop: {crop}, flip: true}}  # pixels to shift by; flip: false where left and right matter"
    yield "train:"
    yield f"  epochs: {amounts.epochs}  # {amounts.epoch_s:.1f} s each; more of them make better networks"
    yield "  learning_rate: 2.0e-3"
    yield "latency:  # measured here; another device, or several: docs/device.md"
    yield "  backend: onnxruntime  # or openvino, torch, command (any program that prints milliseconds)"
    yield "  threads: 1"
    yield "  noisy: true  # a busy machine is told, not refused: take this out for figures to rely on"
    yield "search:"
    yield f"  trials: {amounts.trials}  # networks to try, {amounts.trial_s:.1f} s each"
    yield "  objectives: [accuracy, latency_ms]"
    if latency_ms is None:
        yield f"  # constraints: {{latency_ms: {_middle(amounts):.2g}}}  # a hard limit; the space holds {range_ms}"
    else:
        beyond = ", which this excludes nothing of" if latency_ms >= pace.largest_ms else ""
        yield f"  constraints: {{latency_ms: {latency_ms:g}}}  # a hard limit; the space holds {range_ms}{beyond}"
    yield "export:"
    yield f"  top: {EXPORTED}  # networks of the front, evenly spread"


def _middle(amounts: Budget) -> float:
    return float((amounts.pace.smallest_ms * amounts.pace.largest_ms) ** 0.5)


def space_text(draft: Draft, name: str) -> Iterator[str]:
    """The lines of the search space's file."""
    content = draft.content
    yield f"# What may vary in the networks of {name}.yaml: {draft.space.size:,} architectures. Every list is a"
    yield "# choice; a list of one fixes it. `ffnet-search show` prints what they cost."
    yield f"input: {flow(content['input'])}  # pictures are cut square and resized to the resolution"
    yield f"stem: {flow(content['stem'])}  # a larger stride is faster and sees less"
    if "per_block" in content:
        yield f"per_block: {flow(content['per_block'])}  # each block chooses these for itself"
    yield "stages:  # each at half the resolution of the one before"
    stages = content["stages"]
    assert isinstance(stages, list)
    for stage in stages:
        yield f"  - {flow(stage)}"


def flow(value: object) -> str:
    """YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    return f"[{', '.join(map(flow, value))}]" if isinstance(value, list | tuple) else str(value)


def quoted(text: str) -> str:
    """A YAML string, in quotes where it needs them."""
    import json

    plain = all(letter.isalnum() or letter in "/._-" for letter in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
