"""A bench on another machine: an actor on the node of a Ray cluster that carries the device.

The node is started with a custom resource, `ray start --address=HEAD --resources='{"latency_device": 1}'`, and the
sweep says `latency: {resource: latency_device}`. Only architectures are sent; times come back as they are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ffnet_search.cluster import session
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.latency.bench import Bench, Identity, LocalBench
from ffnet_search.latency.jobs import Job
from ffnet_search.latency.measure import torch_aside
from ffnet_search.latency.timing import Timed
from ffnet_search.models.deployed import deployed
from ffnet_search.space.input import Input


def make_bench(section: LatencySection, input: Input, folder: Path | None) -> Bench:
    """Make a bench in this process, or on the node that carries `section.resource`."""
    return LocalBench(section, input, folder) if section.resource is None else RemoteBench(section, input)


class _DeviceActor:
    """The actor: a `LocalBench`, made on the first call, whose errors reach the caller."""

    def __init__(self, section: LatencySection, input: Input) -> None:
        self._section, self._input = section, input
        self._folder = scratch_folder()

    @cached_property
    def _bench(self) -> LocalBench:
        return LocalBench(self._section, self._input, Path(self._folder.name))

    def identity(self) -> Identity:
        return self._bench.identity

    def contention(self) -> float:
        return self._bench.contention()

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        with torch_aside():
            yield from self._bench.time(jobs, rounds, seed)


class RemoteBench:
    """A `Bench` on the node that carries `section.resource`. Networks are timed with random weights."""

    def __init__(self, section: LatencySection, input: Input) -> None:
        self._stack = ExitStack()
        cluster = self._stack.enter_context(session.connected(user_code(section.model_dump(mode="json"))))
        import ray

        self._ray, name = ray, str(section.resource)
        if not any(node.get(name) for node in cluster.nodes()):
            self._stack.close()
            raise SweepError(
                f"latency.resource: a node of the cluster must carry {name!r}, but {cluster} have none; start the node "
                f"with the device by `ray start --address=HEAD --resources='{{\"{name}\": 1}}'`"
            )
        actor_class = ray.remote(num_cpus=0, resources={name: 1})(_DeviceActor)
        self._actor = actor_class.remote(section.model_copy(update={"resource": None}), input)
        self.identity: Identity = self._get(self._actor.identity.remote())

    def __del__(self) -> None:
        self._stack.close()  # the actor ends with its last handle

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SweepError):
                raise SweepError(f"{error.cause} (on the node that carries the device)") from None
            raise

    def contention(self) -> float:
        return float(self._get(self._actor.contention.remote()))

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        bare = [replace(job, build=partial(deployed, job.network)) if job.network else job for job in jobs]
        for reference in self._actor.time.options(num_returns="streaming").remote(bare, list(rounds), seed):
            yield self._get(reference)
