"""A network as latency backends take it: the module, or its ONNX file, made once for all its measurements."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ffnet_search.models.onnx import write_onnx


@dataclass(frozen=True)
class Model:
    """`build` makes the deployed network, `shape` is that of its inputs (B, C, H, W). `kept`: where its ONNX file is
    kept, without its suffix: tracing takes longer than measuring, and networks are measured more than once."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    kept: Path | None = None

    def onnx(self, opset: int) -> bytes:
        """The content of its ONNX file."""
        path = self.kept and self.kept.with_name(f"{self.kept.name}.{opset}.onnx")
        if path and path.exists():
            return path.read_bytes()
        buffer = io.BytesIO()
        write_onnx(self.build(), self.shape, buffer, opset=opset)
        if path:
            scratch = path.with_name(f"{path.name}.tmp")
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(buffer.getvalue())
            os.replace(scratch, path)
        return buffer.getvalue()
