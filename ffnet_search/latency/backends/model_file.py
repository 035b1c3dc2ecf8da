"""A network as latency backends receive it: as a module, or in a file format that is written once."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ffnet_search.atomic_write import write_bytes
from ffnet_search.config.schema import Precision
from ffnet_search.models.deployed import write_onnx
from ffnet_search.models.int8 import write_int8_onnx


@dataclass(frozen=True)
class Model:
    """A deployed network and the shape (B, C, H, W) of its input. `build` gives a network that the backend may change:
    move to a device, convert to another precision.

    `cache` is the path, without suffix, where its files are kept: tracing takes longer than measuring, and networks are
    measured more than once. None keeps nothing. `precision`: of the numbers in its ONNX file."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    cache: Path | None = None
    precision: Precision = "float32"

    def content(self, suffix: str, write: Callable[[nn.Module, tuple[int, ...], BinaryIO], None]) -> bytes:
        """The network in a file format: what `write(network, shape, target)` writes, or the cached file."""
        path = self.cache and self.cache.with_name(f"{self.cache.name}.{suffix}")
        if path and path.exists():
            return path.read_bytes()
        buffer = io.BytesIO()
        write(self.build(), self.shape, buffer)
        if path:
            write_bytes(path, buffer.getvalue())
        return buffer.getvalue()

    def random_images(self) -> NDArray[np.float32]:
        """Images (B, C, H, W) of normal noise: latency does not depend on their content."""
        return np.random.default_rng(0).standard_normal(self.shape, dtype=np.float32)

    def onnx(self, opset: int) -> bytes:
        if self.precision == "int8":
            return self.content(f"int8.{opset}.onnx", partial(write_int8_onnx, opset=opset))
        return self.content(f"{opset}.onnx", partial(write_onnx, opset=opset))
