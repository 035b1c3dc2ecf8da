"""CoreML: an ML program, float32, for one image, for iOS 16 or macOS 13 and later: `images` -> the task's output.

It is converted on any system by coremltools, and runs on Apple's systems alone, so it is not run here.
"""

from __future__ import annotations

import os
import shutil
from contextlib import redirect_stderr
from pathlib import Path

from ffnet_search.export.formats.base import Format, ModelFile, Source
from ffnet_search.tasks.base import task_of

MODEL = "model.mlpackage"


class CoreMl(Format):
    packages = ("coremltools",)
    extra = "coreml"
    files = (ModelFile(MODEL, "for CoreML"),)

    def write(self, folder: Path, source: Source) -> None:
        import coremltools
        import torch

        shape = (1, *source.calibration_NCHW.shape[1:])
        program = torch.export.export(source.net, (torch.zeros(shape),)).run_decompositions({})
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # its progress bars
            model = coremltools.convert(
                program,
                convert_to="mlprogram",
                inputs=[coremltools.TensorType(name="images", shape=shape)],
                outputs=[coremltools.TensorType(name=task_of(source.net.arch.input).output_name)],
                minimum_deployment_target=coremltools.target.iOS16,
                compute_precision=coremltools.precision.FLOAT32,
            )
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        model.save(str(folder / MODEL))

    def forward(self, folder: Path) -> None:
        return None
