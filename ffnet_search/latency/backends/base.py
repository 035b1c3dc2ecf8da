"""What a latency backend is, and the list of them. A new one is a file beside this, and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import Run
from ffnet_search.strict_yaml import parse


class Backend(Protocol):
    """A runtime on a device. Implementations are `errors.Section`s, whose fields are the keys of
    `latency.init_args`."""

    @property
    def in_process(self) -> bool:
        """Whether inference runs on CPU threads of this process, so that CPU time can tell its share of a busy core."""
        ...

    @property
    def device(self) -> str:
        """The model of the processor, e.g. `AMD EPYC 9554`."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that was asked of the runtime, for the record."""
        ...

    @property
    def own_clock(self) -> bool:
        """Whether its runs return their milliseconds, because only the runtime can tell them."""
        ...

    def load(self, model: Model, threads: int) -> Run:
        """`model` compiled; each call of the result is one inference that has finished. All that it holds is released
        with it."""
        ...


@dataclass(frozen=True)
class Registered:
    """Where a backend's class is, the packages it needs (recorded by version), and how to get them."""

    path: str
    packages: tuple[str, ...]
    install: str


BACKENDS: dict[str, Registered] = {
    "onnxruntime": Registered(
        "ffnet_search.latency.backends.onnxruntime:OnnxRuntime", ("onnxruntime",), "pip install onnxruntime"
    ),
    "torch": Registered("ffnet_search.latency.backends.pytorch:Torch", ("torch",), "pip install torch"),
    "openvino": Registered(
        "ffnet_search.latency.backends.openvino:OpenVino", ("openvino",), "pip install 'ffnet-search[openvino]'"
    ),
    "command": Registered("ffnet_search.latency.backends.command:Command", (), "nothing"),
}


def make_backend(section: LatencySection) -> Backend:
    """The backend that a sweep names, with its arguments. Raises SweepError where it is unknown, not installed, or
    cannot do what the arguments ask for."""
    name = section.backend
    if name not in BACKENDS:
        raise SweepError(f"latency.backend {name!r} is not a known backend{did_you_mean(name, BACKENDS)}")
    registered = BACKENDS[name]
    missing = [package for package in registered.packages if find_spec(package) is None]
    if missing:
        raise SweepError(
            f"latency.backend {name!r} needs {', '.join(missing)}, which is not installed; run: {registered.install}"
        )
    module, _, attribute = registered.path.partition(":")
    backend: Backend = parse(getattr(import_module(module), attribute), dict(section.init_args), "latency.init_args")
    return backend


def cpu_model() -> str:
    """The name of this machine's processor, as the system gives it."""
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
