"""A deployed network without its head: the map after each stage, for detection and segmentation."""

from __future__ import annotations

from itertools import accumulate, pairwise

from torch import Tensor, nn

from ffnet_search.models.deployed import Deployed


class Backbone(nn.Module):
    """(B, channels, H, W) of any size -> one map per stage, (B, widths[i], ~H / strides[i], ~W / strides[i]).

    Trainable, with BN folded. It shares its weights with `net`.

    >>> backbone = Backbone(ffnet_search.load("runs/my/pareto/01-0123456789ab"))  # doctest: +SKIP
    >>> c1, c2, c3, c4 = backbone(images_BCHW)  # doctest: +SKIP
    """

    def __init__(self, net: Deployed) -> None:
        super().__init__()
        arch = net.arch
        self.widths = tuple(stage.width for stage in arch.stages)
        self.strides = tuple(arch.stem.stride * 2**index for index in range(len(arch.stages)))
        sizes = [1 + 2 * stage.depth for stage in arch.stages]  # the stem or a patch merging, two parts per block
        ends = accumulate(sizes, initial=0)
        self.stages = nn.ModuleList(net.parts[start:end] for start, end in pairwise(ends))

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps
