"""The backend `torch`: PyTorch itself, operator by operator or compiled, on CPU or CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator, model_validator

from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import WALL_CLOCK, Clock, Run

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ffnet_search.latency.backends.model_file import Model


class Torch(Backend):
    """`mode`: "compile" is `torch.compile`, which takes seconds to minutes per network; "cuda_graph" launches a whole
    network at once, which small networks on a GPU need."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    device_type: Literal["cpu", "cuda"] = "cpu"
    mode: Literal["eager", "compile", "cuda_graph"] = "eager"
    channels_last: bool = False

    @field_validator("device_type")
    @classmethod
    def _device_exists(cls, device_type: str) -> str:
        if device_type == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise ValueError("'cuda' needs a CUDA device that PyTorch can use, but none is available; use 'cpu'")
        return device_type

    @model_validator(mode="after")
    def _mode_fits_device(self) -> Torch:
        if self.mode == "cuda_graph" and self.device_type != "cuda":
            raise ValueError("mode 'cuda_graph' needs device_type 'cuda', but got 'cpu'; use mode 'eager' or 'compile'")
        return self

    def device_name(self) -> str:
        if self.device_type == "cpu":
            return super().device_name()
        import torch

        return torch.cuda.get_device_name()

    def clock(self, threads: int) -> Clock:
        return super().clock(threads) if self.device_type == "cpu" else WALL_CLOCK

    def load(self, model: Model, threads: int) -> Run:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        generator = torch.Generator().manual_seed(0)
        x_BCHW = torch.randn(model.shape, generator=generator).to(self.device_type, memory_format=layout)
        net = model.build().to(self.device_type, memory_format=layout)  # type: ignore[call-overload]
        forward = _compiled(net) if self.mode == "compile" else net

        def run() -> None:
            # The number of threads belongs to the process: it is set for the run and restored.
            before = torch.get_num_threads()
            if before != threads:
                torch.set_num_threads(threads)
            try:
                with torch.inference_mode():
                    forward(x_BCHW)
                    if self.device_type == "cuda":
                        torch.cuda.synchronize()
            finally:
                if before != threads:
                    torch.set_num_threads(before)

        return self._graphed(net, x_BCHW) if self.mode == "cuda_graph" else run

    @staticmethod
    def _graphed(net: nn.Module, x_BCHW: Tensor) -> Run:
        import torch

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):  # libraries initialise outside the capture
                net(x_BCHW)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            net(x_BCHW)

        def replay(held: tuple[nn.Module, Tensor] = (net, x_BCHW)) -> None:  # the graph reads their memory
            graph.replay()
            torch.cuda.synchronize()

        return replay


def _compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """`net`, compiled for static shapes.

    PyTorch keeps at most eight compiled variants of a code object, and runs the others eagerly, which only its log
    says. All networks share the code of their classes, so each is called by a function with a code object of its own.
    """
    import torch

    def forward(x_BCHW: Tensor) -> Tensor:
        y: Tensor = net(x_BCHW)
        return y

    forward.__code__ = forward.__code__.replace()  # a copy
    compiled: Callable[[Tensor], Tensor] = torch.compile(forward, dynamic=False)
    return compiled
