"""Supernet training on the GPUs of a Ray cluster, by Ray Train.

The run's folder stays on the head, and nodes need not share files: a `CheckpointStore` on the head passes the last
checkpoint to the ranks that start, takes new ones from the first rank, and receives the progress. Where ranks die, Ray
Train starts all of them again.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from ffnet_search.cluster import session
from ffnet_search.cluster.session import Cluster
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.progress import Bar, progress, say
from ffnet_search.training.checkpoint_store import CheckpointStore, TrainingStatus
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.ranks import SharedStep, train_on_ranks
from ffnet_search.training.trainer import TrainerPlacement

RESTARTS = 5  # of all ranks, after some died or lost each other
REPORT_EVERY_S = 1.0


def train_on_cluster(sweep: Sweep) -> Path:
    """`train_supernet` on `train.devices` GPUs of a cluster, if one is connected and this machine has too few.

    Else on this machine. Raises SweepError where the cluster has none free within `search.wait_minutes`."""
    each = {"CPU": 1.0, "GPU": 1.0} if sweep.search.resources.gpu else {"CPU": 1.0}
    devices = sweep.train.devices
    if ("GPU" in each or devices > 1) and torch.cuda.device_count() < devices:
        with session.existing_cluster(user_code(sweep.model_dump(mode="json"))) as cluster:
            if cluster is not None:
                _wait_for_resources(sweep, cluster, each)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of Ray Train's imports and settings
                    _train(sweep, each)
                return sweep.files.supernet
    return train_on_ranks(sweep)


def _train(sweep: Sweep, each: Mapping[str, float]) -> None:
    """Run Ray Train and show its progress. Raises the user error of a rank, or the error of Ray Train."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    files = sweep.files
    files.training.mkdir(parents=True, exist_ok=True)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    paths = [(files.training / LAST_CHECKPOINT).absolute(), files.supernet.absolute()]
    store = ray.remote(num_cpus=0, scheduling_strategy=here)(CheckpointStore).remote(paths)
    trainer = _torch_trainer(sweep, store, each)
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit, name="train", daemon=True)
    thread.start()
    try:
        _show_progress(thread, store)
        user_error = ray.get(store.status.remote()).user_error
    finally:
        ray.kill(store)
    if user_error:
        raise SweepError(user_error)
    if errors:
        raise errors[0]


def _torch_trainer(sweep: Sweep, store: Any, each: Mapping[str, float]) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    return TorchTrainer(
        _train_rank,
        train_loop_config={"sweep": sweep.with_absolute_paths(), "store": store},
        scaling_config=ScalingConfig(
            num_workers=sweep.train.devices, use_gpu="GPU" in each, resources_per_worker=dict(each)
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(sweep.files.training.absolute()),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )


def _wait_for_resources(sweep: Sweep, cluster: Cluster, each: Mapping[str, float]) -> None:
    """Wait until all ranks fit; an autoscaler starts nodes for that. Raises SweepError after `search.wait_minutes`."""
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([dict(each)] * sweep.train.devices)
    try:
        if not group.wait(60 * sweep.search.wait_minutes):
            raise SweepError(
                f"train.devices: {sweep.train.devices} ranks ask for {each.get('GPU', 0):g} GPU and {each['CPU']:g} "
                f"CPU each, but after {sweep.search.wait_minutes:g} minutes (search.wait_minutes) the cluster has not "
                f"that free: {cluster}; ask for fewer, or add nodes"
            )
    finally:
        remove_placement_group(group)


def _show_progress(thread: threading.Thread, store: Any) -> None:
    """Show the progress of the ranks until `thread` ends."""
    import ray

    while thread.is_alive() and not ray.get(store.status.remote()).total:
        thread.join(REPORT_EVERY_S)
    shown: TrainingStatus = ray.get(store.status.remote())
    if not shown.total:  # they ended before their first batch
        return
    with progress("train", shown.total, "batches", done=shown.done) as bar:
        while True:
            status: TrainingStatus = ray.get(store.status.remote())
            if status.starts > shown.starts:
                say("train: ranks died or lost each other; all start again from the last checkpoint")
            bar.advance(status.done - shown.done, status.note)
            shown = status
            if not thread.is_alive():
                return
            thread.join(REPORT_EVERY_S)


def _train_rank(config: dict[str, Any]) -> None:
    """Train in a worker of Ray Train, with the run in a temporary folder."""
    import ray
    from ray.train.collective import broadcast_from_rank_zero
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    class SharedRayStep(SharedStep, RayDDPStrategy):
        """Ray's strategy, with one reduction a step."""

    store, is_first = config["store"], ray.train.get_context().get_world_rank() == 0
    with scratch_folder() as folder:
        sweep: Sweep = config["sweep"].model_copy(update={"runs": folder})
        last = sweep.files.training / LAST_CHECKPOINT
        # One answer for all ranks, which must resume from the same step.
        (reference,) = broadcast_from_rank_zero([store.last_checkpoint.remote()] if is_first else None)
        content = ray.get(reference)
        if content is not None:
            last.parent.mkdir(parents=True)
            last.write_bytes(content)
        arguments = {"devices": "auto", "strategy": SharedRayStep(), "plugins": [RayLightningEnvironment()]}

        def send(checkpoint: Path) -> None:
            store.write.remote(checkpoint.name, checkpoint.read_bytes())

        def bar(label: str, total: int, unit: str, done: int) -> nullcontext[Bar]:
            return nullcontext(RemoteBar(store, label, total, unit, done))

        try:
            train_supernet(sweep, TrainerPlacement(arguments, bar, send))
        except SweepError as error:
            ray.get(store.update.remote(user_error=str(error)))
            return
        if is_first:
            ray.get(store.write.remote(sweep.files.supernet.name, sweep.files.supernet.read_bytes()))


class RemoteBar(Bar):
    """A bar that is shown by another process: it sends its progress to the store."""

    def __init__(self, store: Any, label: str, total: int, unit: str, done: int) -> None:
        super().__init__(label, total, unit)
        self.store, self.done, self.sent_at = store, done, 0.0

    def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.sent_at >= REPORT_EVERY_S or self.done == self.total:
            self.sent_at = now
            self.store.update.remote(done=self.done, total=self.total, note=note)
