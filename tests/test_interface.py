"""The model card states the interface of `model.onnx` as the file has it, for networks of every task."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from typing import Any

import onnxruntime
import pytest
from task_spaces import SPACES

from ffnet_search.export.bundle.interface import interface
from ffnet_search.export.card import output_facts
from ffnet_search.models.deployed import Deployed, deployed, write_onnx
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.registry import TASKS
from ffnet_search.tasks.base import task_of

TYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}


def network(task: str, output: str) -> Architecture:
    arch = SPACES[task].largest
    return replace(arch, head=replace(arch.head, output=output)) if output else arch


def written(net: Deployed) -> onnxruntime.InferenceSession:
    """The network as `write_network` has it."""
    task, file = task_of(net.arch.input), BytesIO()
    dynamic = (0, 2, 3) if task.any_size else (0,)
    write_onnx(net, (1, *net.arch.input.shape), file, dynamic=dynamic, output=task.output_name)
    return onnxruntime.InferenceSession(file.getvalue())


def rows_of(net: Deployed, **facts: Any) -> dict[str, str]:
    input, task = net.arch.input, task_of(net.arch.input)
    known = {"channels": input.channels, "resolution": input.resolution}
    names = [f"name {number}" for number in range(input.outputs)] if task.names_outputs else input.outputs
    card = {
        "input": {**known, task.outputs_word: names, **facts},
        "output": output_facts(net),
        "data": {"name": "own:D"},
    }
    return dict(interface(card, task))


@pytest.mark.parametrize(
    ("task", "output"), [*((name, "") for name in TASKS), ("segmentation", "logits"), ("segmentation", "labels")]
)
def test_the_card_has_the_names_types_and_shapes_of_the_model(task: str, output: str) -> None:
    net = deployed(network(task, output))
    session = written(net)
    rows = rows_of(net)
    for kind, value in (("input", session.get_inputs()[0]), ("output", session.get_outputs()[0])):
        said = rows[f"{kind} `{value.name}`"]
        assert said.startswith(f"{TYPES[value.type]} (batch, ")
        sizes = re.findall(r"[^,()]+", said.partition("(")[2].partition(")")[0])
        assert len(sizes) == len(value.shape)
        fixed = [(size, there) for size, there in zip(sizes, value.shape, strict=True) if isinstance(there, int)]
        assert all(int(size) == there for size, there in fixed), (said, value.shape)
    assert len(rows["meaning"]) > 10


def test_labels_and_logits_are_told_apart() -> None:
    logits, labels = (rows_of(deployed(network("segmentation", one))) for one in ("logits", "labels"))
    assert logits["meaning"].startswith("logits: ") and labels["meaning"].startswith("labels: ")
    assert labels["output `mask`"].startswith("int32 (batch, 8, 8)"), labels
    assert (
        logits["output `mask`"] == "float32 (batch, 3, 16, 16)" and logits["classes"] == "0 name 0, 1 name 1, 2 name 2"
    )


def test_a_photo_of_any_size_is_enlarged() -> None:
    rows = rows_of(deployed(network("super_resolution", "")), mean=[0.0] * 3, std=[255.0] * 3)
    assert rows["output `enlarged`"] == "float32 (batch, 3, 2 x height, 2 x width)"
    assert rows["preparation"] == (
        "RGB, of any size; of levels 0 to 255: (level - mean) / std of each channel, mean 0, 0, 0, std 255, 255, 255"
    )


def test_the_preparation_is_that_of_the_data() -> None:
    net = deployed(network("classification", ""))
    assert rows_of(net)["preparation"] == "as `own:D` gives images"
    side, channels = net.arch.input.resolution, net.arch.input.channels
    words = rows_of(net, mean=[125.25] * channels, std=[63.0] * channels)["preparation"]
    assert f"its largest centred square resized (bicubic) to {side} x {side}; of levels 0 to 255" in words
    assert "mean 125.2" in words
