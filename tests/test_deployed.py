"""Elastic = sliced = fused = exported, part by part; a backbone gives the maps that the whole network computes."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest
import torch
from networks import SPACES, images, randomise, run_onnx, space, supernet
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.models.deployed import Backbone, deployed, deployed_part, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.input import Input


@pytest.mark.parametrize("branches", ["none", "all"])
@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported(name: str, branches: str) -> None:
    chosen = space(name)
    net = supernet(chosen, Form(branches, 0.1))  # type: ignore[arg-type]
    x_BCHW, rng = images(chosen, 3), random.Random(0)
    for arch in (chosen.smallest, chosen.largest, *(chosen.sample(rng) for _ in range(4))):
        sliced = net.slice_to(arch)
        fused = fuse(sliced)
        elastic_BK, sliced_BK, fused_BK = net(x_BCHW, arch), sliced(x_BCHW), fused(x_BCHW)
        assert (elastic_BK - sliced_BK).abs().max() <= 1e-5
        assert (sliced_BK - fused_BK).abs().max() <= 1e-5 * max(1.0, float(sliced_BK.abs().max()))
        assert (fused_BK - run_onnx(fused, x_BCHW)).abs().max() <= 1e-4


@torch.no_grad()
def test_imagenet_space_is_consistent_at_a_small_resolution() -> None:
    chosen = space("ffnet_imagenet")
    small = chosen.model_copy(update={"input": chosen.input.model_copy(update={"resolution": 32})})
    net = supernet(small)
    arch, x_BCHW = small.sample(random.Random(1)), images(small, 1)
    sliced = net.slice_to(arch)
    assert (net(x_BCHW, arch) - sliced(x_BCHW)).abs().max() <= 1e-5
    assert (sliced(x_BCHW) - fuse(sliced)(x_BCHW)).abs().max() <= 1e-5 * max(1.0, float(sliced(x_BCHW).abs().max()))


@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_deployed_parts_have_the_stated_parameters_and_macs(name: str) -> None:
    chosen = space(name)
    arch = chosen.sample(random.Random(2)) if name != "ffnet_imagenet" else chosen.smallest
    net = deployed(arch)
    for part, module in zip(arch.parts, net.parts, strict=True):
        assert sum(parameter.numel() for parameter in module.parameters()) == part.costs.params, part.key
        x_BCHW = torch.zeros(1, part.in_width, part.resolution, part.resolution)
        with FlopCounterMode(display=False) as counter:
            y = module(x_BCHW)
        assert counter.get_total_flops() == 2 * part.costs.macs, part.key
        assert deployed_part(part)(x_BCHW).shape == y.shape


def test_the_memory_of_a_network_is_what_its_allocator_says() -> None:
    """By the benchmark that prints it for ONNX Runtime too."""
    allocated = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/memory.py"))["eager"]
    rng = random.Random(0)
    for arch in (space("ffnet_cifar").sample(rng) for _ in range(6)):
        assert 0.93 * allocated(arch) <= 1e6 * arch.peak_memory_mb <= 1.001 * allocated(arch), str(arch)
        assert arch.weights_mb == pytest.approx(sum(4e-6 * p.numel() for p in deployed(arch).parameters()))


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
@torch.no_grad()
def test_a_backbones_last_map_and_the_head_are_the_network(name: str) -> None:
    choices = space(name)
    net = fuse(supernet(choices).slice_to(choices.smallest))
    x_BCHW = images(choices, 2)
    maps = Backbone(net)(x_BCHW)
    assert torch.equal(net.parts[-1](maps[-1]), net(x_BCHW))
    assert [map_BCHW.shape[1] for map_BCHW in maps] == [stage.width for stage in choices.smallest.stages]


@torch.no_grad()
def test_four_maps_of_a_published_network_for_images_of_any_size() -> None:
    net = MetaMixer(Architecture.preset("ffnet_1", Input(outputs=2))).eval()
    randomise(net)
    backbone = Backbone(fuse(net))
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(map_BCHW.shape[1:]) for map_BCHW in maps] == [
        (width, 64 // stride, 96 // stride) for width, stride in zip(backbone.widths, backbone.strides, strict=True)
    ]
    assert backbone.widths == (80, 160, 320, 640) and backbone.strides == (4, 8, 16, 32)


def test_a_backbone_learns() -> None:
    choices = space("ffnet_digits")
    backbone = Backbone(fuse(supernet(choices).slice_to(choices.smallest)))
    sum(map_BCHW.square().mean() for map_BCHW in backbone(images(choices, 2))).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
