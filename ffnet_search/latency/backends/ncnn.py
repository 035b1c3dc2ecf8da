"""The backend `ncnn`: ncnn on CPU, in float32. It has no batches: images are computed one after the other."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import Run

if TYPE_CHECKING:
    from torch import nn

    from ffnet_search.latency.backends.model_file import Model

PACKAGES = ("pnnx", "ncnn")
PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"
TIMEOUT_S = 600  # of a conversion, which takes seconds
LENGTH = 8  # bytes of the length of PARAM, which comes first where both files are one


class Ncnn(Backend):
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    extra: ClassVar[str | None] = "ncnn"

    def settings(self) -> dict[str, Any]:
        return {"vulkan": False, "half precision": False}

    def load(self, model: Model, threads: int) -> Run:
        content = model.content("ncnn", _write)
        end = LENGTH + int.from_bytes(content[:LENGTH], "big")
        net = Net(content[LENGTH:end].decode(), content[end:], threads)
        images_BCHW = model.random_images()
        return lambda: net(images_BCHW)


class Net:
    """A model of ncnn, by the text of its graph and its weights: images (B, C, H, W) -> outputs (B, ...)."""

    def __init__(self, param: str, weights: bytes, threads: int) -> None:
        import ncnn

        self._mat, self._net, self._weights = ncnn.Mat, ncnn.Net(), weights  # it reads the weights where they lie
        options = self._net.opt
        options.num_threads, options.use_vulkan_compute = threads, False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = False
        self._net.load_param_mem(param)
        self._net.load_model_mem(weights)

    def __call__(self, images_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([self._one(image_CHW) for image_CHW in images_BCHW])

    def _one(self, image_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
        image_CHW = np.ascontiguousarray(image_CHW)  # a Mat reads it where it lies, until the output is extracted
        extractor = self._net.create_extractor()
        extractor.input("in0", self._mat(image_CHW))
        _, output = extractor.extract("out0")
        return np.array(output)


def _write(net: nn.Module, shape: tuple[int, ...], target: BinaryIO) -> None:
    param, weights = ncnn_files(net, shape[1:])
    target.write(len(param).to_bytes(LENGTH, "big") + param + weights)


def ncnn_files(net: nn.Module, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """The contents of PARAM and BIN of a deployed network for one image of `shape` (C, H, W), by the tool pnnx.

    Raises SweepError if that fails."""
    import pnnx
    import torch

    with scratch_folder() as name:
        folder = Path(name).absolute()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.jit.trace(net.eval(), torch.zeros(1, *shape), check_trace=False).save(str(folder / "model.pt"))
        command = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{','.join(map(str, (1, *shape)))}]f32", "fp16=0"]
        _convert(command, folder)
        return (folder / PARAM).read_bytes(), (folder / BIN).read_bytes()


def _convert(command: list[str], folder: Path) -> None:
    """Run pnnx in a folder. Raises SweepError if it fails, or does not write what it should."""
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        problem = f"did not end within {TIMEOUT_S} s"
    except OSError as error:
        problem = f"cannot be run: {error.strerror}"
    else:
        if not done.returncode and (folder / PARAM).exists() and (folder / BIN).exists():
            return
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on its error output"])[-1]
        problem = f"ended with {done.returncode}: {last}"
    raise SweepError(f"ncnn: pnnx must convert the network, but {problem}; use another backend or format")
