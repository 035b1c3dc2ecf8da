"""The backend `litert`: LiteRT (TensorFlow Lite) on CPU, by its XNNPACK delegate, in float32."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import Run
from ffnet_search.progress import hushed

if TYPE_CHECKING:
    from torch import nn

    from ffnet_search.latency.backends.model_file import Model

PACKAGES = ("litert_torch", "ai_edge_litert")


class LiteRt(Backend):
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    extra: ClassVar[str | None] = "litert"

    def settings(self) -> dict[str, Any]:
        return {"delegate": "XNNPACK"}

    def load(self, model: Model, threads: int) -> Run:
        interpreter = Interpreter(model.content("tflite", write_litert), threads)
        images_BCHW = model.random_images()
        return lambda: interpreter(images_BCHW)


class Interpreter:
    """A model of LiteRT for inputs of one shape: images (B, C, H, W) -> outputs (B, ...)."""

    def __init__(self, content: bytes, threads: int) -> None:
        from ai_edge_litert import interpreter

        with hushed():
            self._interpreter = interpreter.Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, images_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, images_BCHW)
        self._interpreter.invoke()
        output: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return output


def write_litert(net: nn.Module, shape: tuple[int, ...], target: BinaryIO) -> None:
    """Write a deployed network for inputs of one shape (B, C, H, W) as a flatbuffer of LiteRT."""
    import torch

    with hushed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litert_torch

        target.write(litert_torch.convert(net.eval(), (torch.zeros(shape),)).model_content())
