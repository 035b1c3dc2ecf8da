"""The text of a first sweep and its search space: YAML with the reasons beside the values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date

import yaml

from ffnet_search.autoconfig.budget import EXPORTED, Budget
from ffnet_search.autoconfig.draft import Draft
from ffnet_search.tasks.base import task_of


def sweep_text(budget: Budget, name: str, latency_ms: float | None) -> Iterator[str]:
    """The lines of the sweep's file."""
    draft = budget.throughput.draft
    stages = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in budget.seconds.items())
    crop = max(1, draft.resolution // 8)
    yield f"# Written by `ffnet-search init` on {date.today()} for {draft.images}."
    yield f"# Run it: ffnet-search run {name}.yaml   (about {budget.minutes:.0f} minutes on this machine: {stages})"
    yield f"search_space: {name}_space.yaml  # what may vary in the networks"
    yield "seed: 0"
    yield "data:"
    yield "  name: image_folder  # one folder per class"
    yield f"  {yaml.safe_dump({'path': str(draft.images.folder)}, allow_unicode=True, width=math.inf).strip()}"
    yield f"  batch_size: {budget.batch_size}"
    yield f"  validation: {budget.validation}  # of the training images: {budget.held_out:,} to compare networks on"
    yield f"  calibration: {budget.calibration}  # of the training images, for the statistics of each network"
    yield f"  augment: {{crop: {crop}, flip: true}}  # pixels to shift by; flip: false where left and right matter"
    yield "train:"
    yield f"  epochs: {budget.epochs}  # {budget.epoch_s:.1f} s each; more of them make better networks"
    yield "  learning_rate: 2.0e-3"
    yield "latency:  # measured here; another device, or several: docs/device.md"
    yield "  backend: onnxruntime  # or openvino, torch, command (any program that prints milliseconds)"
    yield "  threads: 1"
    yield "  noisy: true  # accept a busy machine, with a warning: remove this for figures to rely on"
    yield "search:"
    yield f"  trials: {budget.trials}  # networks to try, {budget.trial_s:.1f} s each"
    yield f"  objectives: [{task_of(draft.space.images).quality.name}, latency_ms]"
    yield f"  {_constraint(budget, latency_ms)}"
    yield "export:"
    yield f"  top: {EXPORTED}  # networks of the front, evenly spread"


def _constraint(budget: Budget, latency_ms: float | None) -> str:
    """The limit on latency; as a comment with a limit in the middle of the space where the user gave none."""
    least, most = budget.throughput.smallest_ms, budget.throughput.largest_ms
    comment = f"# a hard limit; the space holds {least:.2g} to {most:.2g} ms"
    if latency_ms is None:
        return f"# constraints: {{latency_ms: {(least * most) ** 0.5:.2g}}}  {comment}"
    beyond = ", which this excludes nothing of" if latency_ms >= most else ""
    return f"constraints: {{latency_ms: {latency_ms:g}}}  {comment}{beyond}"


def space_text(draft: Draft, name: str) -> Iterator[str]:
    """The lines of the search space's file."""
    content = draft.content
    yield f"# What may vary in the networks of {name}.yaml: {draft.space.size:,} architectures. Every list is a"
    yield "# choice; a list of one fixes it. `ffnet-search show` prints what they cost."
    yield f"input: {flow(content['input'])}  # images are cut square and resized to the resolution"
    yield f"stem: {flow(content['stem'])}  # a larger stride is faster and sees less"
    if "per_block" in content:
        yield f"per_block: {flow(content['per_block'])}  # each block chooses these for itself"
    yield "stages:  # each at half the resolution of the one before"
    for stage in content["stages"]:
        yield f"  - {flow(stage)}"


def flow(value: object) -> str:
    """YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf).strip()
