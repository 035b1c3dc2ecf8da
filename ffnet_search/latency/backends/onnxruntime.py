"""Backend `onnxruntime`: ONNX Runtime on CPU (or CUDA / TensorRT, where such a build is installed)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnxruntime
from pydantic import field_validator

from ffnet_search.latency.backends.base import cpu_model
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import Run
from ffnet_search.strict_yaml import Section

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxRuntime(Section):
    """`optimization`: lower levels than "all" run depthwise convolutions on a slow path (2 to 6 times slower)."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    optimization: Literal["all", "extended", "basic"] = "all"
    opset: int = 17

    @field_validator("provider")
    @classmethod
    def _provider_is_built_in(cls, provider: str) -> str:
        if PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ValueError(
                f"the installed ONNX Runtime must offer {PROVIDERS[provider]}, but it has "
                f"{', '.join(onnxruntime.get_available_providers())}; run: pip install onnxruntime-gpu"
            )
        return provider

    @property
    def in_process(self) -> bool:
        return self.provider == "cpu"

    @property
    def own_clock(self) -> bool:
        return False

    @property
    def device(self) -> str:
        if self.in_process:
            return cpu_model()
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else self.provider

    def settings(self) -> dict[str, Any]:
        return {**self.model_dump(), "execution": "sequential", "spinning": False}

    def load(self, model: Model, threads: int) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{self.optimization.upper()}"
        )
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors: warnings about constant folding are not the reader's business
        session = onnxruntime.InferenceSession(model.onnx(self.opset), options, providers=[PROVIDERS[self.provider]])
        images = np.random.default_rng(0).standard_normal(model.shape, dtype=np.float32)
        feed = {session.get_inputs()[0].name: images}
        return lambda: session.run(None, feed)
