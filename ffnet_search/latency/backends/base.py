"""The interface and the registry of latency backends. A new backend is a file beside this one, and a row here.

Modules of backends import their runtime, and torch, in methods: `check` makes a sweep's backends."""

from __future__ import annotations

import platform
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ffnet_search.config.schema import LatencySection, Precision
from ffnet_search.errors import SweepError
from ffnet_search.latency.timing import CPU_CLOCK, WALL_CLOCK, Clock, Run
from ffnet_search.plugins import Registry, find_class, require_packages
from ffnet_search.strict_yaml import Section, parse

if TYPE_CHECKING:
    from ffnet_search.latency.backends.model_file import Model


class Backend(Section):
    """A runtime on a device. The fields of a subclass are the keys of `latency.init_args`."""

    packages: ClassVar[tuple[str, ...]] = ()  # that it needs; their versions are recorded with every measurement
    extra: ClassVar[str | None] = None  # of this program, that brings the packages

    precisions: ClassVar[tuple[Precision, ...]] = ("float32",)  # of the networks that it runs

    @abstractmethod
    def load(self, model: Model, threads: int) -> Run:
        """Compile `model` for a number of CPU threads.

        Each call of the result is one inference, finished when it returns. What it holds is released with it."""

    def device_name(self) -> str:
        """The model of the processor as the operating system reports it, such as `AMD EPYC 9554`."""
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as lines:
                names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        except OSError:
            names = []
        return names[0] if names else platform.processor() or platform.machine()

    def settings(self) -> dict[str, Any]:
        """The options that the runtime runs with, as JSON, for the record."""
        return self.model_dump(mode="json")

    def clock(self, threads: int) -> Clock:
        """The clock that inference is timed with, by default for CPU threads of this process.

        The CPU time of a single thread excludes other programs; threads that wait for each other need the wall clock. A
        device outside this process needs WALL_CLOCK, and runs that return their milliseconds need RUNTIME_CLOCK."""
        return CPU_CLOCK if threads == 1 else WALL_CLOCK


BACKENDS: Registry = {
    "onnxruntime": "ffnet_search.latency.backends.onnxruntime:OnnxRuntime",
    "torch": "ffnet_search.latency.backends.pytorch:Torch",
    "openvino": "ffnet_search.latency.backends.openvino:OpenVino",
    "litert": "ffnet_search.latency.backends.litert:LiteRt",
    "ncnn": "ffnet_search.latency.backends.ncnn:Ncnn",
    "command": "ffnet_search.latency.backends.command:Command",
}


def make_backend(section: LatencySection) -> Backend:
    """Make the backend that a sweep names, registered or by import path, with its arguments.

    Raises SweepError if it is unknown, its package is not installed, or its arguments are invalid here."""
    backend_class: type[Backend] = find_class(section.backend, "latency.backend", Backend, BACKENDS)
    require_packages(backend_class, "latency.backend", section.backend)
    if section.precision not in backend_class.precisions:
        raise SweepError(
            f"latency.precision must be {' or '.join(backend_class.precisions)} for the backend {section.backend}, but "
            f"is {section.precision}"
        )
    return parse(backend_class, dict(section.init_args), "latency.init_args")
