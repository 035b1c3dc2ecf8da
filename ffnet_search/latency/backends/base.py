"""The latency backends: their interface and their registry. A new backend is a file beside this one, and a row here."""

from __future__ import annotations

import platform
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.timing import CPU_CLOCK, WALL_CLOCK, Clock, Run
from ffnet_search.plugins import Registry, find_class
from ffnet_search.strict_yaml import Section, parse

if TYPE_CHECKING:
    from ffnet_search.latency.backends.model_file import Model


class Backend(Section):
    """A runtime on a device. The fields of a subclass are the keys of `latency.init_args`.

    `packages`: the distributions whose versions are recorded with every measurement.
    """

    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def load(self, model: Model, threads: int) -> Run:
        """Compile `model` for a number of CPU threads.

        Each call of the result is one inference, and returns when it has finished. Whatever the result holds is
        released with it.
        """

    def device_name(self) -> str:
        """The model of the processor, such as `AMD EPYC 9554`."""
        return cpu_model()

    def settings(self) -> dict[str, Any]:
        """The options that the runtime runs with, as JSON, for the record."""
        return self.model_dump(mode="json")

    def clock(self, threads: int) -> Clock:
        """The clock that inference is timed with.

        By default inference runs on CPU threads of this process. The CPU time of a single thread excludes other
        programs on its core; threads that wait for each other need the wall clock. A backend returns WALL_CLOCK if the
        device works outside this process, and RUNTIME_CLOCK if its runs return their milliseconds themselves.
        """
        return CPU_CLOCK if threads == 1 else WALL_CLOCK


BACKENDS: Registry = {
    "onnxruntime": "ffnet_search.latency.backends.onnxruntime:OnnxRuntime",
    "torch": "ffnet_search.latency.backends.pytorch:Torch",
    "openvino": "ffnet_search.latency.backends.openvino:OpenVino",
    "command": "ffnet_search.latency.backends.command:Command",
}


def make_backend(section: LatencySection) -> Backend:
    """Make the backend that a sweep names, registered or by import path, with its arguments.

    Raises SweepError if it is unknown, its package is not installed, or its arguments are invalid here.
    """
    backend_class = find_class(section.backend, "latency.backend", Backend, BACKENDS)
    backend: Backend = parse(backend_class, dict(section.init_args), "latency.init_args")
    return backend


def cpu_model() -> str:
    """The name of this machine's processor, as the operating system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
