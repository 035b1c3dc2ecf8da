"""A network of a user's, with weights of its own, that a front is compared with."""

from __future__ import annotations

from torch import Tensor, nn


class Linear(nn.Module):
    """Logits of digits from their mean-pooled pixels."""

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(side * side, 10))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        output_BK: Tensor = self.layers(images_BCHW)
        return output_BK
