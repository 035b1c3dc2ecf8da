"""ONNX with 8-bit weights (per channel) and activations, whose ranges are those of the calibration images.

Static quantisation by ONNX Runtime, with quantise-dequantise pairs (QDQ).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ffnet_search.export.exported import ONNX
from ffnet_search.export.formats.base import Floats, Format, Forward, ModelFile, Source
from ffnet_search.export.formats.onnx import onnx_forward

MODEL = "model.int8.onnx"
CALIBRATION = 256  # images that the ranges are taken from
BATCHES = 8


class Int8(Format):
    files = (ModelFile(MODEL, "quantised to 8 bits, for ONNX Runtime"),)
    is_exact = False

    def write(self, folder: Path, source: Source) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        images_NCHW = source.calibration_NCHW[:CALIBRATION].contiguous().numpy()
        prepared = folder / "prepared.onnx"
        try:
            quant_pre_process(folder / ONNX, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                folder / MODEL,
                Batches(images_NCHW),
                QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            prepared.unlink(missing_ok=True)

    def forward(self, folder: Path) -> Forward:
        return onnx_forward(folder / MODEL)


class Batches:
    """Calibration images batch by batch, as onnxruntime's `CalibrationDataReader` gives them."""

    def __init__(self, images_NCHW: Floats) -> None:
        self.batches: Iterator[Floats] = iter(np.array_split(images_NCHW, BATCHES))

    def get_next(self) -> Mapping[str, Floats] | None:
        """The next batch by the name of the model's input, None at the end."""
        images_BCHW = next(self.batches, None)
        return None if images_BCHW is None else {"images": images_BCHW}
