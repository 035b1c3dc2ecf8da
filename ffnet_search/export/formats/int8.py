"""ONNX with 8-bit weights and activations, whose ranges are those of the calibration images: see `models.int8`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ffnet_search.export.exported import ONNX
from ffnet_search.export.formats.base import Format, Forward, ModelFile, Source
from ffnet_search.export.formats.onnx import onnx_forward

MODEL = "model.int8.onnx"
CALIBRATION = 256  # images that the ranges are taken from
BATCHES = 8


class Int8(Format):
    files = (ModelFile(MODEL, "quantised to 8 bits, for ONNX Runtime"),)
    is_exact = False

    def write(self, folder: Path, source: Source) -> None:
        from ffnet_search.models.int8 import quantise

        images_NCHW = source.calibration_NCHW[:CALIBRATION].contiguous().numpy()
        quantise(folder / ONNX, folder / MODEL, np.array_split(images_NCHW, BATCHES))

    def forward(self, folder: Path) -> Forward:
        return onnx_forward(folder / MODEL)
