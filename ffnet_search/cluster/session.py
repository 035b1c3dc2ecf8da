"""A quiet Ray session for the engines that use it: a cluster or this machine alone, and the resources of its nodes.

A cluster is used only where `RAY_ADDRESS` names it, as in a job of Ray or a submitted run. Any other Ray of this
machine is another person's or another sweep's, and ends with it.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ffnet_search
from ffnet_search.cluster.signals import own_handler
from ffnet_search.cluster.watch import Watch, start_or_refuse, watched
from ffnet_search.config.search_schema import Resources, SearchSection
from ffnet_search.errors import SweepError, one_line

GB = 1e9
QUIET = {  # what Ray reads when it is imported or starts; the user's own setting wins
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU share sees no GPU, and no warning about it
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_metrics_collection": "false",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output can be switched off
    "GLOG_minloglevel": "3",
}
INIT: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@dataclass(frozen=True)
class Cluster:
    """A cluster to which this process is connected. `fixed`: it is this machine alone, so no node will ever join.

    `watch`: over its head and the node of this process, where they end with nobody else."""

    fixed: bool
    watch: Watch | None = None

    def check(self) -> None:
        """Raise SweepError if the head or the node of this process has ended."""
        if self.watch is not None:
            self.watch.check()

    def nodes(self) -> list[dict[str, float]]:
        """The total resources of each living node, in Ray's names: CPU, GPU, memory (bytes)."""
        return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]

    def living(self) -> set[str]:
        """Ids of the living nodes."""
        return {node["NodeID"] for node in import_ray().nodes() if node["Alive"]}

    def fits(self, wanted: Resources) -> int:
        """The number of workers that the nodes could hold, were nothing else on them."""
        needs = as_ray(wanted)
        total = 0
        for node in self.nodes():
            total += int(min(node.get(name, 0.0) / need + 1e-9 for name, need in needs.items()))
        return total

    def __str__(self) -> str:
        """The nodes in words: `2 nodes (8 CPU, 1 GPU, 32 GB; 4 CPU, 0 GPU, 16 GB)`."""
        each = [
            f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU, {node.get('memory', 0) / GB:.0f} GB"
            for node in self.nodes()
        ]
        return f"{len(each)} {'node' if len(each) == 1 else 'nodes'} ({'; '.join(each)})"


@contextmanager
def connected(user_code: Sequence[Path] = ()) -> Iterator[Cluster]:
    """Connect to the cluster that is named, or start a Ray of its own on this machine until the end of the block.

    `user_code` are modules and packages that workers need beside this package. Raises SweepError if a cluster is
    named that does not answer, or has another Python or Ray."""
    with existing_cluster(user_code) as cluster:
        if cluster is not None:
            yield cluster
            return
    code = {"runtime_env": _shipped(user_code)} if user_code else {}
    with watched(fixed=True, start=partial(start_here, **code)) as watch:
        yield Cluster(fixed=True, watch=watch)


@contextmanager
def existing_cluster(user_code: Sequence[Path] = ()) -> Iterator[Cluster | None]:
    """Connect to the cluster that is named; yields None if none is. Raises SweepError as `connected` does."""
    ray = import_ray()
    if ray.is_initialized():
        yield Cluster(fixed=False)
        return
    if not os.environ.get("RAY_ADDRESS"):
        yield None
        return
    with watched(fixed=False, start=partial(_connect, ray, user_code)) as watch:
        yield Cluster(fixed=False, watch=watch)


def check_cluster() -> None:
    """Raise SweepError if a cluster is named that does not answer, or has another Python or Ray."""
    with existing_cluster():
        pass


def as_ray(wanted: Resources) -> dict[str, float]:
    """Resources in Ray's names and units; those that are zero are left out."""
    needs = {"CPU": wanted.cpu, "GPU": wanted.gpu, "memory": wanted.memory_gb * GB}
    return {name: need for name, need in needs.items() if need}


