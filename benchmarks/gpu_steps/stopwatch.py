"""Milliseconds on the device of a call, and the images that are computed on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.backends.pytorch import Torch
from ffnet_search.models.deployed import deployed
from ffnet_search.models.device import in_fastest_layout
from ffnet_search.space.architecture import Architecture
from gpu_steps.run import Run

CLEARED = 1 << 30  # bytes that are cleared before a kernel is timed: a third of a millisecond


def noise(run: Run, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal noise and labels, on the device."""
    shape = run.space.images
    generator = torch.Generator().manual_seed(seed)
    x_BCHW = torch.randn(count, shape.channels, shape.resolution, shape.resolution, generator=generator)
    target_B = torch.arange(count) % shape.outputs
    return in_fastest_layout(x_BCHW.to(run.device)), target_B.to(run.device)


def milliseconds(run: Run, work: Callable[[], object]) -> float:
    """The median of many calls, after some that warm up; the device is waited for."""
    taken, warm_up = [], run.amounts.warm_up
    for index in range(warm_up + run.amounts.rounds):
        run.wait()
        start = time.perf_counter()
        work()
        run.wait()
        if index >= warm_up:
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def kernel_milliseconds(run: Run, work: Callable[[], object]) -> float:
    """The same, of the device alone: the host runs ahead while a large buffer is cleared, which also empties the
    cache, so that no call waits for its launch and each reads memory."""
    if not run.is_cuda:
        return milliseconds(run, work)
    buffer = torch.empty(CLEARED, dtype=torch.uint8, device=run.device)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(run.amounts.rounds)]
    for _ in range(run.amounts.warm_up):
        work()
    for start, end in events:
        buffer.zero_()
        start.record()
        work()
        end.record()
    run.wait()
    return statistics.median(start.elapsed_time(end) for start, end in events)


def inferred(run: Run, arch: Architecture, mode: str, count: int) -> float:
    """Milliseconds of a deployed network on so many images at once."""
    shape = arch.input
    model = Model(lambda: deployed(arch), (count, shape.channels, shape.resolution, shape.resolution), None)
    backend = Torch(device_type=run.device.type, mode=mode)  # type: ignore[arg-type]
    return milliseconds(run, backend.load(model, 1))
