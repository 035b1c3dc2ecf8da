"""A backbone gives the maps that the whole network computes, at the widths and strides that it names."""

from __future__ import annotations

import pytest
import torch
from networks import images, randomise, space, supernet

from ffnet_search.models.backbone import Backbone
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Input


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
@torch.no_grad()
def test_the_last_map_and_the_head_are_the_network(name: str) -> None:
    choices = space(name)
    net = fuse(supernet(choices).slice_to(choices.smallest))
    x_BCHW = images(choices, 2)
    maps = Backbone(net)(x_BCHW)
    assert torch.equal(net.parts[-1](maps[-1]), net(x_BCHW))
    assert [map_BCHW.shape[1] for map_BCHW in maps] == [stage.width for stage in choices.smallest.stages]


@torch.no_grad()
def test_four_maps_of_a_published_network_for_pictures_of_any_size() -> None:
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