def options(wanted: Resources) -> dict[str, float]:
    """Resources as arguments of Ray's actors."""
    memory = {"memory": wanted.memory_gb * GB} if wanted.memory_gb else {}
    return {"num_cpus": wanted.cpu, "num_gpus": wanted.gpu, **memory}


def utilisation(busy: int, workers: int, each: Resources) -> dict[str, str]:
    """Worker and GPU utilisation for the progress display."""
    gpus = {"GPUs busy": f"{busy * each.gpu:g} of {workers * each.gpu:g}"} if each.gpu else {}
    return {"workers busy": f"{busy} of {workers}", **gpus}


def granted(wanted: Resources, cluster: Cluster) -> Resources:
    """The resources to ask for.

    On this machine alone, a share of a GPU is asked for only where it has one: the sweep of a cluster runs on a laptop
    too. Raises SweepError if this machine is all there will be, and is too small."""
    if not cluster.fixed:
        return wanted
    if wanted.gpu and not any(node.get("GPU") for node in cluster.nodes()):
        wanted = Resources(cpu=max(wanted.cpu, 1.0), gpu=0.0, memory_gb=wanted.memory_gb)
    if not cluster.fits(wanted):
        raise too_small(wanted, cluster, "this machine")
    return wanted


def too_small(wanted: Resources, cluster: Cluster, what: str) -> SweepError:
    """The error for resources that `what` does not have."""
    asked = ", ".join(f"{name} {value:g}" for name, value in wanted.model_dump().items() if value)
    return SweepError(
        f"search.resources: one worker asks for {asked}, but {what} has no node with that free: {cluster}; ask for "
        "less, or add such a node"
    )


def limit_the_wait(since: float, section: SearchSection, wanted: Resources, cluster: Cluster) -> None:
    """Raise SweepError where no worker has started for `search.wait_minutes`; `since` is of `time.monotonic`."""
    if time.monotonic() - since > 60 * section.wait_minutes:
        what = f"after {section.wait_minutes:g} minutes (search.wait_minutes) the cluster"
        raise too_small(wanted, cluster, what)


def import_ray() -> Any:
    """Return Ray, imported with our settings: no statistics, no further processes, nothing on standard output."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Ray imports
        import ray
        from ray._private import worker
    # Whatever `log_to_driver` says, Ray prints deaths of workers to standard output, which is for results; no public
    # setting switches that off. The engines report a death themselves.
    worker.print_to_stdstream = lambda *args, **kwargs: None
    return ray


def _shipped(user_code: Sequence[Path]) -> dict[str, Any]:
    """The environment of workers to which code of this machine is sent."""
    return {"py_modules": [str(path) for path in user_code], "excludes": ["__pycache__"]}


def _connect(ray: Any, user_code: Sequence[Path]) -> Any:
    """Connect to the cluster that is named, and give its nodes the code that runs here. Returns Ray."""
    named = os.environ["RAY_ADDRESS"]
    code = _shipped([Path(ffnet_search.__file__).parent, *user_code])
    with warnings.catch_warnings(), own_handler():
        warnings.simplefilter("ignore")
        try:
            ray.init(address="auto", runtime_env=code, **INIT)
        except ConnectionError as error:
            raise SweepError(
                f"RAY_ADDRESS is {named}, but no Ray cluster answers there ({one_line(error)}); start it, or unset "
                "RAY_ADDRESS to use this machine alone"
            ) from None
        except RuntimeError as error:  # another version of Python or Ray than the cluster's
            remedy = "; both must be the same here and on its nodes" if "Version mismatch" in str(error) else ""
            raise SweepError(f"the Ray cluster at {named} refuses: {one_line(error)}{remedy}") from None
    return ray


def start_here(**arguments: Any) -> Any:
    """Start Ray on this machine alone, with all it has or, for tests, what the arguments of `ray.init` say. Raises
    SweepError if it does not start."""
    ray = import_ray()
    with warnings.catch_warnings(), own_handler():
        warnings.simplefilter("ignore")
        start_or_refuse(partial(ray.init, address="local", include_dashboard=False, **INIT, **arguments))
    return ray
