"""What a draft would cost here, measured in seconds: a few training steps, evaluations and latencies on real pictures.

Nothing is looked up by the machine's name: each figure is what a piece of the real stage took.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer, seed_everything

from ffnet_search.autoconfig.draft import Draft
from ffnet_search.config.schema import DataSection, LatencySection, TrainSection
from ffnet_search.data.datamodule import ImageData
from ffnet_search.data.dataset import InMemory, Source, stratified_order
from ffnet_search.data.image_folder import Decoder, Unreadable
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.latency.bench import LocalBench
from ffnet_search.latency.jobs import network_job
from ffnet_search.latency.measure import time_jobs
from ffnet_search.latency.plan import Plan
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.training.modules import Supernet
from ffnet_search.training.trainer import quiet_lightning

STEP_S = 1.0  # for a step to be measured with
LEAST_BATCH = 8
STEPS = 3  # of training; the first is not analytic_metrics
JOBS = 6  # of a latency table, among them the smallest and the largest network
ARCHITECTURES = 3  # evaluated; the first is not analytic_metrics


@dataclass(frozen=True)
class Throughput:
    """What one draft takes on this machine, in seconds unless told."""

    draft: Draft
    picture: float  # decoding a file
    step: float  # a training step, for one image
    ready: float  # making one architecture ready for evaluation
    image: float  # evaluating it, for one image
    job: float  # one measurement of a latency table
    jobs: int  # so many there are
    smallest_ms: float
    largest_ms: float


def measure_pace(draft: Draft, batch_size: int, step: float | None = None) -> Throughput:
    """Takes seconds: where a `step` for one image takes long (as others tell), fewer images are used. The networks are
    untrained, which is the same to a clock."""
    if step is not None:
        batch_size = max(LEAST_BATCH, min(batch_size, int(STEP_S / step)))
    data, picture = _sample(draft, batch_size)
    seed_everything(0, verbose=False)
    supernet = Supernet(draft.space, TrainSection(epochs=STEPS))
    step = _time_steps(supernet, data)
    ready, image = _time_evaluation(supernet.net, draft.space, data)
    return Throughput(draft, picture, step, ready, image, *_time_latency(draft.space))


def _sample(draft: Draft, batch_size: int) -> tuple[ImageData, float]:
    """Some of the real pictures as a run would have them, and the seconds of decoding one."""
    section = DataSection(batch_size=batch_size, validation=0.2)
    found = draft.found
    mode = "L" if found.channels == 1 else "RGB"
    decoder = Decoder(found.files, draft.resolution, mode, section.workers, 0.0)
    order = stratified_order(found.labels_N, np.random.default_rng(0))[: 2 * batch_size]
    start = time.perf_counter()
    with ThreadPoolExecutor(max(1, section.workers)) as pool:
        decoded = list(zip(order.tolist(), pool.map(decoder.decode, order.tolist()), strict=True))
    seconds = (time.perf_counter() - start) / len(order)
    good = [(index, pixels) for index, pixels in decoded if not isinstance(pixels, Unreadable)]
    labels_N = found.labels_N[[index for index, _ in good]]
    images = InMemory(np.stack([pixels for _, pixels in good]), labels_N)
    return ImageData(Source(images, images, found.classes, "sample"), section, 0, task_of(draft.space.images)), seconds


class _Watch(Callback):
    """When each step ended; loading and augmentation of the next batch are then between them."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.ends.append(time.perf_counter())
        trainer.should_stop = len(self.ends) >= STEPS


def _time_steps(supernet: Supernet, data: ImageData) -> float:
    """Seconds of one image in a step: of the fastest, since what others do on the machine is no part of it."""
    watch = _Watch()
    with quiet_lightning():
        trainer = Trainer(
            max_epochs=STEPS,
            accelerator="auto",
            devices=1,
            callbacks=[watch],
            logger=False,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(supernet, datamodule=data)
    images = len(next(iter(data.train_dataloader()))[0])
    return min(b - a for a, b in zip(watch.ends, watch.ends[1:], strict=False)) / images


def _time_evaluation(net: MetaMixer, space: SearchSpace, data: ImageData) -> tuple[float, float]:
    evaluate, rng = Evaluator(net, data), random.Random(0)
    images = len(evaluate.calibration_NCHW) + sum(len(label_B) for _, label_B in evaluate.batches)
    ready, whole = [], []
    for arch in [space.smallest, *(space.sample(rng) for _ in range(ARCHITECTURES - 1))]:
        start = time.perf_counter()
        fuse(net.slice_to(arch).eval())
        between = time.perf_counter()
        evaluate(Configuration(arch))
        ready.append(between - start)
        whole.append(time.perf_counter() - between)
    of_ready = sum(ready[1:]) / len(ready[1:])
    return of_ready, max(0.0, sum(whole[1:]) / len(whole[1:]) - of_ready) / images


def _time_latency(space: SearchSpace) -> tuple[float, int, float, float]:
    """Seconds of one measurement, how many there are, and milliseconds of the smallest and the largest network."""
    section = LatencySection(noisy=True)
    plan = Plan(space, section, seed=0)
    networks = [network_job(arch, 0) for arch in (space.smallest, space.largest)]
    parts = random.Random(0).sample(plan.part_jobs, JOBS - len(networks))
    start = time.perf_counter()
    rounds, anchors_ms = time_jobs(LocalBench(section, space.largest.input), [*networks, *parts], section.rounds)
    seconds = (time.perf_counter() - start) / JOBS
    smallest_ms, largest_ms = (
        taken.median * job.unit_ms(space.largest.input, anchors_ms)
        for taken, job in zip(rounds, networks, strict=False)
    )
    return seconds, len(plan.jobs), smallest_ms, largest_ms
