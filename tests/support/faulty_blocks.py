"""User-supplied token mixers with one fault each; the message that names it begins or continues with the docstring."""

from __future__ import annotations

import torch
from my_blocks import Blur, DeployedBlur
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.mixers import TokenMixer
from ffnet_search.space.architecture import Form
from ffnet_search.space.mixers import Costs


class Shrinks(Blur):
    """forward must return the shape of its input"""

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return F.avg_pool2d(x_BCHW, kernel, 1, 1)


class Raises(Blur):
    """it raises RuntimeError: no such layer (faulty_blocks.py, line"""

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        raise RuntimeError("no such layer")


class Rigid(Blur):
    """it raises RuntimeError: The size of tensor a"""

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return super().forward(x_BCHW, kernel) * torch.ones(self.width, 1, 1)


class Alone(Blur):
    """it raises TypeError:"""

    def __init__(self, width: int) -> None:
        super().__init__(width, 3, Form())


class OtherFunction(Blur):
    """deploy must compute what forward does, times layer_scale, but the outputs differ by up to"""

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return DeployedBlur(kernel + 2, torch.ones(self.width) if layer_scale is None else layer_scale.flatten())


class OtherShape(Blur):
    """deploy must keep the shape of the input"""

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return nn.AvgPool2d(kernel, 1)


class NoModule(Blur):
    """deploy must return a module, but returns Tensor"""

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return torch.zeros(1)  # type: ignore[return-value]


class Number(Blur):
    """costs must return Costs(params, macs, memory), but returns int"""

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return width  # type: ignore[return-value]


class Free(Blur):
    """costs must count the parameters of its deployed form,"""

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return Costs(params=0, macs=0, memory=3 * width * pixels)


class Identity(TokenMixer):
    """A mixer without a fault, without parameters where nothing scales it, and without a kernel."""

    has_kernel = False

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return x_BCHW

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return nn.Identity() if layer_scale is None else DeployedBlur(1, layer_scale.flatten())

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return Costs(params=0, macs=0, memory=2 * width * pixels)
