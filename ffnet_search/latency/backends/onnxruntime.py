"""The backend `onnxruntime`: ONNX Runtime on CPU, or on CUDA or TensorRT if such a build is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from ffnet_search.config.schema import Opset, Precision
from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import WALL_CLOCK, Clock, Run

if TYPE_CHECKING:
    from ffnet_search.latency.backends.model_file import Model

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxRuntime(Backend):
    """`optimization`: levels below "all" run depthwise convolutions on a slow path (2 to 6 times slower)."""

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    precisions: ClassVar[tuple[Precision, ...]] = ("float32", "int8")
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    optimization: Literal["all", "extended", "basic"] = "all"
    opset: Opset = 17

    @field_validator("provider")
    @classmethod
    def _provider_is_built_in(cls, provider: str) -> str:
        import onnxruntime

        if PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ValueError(
                f"the installed ONNX Runtime must offer {PROVIDERS[provider]}, but it has "
                f"{', '.join(onnxruntime.get_available_providers())}; run: pip install onnxruntime-gpu"
            )
        return provider

    def device_name(self) -> str:
        if self.provider == "cpu":
            return super().device_name()
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else self.provider

    def clock(self, threads: int) -> Clock:
        return super().clock(threads) if self.provider == "cpu" else WALL_CLOCK

    def settings(self) -> dict[str, Any]:
        return {**self.model_dump(), "execution": "sequential", "spinning": False}

    def load(self, model: Model, threads: int) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        level = f"ORT_ENABLE_{self.optimization.upper()}"
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only: warnings about constant folding do not concern the user
        session = onnxruntime.InferenceSession(model.onnx(self.opset), options, providers=[PROVIDERS[self.provider]])
        images = model.random_images()
        feed = {session.get_inputs()[0].name: images}
        return lambda: session.run(None, feed)
