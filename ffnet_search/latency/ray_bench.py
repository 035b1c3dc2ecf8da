"""A bench on another machine: an actor on the node of a Ray cluster that carries the device.

The node is started with a custom resource, `ray start --address=HEAD --resources='{"latency_device": 1}'`, and the
sweep says `latency: {resource: latency_device}`. Only architectures go there, and times come back as they are taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ffnet_search.cluster import session
from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import Identity, LocalBench, Timed
from ffnet_search.latency.measure import torch_aside
from ffnet_search.latency.plan import Job
from ffnet_search.space.architecture import Input


def make_bench(section: LatencySection, input: Input, kept: Path | None) -> LocalBench | RemoteBench:
    """Where `section` says: in this process, or on the node that carries its resource."""
    return LocalBench(section, input, kept) if section.resource is None else RemoteBench(section, input)


class _OnDevice:
    """What runs in the actor. A user's mistake comes back as a value: Ray would wrap it in its own error."""

    def __init__(self, section: LatencySection, input: Input) -> None:
        self._section, self._input, self._kept = section, input, tempfile.TemporaryDirectory(prefix="ffnet-")
        self._bench: LocalBench | None = None

    def identity(self) -> Identity | SweepError:
        try:
            self._bench = LocalBench(self._section, self._input, Path(self._kept.name))
            return self._bench.identity
        except SweepError as error:
            return error

    def contention(self) -> float:
        assert self._bench is not None
        return self._bench.contention()

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed | SweepError]:
        assert self._bench is not None
        try:
            with torch_aside():
                yield from self._bench.time(jobs, rounds, seed)
        except SweepError as error:
            yield error


class RemoteBench:
    """See the head of this file, and `profiling.bench.Bench`. Networks are timed with random weights."""

    def __init__(self, section: LatencySection, input: Input) -> None:
        self._stack = ExitStack()
        cluster = self._stack.enter_context(session.connected())
        import ray

        self._ray, name = ray, str(section.resource)
        if not any(node.get(name) for node in cluster.nodes()):
            self._stack.close()
            raise SweepError(
                f"latency.resource: a node of the cluster must carry {name!r}, but {cluster} have none; start the node "
                f"with the device by `ray start --address=HEAD --resources='{{\"{name}\": 1}}'`"
            )
        actor = ray.remote(num_cpus=0, resources={name: 1})(_OnDevice)
        self._actor: Any = actor.remote(section.model_copy(update={"resource": None}), input)

    def __del__(self) -> None:
        self._stack.close()  # the actor ends with its last handle

    @cached_property
    def identity(self) -> Identity:
        found: Identity = _checked(self._ray.get(self._actor.identity.remote()))
        return found

    def contention(self) -> float:
        return float(self._ray.get(self._actor.contention.remote()))

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        _ = self.identity  # makes the bench there, or says why not
        bare = [replace(job, net=None) for job in jobs]
        for reference in self._actor.time.options(num_returns="streaming").remote(bare, list(rounds), seed):
            yield _checked(self._ray.get(reference))


def _checked(found: Any) -> Any:
    if isinstance(found, SweepError):
        raise SweepError(f"{found} (on the node that carries the device)")
    return found
