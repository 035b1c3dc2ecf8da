"""Step `compile`: torch.compile and CUDA graphs against eager, training and inference."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ffnet_search.formatting import figure
from ffnet_search.models.device import fastest_layout
from ffnet_search.models.metamixer import MetaMixer
from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import inferred, milliseconds, noise


def measure(run: Run) -> Rows:
    """Milliseconds of the largest network of the space: a training step, and inference of one image and of a batch."""
    arch, rows = run.space.largest, []
    x_BCHW, target_B = noise(run, run.amounts.batch)
    for name, make in (("eager", None), ("CUDA graph", _graphed), ("torch.compile", _compiled)):
        if make is _graphed and not run.is_cuda:
            continue
        net = MetaMixer(arch).to(run.device, memory_format=fastest_layout(run.device))  # type: ignore[call-overload]
        what = f"training step of {arch.key}, batch {len(x_BCHW)}: {name}"
        rows.append(run.figure(what, partial(_trained, run, net, make, x_BCHW, target_B)))
    for count in (1, run.amounts.batch):
        for mode in ("eager", "cuda_graph", "compile") if run.is_cuda else ("eager",):
            what = f"inference of {arch.key}, batch {count}: {mode}"
            rows.append(
                run.figure(what, lambda mode=mode, count=count: f"{figure(inferred(run, arch, mode, count))} ms")
            )
    return rows


def _compiled(run: Run, work: Callable[[], Tensor]) -> Callable[[], object]:
    compiled: Callable[[], object] = torch.compile(work, backend="eager" if run.tiny else "inductor")
    return compiled


def _graphed(run: Run, work: Callable[[], Tensor]) -> Callable[[], object]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _trained(
    run: Run,
    net: MetaMixer,
    make: Callable[[Run, Callable[[], Tensor]], Callable[[], object]] | None,
    x_BCHW: Tensor,
    target_B: Tensor,
) -> str:
    """Milliseconds of forward, backward and the optimiser's step."""
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, capturable=run.is_cuda, foreach=True)

    def loss() -> Tensor:
        with run.autocast(run.is_cuda, cached=False):
            return nn.functional.cross_entropy(net(x_BCHW), target_B)

    forward = make(run, loss) if make is _compiled else loss

    def work() -> Tensor:
        optimizer.zero_grad(set_to_none=True)  # a graph's replay then writes gradients, and adds to none
        value = forward()
        assert isinstance(value, Tensor)
        value.backward()
        optimizer.step()
        return value

    start = time.perf_counter()
    whole = make(run, work) if make is _graphed else work
    whole()  # which compiles
    run.wait()
    first = time.perf_counter() - start
    return f"{figure(milliseconds(run, whole))} ms (the first took {first:.1f} s)"
