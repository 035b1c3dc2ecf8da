"""Step `new_shapes`: what the first convolutions of shapes that were not met before cost on this device.

A supernet trains, and a search evaluates, networks of many widths; cuDNN plans each shape of a convolution once in a
process, and compiles some of these plans.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from ffnet_search.training.modules import Supernet
from gpu_steps.run import Rows, Run
from gpu_steps.step import stepper
from gpu_steps.stopwatch import noise

Convolution = Callable[[Tensor, Tensor], Tensor]
WIDTHS = (40, 72, 104, 136, 168)  # channels


def measure(run: Run) -> Rows:
    """Milliseconds of the first and of later calls, forward and backward, by layout; then of the steps of a
    supernet, each with newly sampled sub-networks."""
    layouts: dict[str, torch.memory_format] = {
        "channels last": torch.channels_last,
        "contiguous": torch.contiguous_format,
    }
    convolutions: dict[str, tuple[Convolution, int, int]] = {
        **{f"depthwise {k} x {k}": (_depthwise, 1, k) for k in run.amounts.kernels[::2]},
        "1 x 1 as a convolution": (_convolution, 0, 1),
        "1 x 1 as a matrix product": (_product, 0, 1),
    }
    rows = []
    for name, (layout, form), dtype in product(convolutions, layouts.items(), (torch.float32, torch.bfloat16)):
        what = f"{name}, {layout}, {str(dtype).removeprefix('torch.')}: first call of a shape, later ones, ms"
        what += f" (median of {len(WIDTHS)} shapes)"
        rows.append(run.figure(what, partial(_times, run, dtype, form, *convolutions[name])))
    rows.append(run.figure(f"sandwich steps of {run.space.name}, of newly sampled networks: ms", partial(_steps, run)))
    return rows


def _depthwise(x_BCHW: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x_BCHW, weight, None, 1, weight.shape[-1] // 2, 1, len(weight))


def _convolution(x_BCHW: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x_BCHW, weight)


def _product(x_BCHW: Tensor, weight: Tensor) -> Tensor:
    if x_BCHW.is_contiguous():
        return (weight.flatten(1) @ x_BCHW.flatten(2)).unflatten(2, x_BCHW.shape[2:])
    return F.linear(x_BCHW.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)


def _times(
    run: Run, dtype: torch.dtype, form: torch.memory_format, work: Convolution, in_group: int, kernel: int
) -> str:
    """Milliseconds of forward and backward. `in_group`: input channels of a weight; 0: all."""
    first, later = [], []
    for width in WIDTHS:
        x_BCHW = torch.randn(run.amounts.batch, width, 16, 16, device=run.device, dtype=dtype)
        x_BCHW = x_BCHW.contiguous(memory_format=form).requires_grad_()
        shape = (width if in_group else 2 * width, in_group or width, kernel, kernel)
        weight = torch.randn(shape, device=run.device, dtype=dtype, requires_grad=True)

        def both(x_BCHW: Tensor = x_BCHW, weight: Tensor = weight) -> None:
            y_BCHW = work(x_BCHW, weight)
            y_BCHW.backward(y_BCHW.detach())

        first.append(_taken(run, both))
        later.append(statistics.median(_taken(run, both) for _ in range(7)))
    return f"{statistics.median(first):.1f}, {statistics.median(later):.2f}"


def _taken(run: Run, work: Callable[[], object]) -> float:
    run.wait()
    start = time.perf_counter()
    work()
    run.wait()
    return 1e3 * (time.perf_counter() - start)


def _steps(run: Run) -> str:
    """The medians of the first steps and of later ones, and of the networks of one step again."""
    x_BCHW, target_B = noise(run, run.amounts.batch)
    supernet = Supernet(run.space, run.sweep(1).train).to(run.device)
    work = stepper(run, supernet, x_BCHW, target_B)
    taken = [_taken(run, partial(work, step)) for step in range(run.amounts.drawn)]
    again = [_taken(run, work) for _ in range(5)]
    first, last, same = (statistics.median(part) for part in (taken[:5], taken[-5:], again))
    return f"{first:.0f} the first 5, {last:.0f} the last 5 of {len(taken)}, {same:.0f} of the same networks again"
