"""The cost of a draft on this machine: a few training steps, evaluations and latencies on real images, timed.

Nothing is looked up by the machine's name: each figure is the measured time of a part of the real stage.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback

from ffnet_search.autoconfig.budget import Throughput
from ffnet_search.autoconfig.draft import Draft
from ffnet_search.autoconfig.inspect_photos import PhotoSet
from ffnet_search.config.schema import DataSection, LatencySection, TrainSection
from ffnet_search.data.dataset import InMemory, Source, stratified_order
from ffnet_search.data.modules.base import Data
from ffnet_search.data.modules.image_data import ImageData
from ffnet_search.data.photo_set.photo_data import PhotoData
from ffnet_search.data.photo_set.photo_folder import PhotoReader, Photos
from ffnet_search.data.unreadable import Unreadable, refuse_unreadable
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.latency.bench import Bench, LocalBench
from ffnet_search.latency.jobs import GROUP, Job, network_job
from ffnet_search.latency.measure import PASSES, time_jobs
from ffnet_search.latency.plan import Plan
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.training.modules import FFNetModule, Standalone, Supernet
from ffnet_search.training.trainer import quiet_lightning

STEP_S = 1.0  # of a step, at most: fewer images are used where it would take longer
MIN_BATCH = 8
STEPS = 3  # of training, an epoch each; the first is not counted
PHOTOS, HELD_OUT = 6, 2  # decoded, of a set of photos, and evaluated
ARCHITECTURES = 3  # evaluated; the first is not counted


def measure_throughput(draft: Draft, batch_size: int, expected_s: float | None = None) -> Throughput:
    """Measure a draft, which takes seconds. `expected_s`: of a step for one image; reduces the batch, so that a step
    stays within `STEP_S`.

    The networks are untrained, which takes the same time."""
    if expected_s is not None:
        batch_size = max(MIN_BATCH, min(batch_size, int(STEP_S / expected_s)))
    data, decode_s = _sample(draft, batch_size)
    seed_everything(0, verbose=False)
    supernet = Supernet(draft.space, _recipe(draft.space))
    step_s = _time_steps(supernet, data)
    alone = Standalone(supernet.net.slice_to(draft.median), _recipe(draft.space))
    alone_s = _time_steps(alone, data)
    deploy_s, image_s = _time_evaluation(supernet.net, draft.space, data)
    return Throughput(draft, decode_s, step_s, alone_s, deploy_s, image_s, *time_latency(draft.space))


def _sample(draft: Draft, batch_size: int) -> tuple[Data, float]:
    """Some of the real images as a run would have them, and the seconds of decoding one."""
    if isinstance(draft.images, PhotoSet):
        return _sample_photos(draft.images, draft.space.images, batch_size)
    section, images = DataSection(batch_size=batch_size, validation=0.2), draft.images
    input = draft.space.images
    decoder = images.decoder(input, section.workers)
    order = stratified_order(images.strata_N, np.random.default_rng(0))[: 2 * batch_size].tolist()
    start = time.perf_counter()
    with ThreadPoolExecutor(max(1, section.workers)) as pool:
        decoded = list(pool.map(decoder.decode, order))
    seconds = (time.perf_counter() - start) / len(order)
    good = [(index, pixels) for index, pixels in zip(order, decoded, strict=True) if not isinstance(pixels, Unreadable)]
    memory = InMemory(np.stack([pixels for _, pixels in good]), images.targets([index for index, _ in good], input))
    return ImageData(Source(memory, memory, images.classes, "sample"), section, 0, task_of(input)), seconds


def _sample_photos(images: PhotoSet, input: Input, batch_size: int) -> tuple[Data, float]:
    section = DataSection(name=images.dataset, batch_size=batch_size, calibration=2, patch=images.patch)
    mode = "L" if input.channels == 1 else "RGB"
    chosen = random.Random(0).sample(images.photos, min(PHOTOS, len(images.photos)))
    reader = PhotoReader(tuple(chosen), input.outputs, mode, section.workers)
    start = time.perf_counter()
    decoded = list(map(reader.pair, range(len(chosen))))
    seconds = (time.perf_counter() - start) / len(chosen)
    reader.kept.update({index: pair for index, pair in enumerate(decoded) if not isinstance(pair, Unreadable)})
    if not reader.kept:
        refuse_unreadable([one for one in decoded if isinstance(one, Unreadable)])
    members = np.array(list(reader.kept))
    names = tuple(photo.name for photo in chosen)
    photos = Photos(reader, members, members[:HELD_OUT], members[:HELD_OUT], names, input, "sample")
    patches = -(-batch_size // len(members))  # one batch
    return PhotoData(photos, section.model_copy(update={"patches": patches}), 0, task_of(input)), seconds


def _recipe(space: SearchSpace) -> TrainSection:
    return TrainSection(epochs=STEPS, **task_of(space.images).recipe)


def _time_steps(module: FFNetModule, data: Data) -> float:
    """Seconds of one image in the fastest step, loading and augmentation included: other programs slow the others."""
    ends: list[float] = []
    with quiet_lightning():
        trainer = Trainer(
            max_epochs=STEPS,
            devices=1,
            callbacks=[LambdaCallback(on_train_batch_end=lambda *_: ends.append(time.perf_counter()))],
            logger=False,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, datamodule=data)
    images = len(next(iter(data.train_dataloader()))[0])
    return min(end - start for start, end in pairwise(ends)) / images


def _time_evaluation(net: MetaMixer, space: SearchSpace, data: Data) -> tuple[float, float]:
    """Seconds of bringing an architecture into its evaluated form, and of evaluating it on one image."""
    evaluate, rng = Evaluator(net, data), random.Random(0)
    images = len(evaluate.calibration_NCHW) + sum(len(target_B) for _, target_B in evaluate.batches)
    deploy, whole = [], []
    for arch in [space.smallest, *(space.sample(rng) for _ in range(ARCHITECTURES - 1))]:
        start = time.perf_counter()
        fuse(net.slice_to(arch).eval())
        between = time.perf_counter()
        evaluate(Configuration(arch))
        deploy.append(between - start)
        whole.append(time.perf_counter() - between)
    deploy_s, whole_s = fmean(deploy[1:]), fmean(whole[1:])
    return deploy_s, max(0.0, whole_s - deploy_s) / images


def time_latency(space: SearchSpace) -> tuple[float, float, float, float]:
    """Seconds of measuring a latency table, and of one of its networks in a pass; milliseconds of the smallest and the
    largest network.

    A table traces each network once and measures it in `PASSES` passes, from its file. The jobs are in groups of the
    size that a table has, since each group measures the anchors too."""
    section, image = LatencySection(noisy=True), space.largest.input
    plan = Plan(space, section, seed=0)
    networks = [network_job(arch, 0) for arch in (space.smallest, space.largest)]
    parts, group = random.Random(0).sample(plan.part_jobs, min(GROUP, len(plan.part_jobs))), networks * (GROUP // 2)
    with scratch_folder() as models:
        bench = LocalBench(section, image, Path(models))
        rounds, anchors_ms = time_jobs(bench, networks, section.rounds)
        pass_s = _seconds(bench, group, networks[0].rounds(section))
        for path in Path(models).iterdir():
            path.unlink()
        traced_s = max(0.0, _seconds(bench, group, networks[0].rounds(section)) - pass_s) / len(networks)
        parts_s = _seconds(bench, parts, section.rounds)
    smallest_ms, largest_ms = (
        taken.median * job.unit_ms(image, anchors_ms) for taken, job in zip(rounds, networks, strict=True)
    )
    pass_s /= len(group)
    table_s = len(plan.networks) * (traced_s + PASSES * pass_s) + parts_s * len(plan.part_jobs) / max(1, len(parts))
    return table_s, pass_s, smallest_ms, largest_ms


def _seconds(bench: Bench, jobs: Sequence[Job], rounds: int) -> float:
    """Seconds of measuring jobs."""
    start = time.perf_counter()
    if jobs:
        time_jobs(bench, jobs, rounds)
    return time.perf_counter() - start
