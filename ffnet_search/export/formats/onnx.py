"""ONNX in float32, by `models.deployed`, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.export.exported import ONNX
from ffnet_search.export.formats.base import Format, Forward, ModelFile, Source


class Onnx(Format):
    """The model that every exported folder has."""

    files = (ModelFile(ONNX, "for ONNX Runtime and most others, any batch size"),)

    def write(self, folder: Path, source: Source) -> None:
        """Do nothing: `export.network.write_network` has written the model."""

    def forward(self, folder: Path) -> Forward:
        return onnx_forward(folder / ONNX)


def onnx_forward(path: Path) -> Forward:
    """The model at `path` on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images_BCHW: session.run(None, {"images": images_BCHW})[0]
