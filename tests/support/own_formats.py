"""User-supplied export formats: a good one, and some that must be refused or marked."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ffnet_search.export.formats.base import Floats, Format, Forward, ModelFile, Source
from ffnet_search.export.formats.onnx import Onnx, onnx_forward
from ffnet_search.export.network import load_deployed


class Weights(Format):
    """The state dict in torch's own file."""

    packages = ()
    files = (ModelFile("weights.pt", "for torch.load"),)

    def write(self, folder: Path, source: Source) -> None:
        torch.save(source.net.state_dict(), folder / "weights.pt")

    def forward(self, folder: Path) -> Forward:
        net = load_deployed(folder)
        net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))

        @torch.inference_mode()
        def forward(images_BCHW: Floats) -> Floats:
            return np.asarray(net(torch.from_numpy(images_BCHW)))

        return forward


class Shifted(Onnx):
    """Outputs that differ from torch's by `shift`."""

    shift: ClassVar[float] = 0.0

    def forward(self, folder: Path) -> Forward:
        forward = onnx_forward(folder / "model.onnx")
        return lambda images_BCHW: forward(images_BCHW) + np.float32(self.shift)


class Degraded(Onnx):
    """An inexact format that is wrong on the images in `wrong`."""

    is_exact = False
    wrong: ClassVar[frozenset[bytes]] = frozenset()

    def forward(self, folder: Path) -> Forward:
        forward = onnx_forward(folder / "model.onnx")

        def degraded(images_BCHW: Floats) -> Floats:
            logits_BK = forward(images_BCHW)
            for image_CHW, logits_K in zip(images_BCHW, logits_BK, strict=True):
                if image_CHW.tobytes() in self.wrong:
                    logits_K *= -1
            return logits_BK

        return degraded


class NeedsRuntime(Onnx):
    """A format whose package is not installed."""

    packages = ("no_such_runtime",)
