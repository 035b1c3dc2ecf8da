"""The program of `torch.export` for any batch size: `torch.export.load(path).module()`, without this package."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ffnet_search.atomic_write import write_bytes
from ffnet_search.export.formats.base import Floats, Format, Forward, ModelFile, Source

MODEL = "model.pt2"


class Pt2(Format):
    files = (ModelFile(MODEL, "for torch.export.load, without this package"),)

    def write(self, folder: Path, source: Source) -> None:
        import torch

        example_BCHW = source.calibration_NCHW[:2].contiguous()
        program = torch.export.export(source.net, (example_BCHW,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        content = io.BytesIO()  # on a full disk torch's own writer of files ends the process
        torch.export.save(program, content)
        write_bytes(folder / MODEL, content.getvalue())

    def forward(self, folder: Path) -> Forward:
        import torch

        program = torch.export.load(folder / MODEL).module()

        def forward(images_BCHW: Floats) -> Floats:
            with torch.inference_mode():
                return np.asarray(program(torch.from_numpy(images_BCHW)))

        return forward
