"""The backend `openvino`: OpenVINO on CPU.

It computes in float32 by default. OpenVINO's own default of bfloat16 was slower on networks of this size, and changes
logits by 5e-3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ffnet_search.config.schema import Opset
from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import Run

if TYPE_CHECKING:
    from ffnet_search.latency.backends.model_file import Model


class OpenVino(Backend):
    """`precision`: the number format that OpenVINO computes in."""

    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str | None] = "openvino"
    precision: Literal["f32", "bf16", "f16"] = "f32"
    opset: Opset = 17

    def settings(self) -> dict[str, Any]:
        return {**self.model_dump(), "streams": 1}

    def load(self, model: Model, threads: int) -> Run:
        import openvino

        core = openvino.Core()
        config = {"INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        request = core.compile_model(core.read_model(model.onnx(self.opset)), "CPU", config).create_infer_request()
        images = model.random_images()
        return lambda: request.infer([images], share_inputs=True)
