"""The text of a first sweep and of its search space: YAML with a reason for each value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date

import yaml

from ffnet_search.autoconfig.budget import EXPORTED, SEED, Budget
from ffnet_search.autoconfig.draft import Draft, PretrainedDraft
from ffnet_search.autoconfig.inspect import MaskSet
from ffnet_search.autoconfig.inspect_table import TableSet
from ffnet_search.config.json_schema import schema_line
from ffnet_search.config.retraining import LONGER
from ffnet_search.formatting import figure
from ffnet_search.metrics import LATENCY
from ffnet_search.space.registry import DEFAULT_TASK
from ffnet_search.tasks.base import task_of

WEIGHTS = {  # of uneven classes, by task
    "classification": "class_weights: auto  # a rare class counts more; balanced: as much as every other; none: by its "
    "images",
    "multilabel": "class_weights: auto  # images that have a rare label count more; balanced: as much as the others",
    "segmentation": "class_weights: auto  # finds more of rare classes, for some mIoU",  # docs/log/tasks.md
}
PARTS = {  # of the estimate
    "epoch": "of the supernet",
    "epoch_alone": "of one network",
    "candidate": "comparing one network",
    "retraining": "all networks of the front",
}
LONG_EPOCHS = 50  # from here on RandAugment, jitter and CutMix are worth a try


def sweep_text(budget: Budget, name: str, latency_ms: float | None) -> Iterator[str]:
    """The lines of the sweep's file."""
    draft = budget.throughput.draft
    stages = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in budget.seconds.items())
    yield schema_line("sweep")
    yield f"# Written by `ffnet-search init` on {date.today()} for {draft.images}."
    yield f"# Run it: ffnet-search run {name}.yaml   (about {budget.minutes:.0f} minutes on this machine: {stages})"
    if draft.images.task != DEFAULT_TASK:
        yield f"task: {draft.images.task}"
    yield f"search_space: {name}_space.yaml  # what may vary in the networks"
    yield f"seed: {SEED}"
    yield "estimate:  # minutes here, by which `run --minutes` divides its time, and `check` compares two ways"
    yield from (f"  {stage}: {max(0.1, seconds / 60):.1f}" for stage, seconds in budget.seconds.items())
    yield from (f"  {part}: {_number(getattr(budget.pace, part))}  # {words}" for part, words in PARTS.items())
    yield from _data_text(budget)
    yield from _train_lines(budget)
    yield "latency:  # measured here; another device, or several: docs/device.md"
    yield "  backend: onnxruntime  # or openvino, torch, command (any program that prints milliseconds)"
    yield "  threads: 1"
    yield "  noisy: true  # accept a busy machine, with a warning: remove this for figures to rely on"
    yield "search:"
    if budget.uses_supernet:
        yield f"  trials: {budget.trials}  # networks to try, {budget.trial_s:.1f} s each"
    else:
        yield f"  trials: {budget.trials}  # networks to try, {60 * budget.comparison.each:.1f} s each"
        yield f"  evaluator: train  # each by itself: a supernet pays from {budget.comparison.pays_from} networks on"
        yield "  early_stopping: {rule: asha}  # stops those that lag behind"
    names = draft.images.is_uneven and draft.images.task == DEFAULT_TASK
    others = "  # or balanced_accuracy, f1_macro, recall@CLASS: classes are uneven" if names else ""
    yield f"  objectives: [{task_of(draft.space.images).quality.name}, latency_ms]{others}"
    yield f"  {_constraint(budget, latency_ms)}"
    yield "export:"
    yield f"  top: {EXPORTED}  # networks of the front, its ends among them"
    if budget.uses_supernet:
        words = f"of the largest, up to {LONGER} times as many of smaller ones; {budget.alone_epoch_s:.1f} s each"
        yield f"  retrain: {{epochs: {budget.retrain_epochs}}}  # {words}"


def _data_text(budget: Budget) -> Iterator[str]:
    """The lines of the sweep's section `data`."""
    images = budget.throughput.draft.images
    yield "data:"
    yield f"  name: {images.dataset}  # {images.layout}"
    yield f"  {yaml.safe_dump({'path': str(images.folder)}, allow_unicode=True, width=math.inf).strip()}"
    if isinstance(images, TableSet):
        yield f"  columns: {_flow(list(images.columns))}  # to learn; {images.others}"
    yield f"  batch_size: {budget.batch_size}"
    if images.validations is None:
        about = "about " if isinstance(images, MaskSet) else ""  # their split heeds the masks' classes, read in a run
        held_out = f"{about}{budget.held_out:,} to compare networks on"
        yield f"  validation: {budget.validation}  # of the training images: {held_out}"
    if images.items == 1:
        yield f"  calibration: {budget.calibration}  # of the training images, for the statistics of each network"
    yield from (f"  {line}" for line in budget.throughput.draft.training_lines)
    is_long = budget.epochs >= LONG_EPOCHS  # in a short training images are not learnt by heart, however few they are
    yield from (f"    {'' if is_long else '# '}{line}" for line in budget.throughput.draft.stronger_lines)


def _train_lines(budget: Budget) -> Iterator[str]:
    draft = budget.throughput.draft
    yield "train:"
    yield f"  epochs: {budget.epochs}  # {budget.epoch_s:.1f} s each; more of them make better networks"
    yield "  learning_rate: 8.0e-3"
    if task_of(draft.space.images).cuts and budget.epochs >= LONG_EPOCHS:
        yield "  # cutmix: 1.0  # mixes training images: pays in long trainings, so try it beside this one"
    if draft.images.is_uneven:
        yield f"  {'' if draft.images.has_rare else '# '}{WEIGHTS[draft.images.task]}"
    if isinstance(draft, PretrainedDraft):
        yield f"  start_from: {draft.weights}  # weights of ImageNet, downloaded once; or a file, a run, a network"


def _constraint(budget: Budget, latency_ms: float | None) -> str:
    """The limit on latency; as a comment with a limit in the middle of the space where the user gave none."""
    least, most = budget.throughput.smallest_ms, budget.throughput.largest_ms
    comment = f"# a hard limit; the space holds {figure(least)} to {LATENCY.format(most)}"
    if latency_ms is None:
        return f"# constraints: {{latency_ms: {(least * most) ** 0.5:.2g}}}  {comment}"
    beyond = ", which this excludes nothing of" if latency_ms >= most else ""
    return f"constraints: {{latency_ms: {latency_ms:g}}}  {comment}{beyond}"


def space_text(draft: Draft, name: str) -> Iterator[str]:
    """The lines of the search space's file."""
    content = draft.content
    yield schema_line("space")
    yield f"# What may vary in the networks of {name}.yaml: {draft.space.size:,} architectures. Every list is a"
    yield f"# choice; a list of one fixes it. `ffnet-search show {name}_space.yaml` prints what they cost."
    yield f"input: {_flow(content['input'])}  # {draft.input_words}"
    yield f"stem: {_flow(content['stem'])}  # {draft.stem_words}"
    if "head" in content:
        yield f"head: {_flow(content['head'])}  # output: labels is faster where classes are many"
    if "per_block" in content:
        yield f"per_block: {_flow(content['per_block'])}  # each block chooses these for itself"
    yield f"stages:  # {draft.stages_words}"
    for stage in content["stages"]:
        yield f"  - {_flow(stage)}"


def _number(value: float) -> str:
    """A number as YAML reads one: an exponent needs a point."""
    text = f"{value:g}"
    return text if "." in text else text.replace("e", ".0e")


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf).strip()
