"""ncnn in float32: the graph and its weights, as two files; `in0` -> `out0`, for one image without a batch axis."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.atomic_write import write_bytes
from ffnet_search.export.formats.base import Format, Forward, ModelFile, Source
from ffnet_search.latency.backends.ncnn import BIN, PACKAGES, PARAM, Net, ncnn_files


class Ncnn(Format):
    packages = PACKAGES
    extra = "ncnn"
    files = (ModelFile(PARAM, f"for ncnn, with {BIN} beside it"), ModelFile(BIN, f"weights of {PARAM}"))

    def write(self, folder: Path, source: Source) -> None:
        param, weights = ncnn_files(source.net, tuple(source.calibration_NCHW.shape[1:]))
        write_bytes(folder / PARAM, param)
        write_bytes(folder / BIN, weights)

    def forward(self, folder: Path) -> Forward:
        return Net((folder / PARAM).read_text(encoding="utf-8"), (folder / BIN).read_bytes(), threads=1)
