"""RandAugment (Cubuk et al. 2019, arXiv 1909.13719): random operations one after another, all of one magnitude.

The 14 operations, their ranges and the 31 magnitudes are torchvision's; torchvision is not needed. Each image draws its
own operations, with equal probability, and the sign of those that have two directions. Pixels from beyond the edge have
`edge_C`, the mean colour. Images are float32 (B, C, H, W) in levels of 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ffnet_search.config.schema import MAGNITUDES
from ffnet_search.data.augmentation import colour
from ffnet_search.data.augmentation.moves import Share, beside

ENHANCED = 0.9  # the change of a factor at the largest magnitude
ANGLE = math.radians(30)
SHEAR = 0.3  # pixels a pixel
SHIFT = 150 / 331  # of a side
BITS = 4  # that posterize takes away

Change = Callable[[Tensor, float, Tensor], Tensor]  # of levels, by a share of the largest magnitude and signs (B,)
Warp = Callable[[float, Tensor], tuple[Tensor, Tensor]]  # matrices (B, 2, 2) and shifts (B, 2) in shares of a side


def _enhanced(change: Callable[[Tensor, Tensor], Tensor]) -> Change:
    return lambda levels_BCHW, strength, sign_B: change(levels_BCHW, 1 + ENHANCED * strength * sign_B)


CHANGES: Mapping[str, Change] = {
    "identity": lambda levels_BCHW, strength, sign_B: levels_BCHW,
    "auto_contrast": lambda levels_BCHW, strength, sign_B: colour.auto_contrast(levels_BCHW),
    "equalize": lambda levels_BCHW, strength, sign_B: colour.equalize(levels_BCHW),
    "solarize": lambda levels_BCHW, strength, sign_B: colour.solarize(levels_BCHW, 255 * (1 - strength)),
    "posterize": lambda levels_BCHW, strength, sign_B: colour.posterize(levels_BCHW, 8 - round(BITS * strength)),
    "brightness": _enhanced(colour.brightness),
    "contrast": _enhanced(colour.contrast),
    "saturation": _enhanced(colour.saturation),
    "sharpness": _enhanced(colour.sharpness),
}


def _matrix(*rows: tuple[Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _rotated(strength: float, sign_B: Tensor) -> tuple[Tensor, Tensor]:
    angle_B = ANGLE * strength * sign_B
    return _matrix((angle_B.cos(), angle_B.sin()), (-angle_B.sin(), angle_B.cos())), torch.zeros(len(sign_B), 2)


def _sheared(row: int) -> Warp:
    def warp(strength: float, sign_B: Tensor) -> tuple[Tensor, Tensor]:
        matrix_B22 = torch.eye(2).repeat(len(sign_B), 1, 1)
        matrix_B22[:, row, 1 - row] = SHEAR * strength * sign_B
        return matrix_B22, torch.zeros(len(sign_B), 2)

    return warp


def _shifted(row: int) -> Warp:
    def warp(strength: float, sign_B: Tensor) -> tuple[Tensor, Tensor]:
        shift_B2 = torch.zeros(len(sign_B), 2)
        shift_B2[:, row] = SHIFT * strength * sign_B
        return torch.eye(2).repeat(len(sign_B), 1, 1), shift_B2

    return warp


WARPS: Mapping[str, Warp] = {
    "rotate": _rotated,
    "shear_x": _sheared(0),
    "shear_y": _sheared(1),
    "translate_x": _shifted(0),
    "translate_y": _shifted(1),
}
OPERATIONS = (*CHANGES, *WARPS)


class RandAugment:
    """`operations` of them on each image, at one of 31 magnitudes."""

    def __init__(self, operations: int, magnitude: int, edge_C: Tensor) -> None:
        self.operations, self.strength, self.edge_C = operations, magnitude / MAGNITUDES, edge_C

    def __call__(
        self, levels_BCHW: Tensor, maps_BHW: Tensor | None, generator: torch.Generator, share: Share, fill: int
    ) -> tuple[Tensor, Tensor | None]:
        """Images, and maps that move with them; `fill` comes into maps from beyond the edge."""
        whole, mine = share.of(levels_BCHW)
        size = self.operations, whole
        chosen_NB = torch.randint(len(OPERATIONS), size, generator=generator)[:, mine]
        sign_NB = torch.randint(2, size, generator=generator)[:, mine] * 2.0 - 1
        for chosen_B, sign_B in zip(chosen_NB, sign_NB, strict=True):
            for number in chosen_B.unique().tolist():
                members = (chosen_B == number).nonzero().flatten()
                name, signs_B = OPERATIONS[number], sign_B[members]
                members = beside(members, levels_BCHW)
                some_BCHW = levels_BCHW[members]
                if name in CHANGES:
                    some_BCHW = CHANGES[name](some_BCHW, self.strength, signs_B).clamp(0, 255)
                else:
                    grid_BHW2 = beside(grid(*WARPS[name](self.strength, signs_B), some_BCHW.shape[2:]), some_BCHW)
                    edge_C11 = beside(self.edge_C.to(some_BCHW.dtype), some_BCHW)[:, None, None]
                    some_BCHW = sampled(some_BCHW, grid_BHW2, edge_C11, "bilinear")
                    if maps_BHW is not None:
                        some_B1HW = maps_BHW[members][:, None].float()
                        some_B1HW = sampled(
                            some_B1HW, grid_BHW2, beside(torch.tensor(float(fill)), some_B1HW), "nearest"
                        )
                        maps_BHW = maps_BHW.index_copy(0, members, some_B1HW[:, 0].to(maps_BHW.dtype))
                levels_BCHW = levels_BCHW.index_copy(0, members, some_BCHW)
        return levels_BCHW, maps_BHW


def grid(matrix_B22: Tensor, shift_B2: Tensor, sides: torch.Size) -> Tensor:
    """The place that each pixel comes from, as `grid_sample` counts: (B, H, W, 2), x first, the image from -1 to 1.

    Matrices act on pixels from the middle, so that a rectangle is turned and not distorted."""
    height, width = sides
    x_W, y_H = torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2
    place_HW2 = torch.stack([x_W.expand(height, width), y_H[:, None].expand(height, width)], -1)
    sides_2 = torch.tensor([width, height])
    from_BHW2 = torch.einsum("bij,hwj->bhwi", matrix_B22, place_HW2) + (shift_B2 * sides_2)[:, None, None]
    return 2 * from_BHW2 / sides_2


def sampled(images_BCHW: Tensor, grid_BHW2: Tensor, edge: Tensor, mode: str) -> Tensor:
    """The images at the places of a grid; `edge` beyond them."""
    return functional.grid_sample(images_BCHW - edge, grid_BHW2, mode, "zeros", align_corners=False) + edge
