"""A head that reads several stages: elastic = sliced = fused = exported, its parts, and its axes in keys and costs."""

from __future__ import annotations

import json
import random
import runpy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from masks import CONTENT, SPACE, WIDE
from networks import images, run_onnx, supernet
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.latency.plan import parts_of
from ffnet_search.models.deployed import Backbone, deployed, deployed_part, fuse
from ffnet_search.models.heads import enlarged
from ffnet_search.space.architecture import Architecture, Form, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.cost_model import ANALYTIC, WORST, smallest_reachable
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import height_and_width
from ffnet_search.tasks.segmentation import MaskHead

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["square", "wide"])
@pytest.mark.parametrize("branches", ["none", "all"])
@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported(branches: str, space: SearchSpace) -> None:
    net = supernet(space, Form(branches, 0.1))  # type: ignore[arg-type]
    x_BCHW, rng = images(space, 3), random.Random(0)
    height, width = x_BCHW.shape[2:]
    for arch in (space.smallest, space.largest, *(space.sample(rng) for _ in range(8))):
        sliced = net.slice_to(arch)
        fused = fuse(sliced)
        elastic_BKHW, sliced_BKHW, fused_B = net(x_BCHW, arch), sliced(x_BCHW), fused(x_BCHW)
        assert elastic_BKHW.shape == (3, 3, height // arch.head.stride, width // arch.head.stride)
        assert (elastic_BKHW - sliced_BKHW).abs().max() <= 1e-5
        onnx_B = run_onnx(fused, x_BCHW)
        assert onnx_B.dtype == fused_B.dtype and onnx_B.shape == fused_B.shape
        if arch.head.output == "logits":
            assert (enlarged(sliced_BKHW, (height, width)) - fused_B).abs().max() <= 1e-5 * max(
                1.0, float(fused_B.abs().max())
            )
            assert (fused_B - onnx_B).abs().max() <= 1e-4
        else:
            first_BHW, second_BHW = sliced_BKHW.topk(2, 1).values.unbind(1)
            clear_BHW = first_BHW - second_BHW > 1e-4  # else rounding decides
            assert clear_BHW.float().mean() > 0.99
            assert (sliced_BKHW.argmax(1) == fused_B)[clear_BHW].all() and (fused_B == onnx_B)[clear_BHW].all()


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["square", "wide"])
@torch.no_grad()
def test_deployed_parts_have_the_stated_parameters_macs_and_sides(space: SearchSpace) -> None:
    rng = random.Random(2)
    for arch in (space.smallest, *(space.sample(rng) for _ in range(6))):
        assert sum(part.costs.params for part in arch.parts) == sum(p.numel() for p in deployed(arch).parameters())
        for part, module in zip(arch.parts, deployed(arch).parts, strict=True):
            assert sum(parameter.numel() for parameter in module.parameters()) == part.costs.params, part.key
            x_BCHW = torch.zeros(1, part.in_width, *height_and_width(part.resolution))
            with FlopCounterMode(display=False) as counter:
                y_B = module(x_BCHW)
            assert counter.get_total_flops() == 2 * part.costs.macs, part.key
            assert deployed_part(part)(x_BCHW).shape == y_B.shape
            assert tuple(y_B.shape[-2:]) == height_and_width(part.out_resolution)


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["square", "wide"])
def test_a_plan_knows_every_part(space: SearchSpace) -> None:
    rng, known = random.Random(0), parts_of(space)
    assert {part for _ in range(300) for part in space.sample(rng).parts} <= set(known)
    assert len({part.key for part in known}) == len(known)


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["square", "wide"])
@pytest.mark.parametrize("metric", ANALYTIC)
def test_brute_force_finds_nothing_cheaper(metric: str, space: SearchSpace) -> None:
    """With the memory that the head holds while later stages run."""
    axes, total = space.axes(), max if metric in WORST else sum
    archs = [space.build(dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    assert len({arch.key for arch in archs}) == space.size
    arch, value = smallest_reachable(space, ANALYTIC[metric], total)
    assert arch in space
    assert value == pytest.approx(getattr(arch, metric)) == pytest.approx(min(getattr(one, metric) for one in archs))


@pytest.mark.slow
def test_the_memory_of_a_network_is_what_its_allocator_says() -> None:
    """By the benchmark that prints it; of the shipped sweep's largest network, whose maps are no few bytes."""
    allocated = runpy.run_path(str(ROOT / "benchmarks/memory.py"))["eager"]
    largest = Sweep.from_yaml(ROOT / "sweeps/segment.yaml").search_space.largest
    for output in ("logits", "labels"):
        arch = replace(largest, head=MaskHead(48, 4, output))
        assert 0.93 * allocated(arch) <= 1e6 * arch.peak_memory_mb <= 1.001 * allocated(arch), str(arch)


def test_memory_holds_the_sum_of_laterals() -> None:
    """A wider head costs memory while the stages after the first lateral run, and not before."""
    block = Block("ffn_attention", 3, 3, 4)
    image = Input(3, 64, 2, "segmentation")
    archs = [
        Architecture(trunk.stem, trunk.stages, image, MaskHead(width, 4, "labels"))
        for trunk in [Architecture.uniform((1, 1, 1), (8, 64, 64), [block] * 3, Stem(8, 4), image)]
        for width in (1, 8)
    ]
    worst = [max(part.costs.memory for part in arch.parts) for arch in archs]
    assert worst[0] == worst[1]
    [less, more] = [arch.peak_memory_mb for arch in archs]
    assert more - less == pytest.approx(4 * 7 * 16**2 / 1e6)


@torch.no_grad()
def test_a_backbone_leaves_the_head_out() -> None:
    net = fuse(supernet(SPACE).slice_to(SPACE.largest))
    maps = Backbone(net)(images(SPACE, 1))
    assert [map_BCHW.shape[1] for map_BCHW in maps] == [stage.width for stage in SPACE.largest.stages]


def test_a_network_is_its_files_and_its_choices() -> None:
    rng = random.Random(0)
    for arch in (SPACE.sample(rng) for _ in range(20)):
        assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
        assert SPACE.build(SPACE.choices_of(arch)) == arch and arch in SPACE
        assert str(arch.head) in str(arch)
        alone = SearchSpace.model_validate({"architecture": arch.to_dict()})
        assert SearchSpace.model_validate(yaml.safe_load(yaml.safe_dump(alone.model_dump(mode="json")))) == alone
    assert (SPACE.largest.head, SPACE.smallest.head) == (MaskHead(12, 2, "logits"), MaskHead(8, 4, "labels"))


def test_axes_that_are_left_out_have_their_defaults() -> None:
    space = SearchSpace.model_validate({name: part for name, part in CONTENT.items() if name != "head"})
    assert space.axes()["head.stride"] == (4,) and space.largest.head == MaskHead()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"widht": 8}, r"head.widht must be one of width, stride, output; did you mean 'width'"),
        ({"width": [0]}, r"head.width must be a number >= 1, but got 0"),
        ({"stride": [3]}, r"head.stride must be one of 1, 2, 4, 8, 16, 32, but got 3"),
        ({"stride": [8]}, r"head.stride must be a stride of the stages, one of 1, 2, 4 at stem stride 1, but got 8"),
        ({"stride": [1]}, r"head.stride must be a stride of the stages, one of 2, 4, 8 at stem stride 2, but got 1"),
        ({"output": ["mask"]}, r"head.output must be one of logits, labels, but got 'mask'"),
    ],
)
def test_a_mistake_in_a_head_is_one_sentence(head: dict[str, Any], message: str) -> None:
    from ffnet_search.strict_yaml import parse

    with pytest.raises(SweepError, match=message):
        parse(SearchSpace, CONTENT | {"head": head}, "space.yaml")


def test_a_head_needs_a_task_that_has_axes() -> None:
    from ffnet_search.strict_yaml import parse

    content = CONTENT | {"input": {"resolution": 16, "classes": 3}}
    with pytest.raises(SweepError, match=r"head must be left out: the head of this task has no axes"):
        parse(SearchSpace, content, "space.yaml")
