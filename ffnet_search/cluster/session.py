"""Ray for the engines that use it: the cluster that is there, or this machine; what its nodes have; no noise.

A cluster is there where `RAY_ADDRESS` names one, where this runs on its head, or inside a job of it.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffnet_search
from ffnet_search.config.schema import Resources
from ffnet_search.errors import SweepError

GB = 1e9
QUIET = {  # what Ray reads when it is imported or starts; a person's own setting wins
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU share sees no GPU, and no warning about it
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_metrics_collection": "false",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output is silent when it is asked to be
    "GLOG_minloglevel": "3",
}
ANSWERS_WITHIN_S = 2.0
_INIT: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@dataclass(frozen=True)
class Cluster:
    """`fixed`: it is this machine alone, so no node will join, however long one waits."""

    fixed: bool

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has in all, in Ray's names: CPU, GPU, memory (bytes)."""
        return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]

    def living(self) -> set[str]:
        """Ids of the living nodes."""
        return {node["NodeID"] for node in import_ray().nodes() if node["Alive"]}

    def fits(self, wanted: Resources) -> int:
        """How many workers the nodes could hold, were nothing else on them."""
        needs = {name: need for name, need in as_ray(wanted).items() if need}
        return sum(int(min(node.get(name, 0.0) / need + 1e-9 for name, need in needs.items())) for node in self.nodes())

    def __str__(self) -> str:
        """For people: `2 nodes (8 CPU, 1 GPU, 32 GB; 4 CPU, 0 GPU, 16 GB)`."""
        each = [
            f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU, {node.get('memory', 0) / GB:.0f} GB"
            for node in self.nodes()
        ]
        return f"{len(each)} node{'s' * (len(each) != 1)} ({'; '.join(each)})"


@contextmanager
def connected() -> Iterator[Cluster]:
    """A cluster, or a Ray of our own. Raises SweepError where a cluster is named that does not answer, or has another
    Python or Ray."""
    with found() as cluster:
        if cluster is not None:
            yield cluster
            return
    ray = start_here()
    try:
        yield Cluster(fixed=True)
    finally:
        ray.shutdown()


@contextmanager
def found() -> Iterator[Cluster | None]:
    """The cluster that is there, or None. Raises SweepError as `connected` does."""
    ray = import_ray()
    if ray.is_initialized():
        yield Cluster(fixed=False)
        return
    try:
        yield Cluster(fixed=False) if _connect(ray) else None
    finally:
        ray.shutdown()


def check_cluster() -> None:
    """Raise SweepError where a cluster is named that does not answer, or has another Python or Ray."""
    with found():
        pass


def as_ray(wanted: Resources) -> dict[str, float]:
    """In Ray's names and units."""
    return {"CPU": wanted.cpu, "GPU": wanted.gpu, "memory": wanted.memory_gb * GB}


def options(wanted: Resources) -> dict[str, float]:
    """As Ray's actors take it."""
    memory = {"memory": wanted.memory_gb * GB} if wanted.memory_gb else {}
    return {"num_cpus": wanted.cpu, "num_gpus": wanted.gpu, **memory}


def utilisation(busy: int, workers: int, each: Resources) -> dict[str, str]:
    """Who is at work, for people."""
    gpus = {"GPUs busy": f"{busy * each.gpu:g} of {workers * each.gpu:g}"} if each.gpu else {}
    return {"workers busy": f"{busy} of {workers}", **gpus}


def granted(wanted: Resources, cluster: Cluster) -> Resources:
    """What to ask for. On this machine alone, a share of a GPU is asked for only where there is one: the sweep of a
    cluster runs on a laptop too. Raises SweepError where that is all there will be and it is too little."""
    if not cluster.fixed:
        return wanted
    if wanted.gpu and not any(node.get("GPU") for node in cluster.nodes()):
        wanted = Resources(cpu=max(wanted.cpu, 1.0), gpu=0.0, memory_gb=wanted.memory_gb)
    if not cluster.fits(wanted):
        raise too_small(wanted, cluster, "this machine")
    return wanted


def too_small(wanted: Resources, cluster: Cluster, what: str) -> SweepError:
    """The sentence for resources that are not there."""
    asked = ", ".join(f"{name} {value:g}" for name, value in wanted.model_dump().items() if value)
    return SweepError(
        f"search.resources: one worker asks for {asked}, but {what} has no node with that free: {cluster}; ask for "
        "less, or add such a node"
    )


def import_ray() -> Any:
    """Ray, imported with our settings: what it prints to standard output, and starts beside itself, is switched off."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Ray imports
        import ray
    # Whatever `log_to_driver` says, deaths of workers are printed to standard output, which is for results. The engines
    # say themselves what becomes of them.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return ray


def _connect(ray: Any) -> bool:
    """False where no cluster is there."""
    code = {"py_modules": [str(Path(ffnet_search.__file__).parent)], "excludes": ["__pycache__"]}
    named = os.environ.get("RAY_ADDRESS")
    if not named and _is_gone(ray._private.utils.read_ray_address()):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(address="auto", runtime_env=code, **_INIT)  # every node gets the code that runs here
            return True
        except ConnectionError as error:
            if named:
                raise SweepError(
                    f"RAY_ADDRESS is {named}, but no Ray cluster answers there ({_line(error)}); start it, or unset "
                    "RAY_ADDRESS to use this machine alone"
                ) from None
        except RuntimeError as error:  # another version of Python or Ray than the cluster's
            remedy = "; both must be the same here and on its nodes" if "Version mismatch" in str(error) else ""
            raise SweepError(f"the Ray cluster at {named or 'this machine'} refuses: {_line(error)}{remedy}") from None
    return False


def _is_gone(address: str | None) -> bool:
    """Whether the cluster that this machine was at last, of which Ray keeps a note, does not answer: Ray would wait for
    it for half a minute, in which nothing can stop it."""
    if not address:
        return False
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_S).close()
    except (OSError, ValueError):
        return True
    return False


def start_here(**resources: Any) -> Any:
    """A Ray on this machine alone, with what it has or, for tests, with `resources`."""
    ray = import_ray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(address="local", include_dashboard=False, **_INIT, **resources)
    return ray


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
