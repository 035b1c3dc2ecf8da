"""Supernet training on the GPUs of a Ray cluster, by Ray Train.

The run's folder stays on the head, and nodes need not share files: a keeper on the head hands the last checkpoint to
the ranks that start, takes new ones from the first of them, and hears how far they are. Where ranks die, Ray Train
starts all of them again.
"""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.cluster import session
from ffnet_search.cluster.session import Cluster
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.schema import Resources
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.progress import Bar, progress, say
from ffnet_search.training.checkpoint_store import CheckpointStore, TrainingStatus
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.ranks import SharedStep, train_on_ranks
from ffnet_search.training.trainer import LAST, TrainerPlacement

RESTARTS = 5  # of all ranks, after some died or lost each other
TELL_EVERY_S = 1.0


def train_on_cluster(sweep: Sweep) -> Path:
    """`train_supernet` on `train.devices` nodes' GPUs, where a cluster is there and this machine has too few of them;
    else on this machine. Raises SweepError where the cluster has not got them within `search.wait_minutes`."""
    import torch

    wanted = Resources(cpu=1.0, gpu=1.0 if sweep.search.resources.gpu else 0.0)
    devices = sweep.train.devices
    if (wanted.gpu or devices > 1) and torch.cuda.device_count() < devices:
        with session.existing_cluster(user_code(sweep.model_dump(mode="json"))) as cluster:
            if cluster is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what Ray Train imports and sets
                    _fit(sweep, cluster, wanted)
                return sweep.files.supernet
    return train_on_ranks(sweep)


def _fit(sweep: Sweep, cluster: Cluster, wanted: Resources) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    _wait_for_room(sweep, cluster, wanted)
    files = sweep.files
    files.training.mkdir(parents=True, exist_ok=True)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = ray.remote(num_cpus=0, scheduling_strategy=here)(CheckpointStore).remote(
        [(files.training / LAST).absolute(), files.supernet.absolute()]
    )
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"sweep": sweep.with_absolute_paths(), "keeper": keeper},
        scaling_config=ScalingConfig(
            num_workers=sweep.train.devices,
            use_gpu=bool(wanted.gpu),
            resources_per_worker={name: need for name, need in session.as_ray(wanted).items() if need},
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(files.training.absolute()),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    errors: list[BaseException] = []
    thread = threading.Thread(target=_catch, args=(trainer.fit, errors), name="train", daemon=True)
    thread.start()
    try:
        _follow(thread, keeper)
        mistake = ray.get(keeper.news.remote()).mistake
    finally:
        ray.kill(keeper)
    if mistake:
        raise SweepError(mistake)
    if errors:
        raise errors[0]


def _wait_for_room(sweep: Sweep, cluster: Cluster, wanted: Resources) -> None:
    """What is waited for is what an autoscaler starts nodes for."""
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = {name: need for name, need in session.as_ray(wanted).items() if need}
    group = placement_group([bundle] * sweep.train.devices)
    try:
        if not group.wait(60 * sweep.search.wait_minutes):
            raise SweepError(
                f"train.devices: {sweep.train.devices} ranks ask for {wanted.gpu:g} GPU and {wanted.cpu:g} CPU each, "
                f"but after {sweep.search.wait_minutes:g} minutes (search.wait_minutes) the cluster has not that free: "
                f"{cluster}; ask for fewer, or add nodes"
            )
    finally:
        remove_placement_group(group)


def _follow(thread: threading.Thread, keeper: Any) -> None:
    """Shows how far the ranks are until they end."""
    import ray

    while thread.is_alive() and not ray.get(keeper.news.remote()).total:
        thread.join(TELL_EVERY_S)
    first: TrainingStatus = ray.get(keeper.news.remote())
    if not first.total:  # they ended before they began
        return
    with progress("train", first.total, "batches", done=first.done) as bar:
        done, starts = first.done, first.starts
        while True:
            news: TrainingStatus = ray.get(keeper.news.remote())
            if news.starts > starts:
                say("train: ranks died or lost each other; all start again from the last checkpoint")
                starts = news.starts
            bar.advance(news.done - done, news.note)
            done = news.done
            if not thread.is_alive():
                return
            thread.join(TELL_EVERY_S)


def _catch(work: Any, errors: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:
        errors.append(error)


def _rank(config: dict[str, Any]) -> None:
    """What each of Ray Train's workers does, in a folder of its own."""
    import ray
    from ray.train.collective import broadcast_from_rank_zero
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    class Shared(SharedStep, RayDDPStrategy):
        """Ray's strategy, with one reduction a step."""

    keeper, first = config["keeper"], ray.train.get_context().get_world_rank() == 0
    with tempfile.TemporaryDirectory(prefix="ffnet-") as folder:
        sweep: Sweep = config["sweep"].with_runs_in(Path(folder))
        last = sweep.files.training / LAST
        (reference,) = broadcast_from_rank_zero([keeper.last.remote()] if first else None)  # the same one for all
        content = ray.get(reference)
        if content is not None:
            last.parent.mkdir(parents=True)
            last.write_bytes(content)
        arguments = {"devices": "auto", "strategy": Shared(), "plugins": [RayLightningEnvironment()]}
        try:
            train_supernet(sweep, TrainerPlacement(arguments, [_Sender(keeper, last)], _told_to(keeper)))
        except SweepError as error:
            ray.get(keeper.tell.remote(mistake=str(error)))
            return
        if first:
            ray.get(keeper.keep.remote(sweep.files.supernet.name, sweep.files.supernet.read_bytes()))


class _Sender(Callback):
    """Hands each checkpoint of the first rank to the keeper. Comes after who writes them."""

    def __init__(self, keeper: Any, last: Path) -> None:
        self.keeper, self.last = keeper, last
        self.sent = self._written()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and self._written() != self.sent:
            self.sent = self._written()
            self.keeper.keep.remote(self.last.name, self.last.read_bytes())

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.on_train_batch_end(trainer, module)

    def _written(self) -> int:
        return self.last.stat().st_mtime_ns if self.last.exists() else 0


def _told_to(keeper: Any) -> Any:
    """Like `progress`, where the bar is shown on the head."""

    class Remote(Bar):
        told = 0.0

        def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
            self.done, now = self.done + steps, time.monotonic()
            if now - self.told >= TELL_EVERY_S or self.done == self.total:
                self.told = now
                keeper.tell.remote(done=self.done, total=self.total, note=note)

    @contextmanager
    def make(label: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
        bar = Remote(label, total, unit)
        bar.done = done
        yield bar

    return make
