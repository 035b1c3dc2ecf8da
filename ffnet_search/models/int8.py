"""ONNX models with 8-bit weights (per channel) and activations, whose ranges are those of given images.

Static quantisation by ONNX Runtime, with quantise-dequantise pairs (QDQ).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ffnet_search.files.temporary import scratch_folder
from ffnet_search.models.deployed import write_onnx

Floats = NDArray[np.float32]
BATCHES = 2  # of random images, for a model whose latency alone is wanted


def quantise(model: Path, target: Path, batches: Sequence[Floats]) -> None:
    """Write the ONNX file `model` with 8 bits; `batches` (B, C, H, W) are representative of its input `images`."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name("prepared.onnx")
    try:
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Batches(batches),
            QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        prepared.unlink(missing_ok=True)


def write_int8_onnx(net: nn.Module, shape: tuple[int, ...], target: BinaryIO, opset: int) -> None:
    """Write a deployed `net` as ONNX with 8 bits for inputs of `shape` (B, C, H, W), with ranges of random images."""
    rng = np.random.default_rng(0)
    with scratch_folder() as name:
        whole, small = Path(name) / "model.onnx", Path(name) / "model.int8.onnx"
        write_onnx(net, shape, whole, opset=opset)
        quantise(whole, small, [rng.standard_normal(shape, dtype=np.float32) for _ in range(BATCHES)])
        target.write(small.read_bytes())


class _Batches:
    """Images batch by batch, as onnxruntime's `CalibrationDataReader` gives them."""

    def __init__(self, batches: Sequence[Floats]) -> None:
        self.batches: Iterator[Floats] = iter(batches)

    def get_next(self) -> Mapping[str, Floats] | None:
        """The next batch by the name of the model's input, None at the end."""
        images_BCHW = next(self.batches, None)
        return None if images_BCHW is None else {"images": images_BCHW}
