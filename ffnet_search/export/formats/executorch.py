"""ExecuTorch in float32, its operators lowered to XNNPACK, for one image: `model.pte`."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ffnet_search.atomic_write import write_bytes
from ffnet_search.export.formats.base import Floats, Format, Forward, ModelFile, Source, one_by_one
from ffnet_search.progress import hushed

MODEL = "model.pte"


class ExecuTorch(Format):
    packages = ("executorch",)
    extra = "executorch"
    files = (ModelFile(MODEL, "for ExecuTorch with XNNPACK, one image"),)

    def write(self, folder: Path, source: Source) -> None:
        import torch

        with hushed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            program = torch.export.export(source.net, (torch.zeros(1, *source.calibration_NCHW.shape[1:]),))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            write_bytes(folder / MODEL, lowered.to_executorch().buffer)

    def forward(self, folder: Path) -> Forward:
        import torch

        with hushed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            # The only way to compute on one thread, and once: methods that exist keep the pool that they began with.
            if portable_lib._threadpool_get_thread_count() != 1:  # noqa: SLF001
                portable_lib._unsafe_reset_threadpool(1)  # noqa: SLF001
            program = Runtime.get().load_program((folder / MODEL).read_bytes())
            method = program.load_method("forward")

        def forward(images_BCHW: Floats) -> Floats:
            assert program is not None  # it holds what the method reads
            copy_BCHW = np.array(images_BCHW, order="C")  # strides of sizes of 1 are read too
            output: Floats = method.execute([torch.from_numpy(copy_BCHW)])[0].numpy().copy()
            return output

        return one_by_one(forward)
