"""Backend `openvino`: OpenVINO on CPU, in float32 unless asked otherwise (its own default of bfloat16 was slower on
networks of this size, and changes logits by 5e-3)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import openvino

from ffnet_search.latency.backends.base import cpu_model
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import Run
from ffnet_search.strict_yaml import Section


class OpenVino(Section):
    """`precision`: in which OpenVINO computes."""

    precision: Literal["f32", "bf16", "f16"] = "f32"
    opset: int = 17

    @property
    def in_process(self) -> bool:
        return True

    @property
    def own_clock(self) -> bool:
        return False

    @property
    def device(self) -> str:
        return cpu_model()

    def settings(self) -> dict[str, Any]:
        return {**self.model_dump(), "streams": 1}

    def load(self, model: Model, threads: int) -> Run:
        core = openvino.Core()
        config = {"INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        request = core.compile_model(core.read_model(model.onnx(self.opset)), "CPU", config).create_infer_request()
        images = np.random.default_rng(0).standard_normal(model.shape, dtype=np.float32)
        return lambda: request.infer([images], share_inputs=True)
