"""OpenVINO IR in float32, from the ONNX model: the model and its weights, as two files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ffnet_search.export.exported import ONNX
from ffnet_search.export.formats.base import Format, Forward, ModelFile, Source

MODEL, WEIGHTS = "openvino.xml", "openvino.bin"
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


class OpenVino(Format):
    packages = ("openvino",)
    extra = "openvino"
    files = (
        ModelFile(MODEL, "for OpenVINO, with openvino.bin beside it"),
        ModelFile(WEIGHTS, "weights of openvino.xml"),
    )

    def write(self, folder: Path, source: Source) -> None:
        import openvino

        openvino.save_model(openvino.Core().read_model(folder / ONNX), folder / MODEL, compress_to_fp16=False)

    def forward(self, folder: Path) -> Forward:
        import openvino

        request = openvino.Core().compile_model(folder / MODEL, "CPU", SETTINGS).create_infer_request()
        return lambda images_BCHW: np.array(request.infer([images_BCHW])[0])
