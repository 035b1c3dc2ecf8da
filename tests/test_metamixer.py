"""A supernet refuses what is no crop of it, and keeps no running statistics."""

from __future__ import annotations

import pytest
import torch
from networks import images, space

from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input


def test_slice_refuses_what_is_not_inside() -> None:
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen)
    wide = Architecture.uniform(
        (1, 1, 1), (16, 32, 512), (Block(token_kernel=3, expansion=2),) * 3, Stem(16, 1), Input(1, 8, 10)
    )
    with pytest.raises(ValueError, match="stage 3 must fit inside"):
        net.slice_to(wide)
    with pytest.raises(ValueError, match="slice_to"):
        fuse(net)


@torch.no_grad()
def test_supernet_keeps_no_running_statistics() -> None:
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen).train()
    before = {name: tensor.clone() for name, tensor in net.named_buffers()}
    net(images(chosen, 8), chosen.smallest)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.named_buffers())
