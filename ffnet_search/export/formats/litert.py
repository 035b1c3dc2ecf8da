"""LiteRT (TensorFlow Lite) in float32, for one image: `model.tflite`, as phones run it."""

from __future__ import annotations

import io
from pathlib import Path

from ffnet_search.atomic_write import write_bytes
from ffnet_search.export.formats.base import Format, Forward, ModelFile, Source, one_by_one
from ffnet_search.latency.backends.litert import PACKAGES, Interpreter, write_litert

MODEL = "model.tflite"


class LiteRt(Format):
    packages = PACKAGES
    extra = "litert"
    files = (ModelFile(MODEL, "for LiteRT (TensorFlow Lite), one image"),)

    def write(self, folder: Path, source: Source) -> None:
        buffer = io.BytesIO()
        write_litert(source.net, (1, *source.calibration_NCHW.shape[1:]), buffer)
        write_bytes(folder / MODEL, buffer.getvalue())

    def forward(self, folder: Path) -> Forward:
        return one_by_one(Interpreter((folder / MODEL).read_bytes(), threads=1))
