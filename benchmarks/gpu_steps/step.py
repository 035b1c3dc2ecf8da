"""Step `step`: a sandwich step against its networks alone, and whether the host waits for the device in it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ffnet_search.training.modules import FFNetModule, Standalone, Supernet, make_optimizer
from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import milliseconds, noise
from gpu_steps.synchronisation import synchronisation


def measure(run: Run) -> Rows:
    """A sandwich step against its networks alone, in bf16 on a GPU as in training; and whether the host waits."""
    space, recipe = run.space, run.sweep(1).train
    x_BCHW, target_B = noise(run, run.amounts.batch)
    supernet = Supernet(space, recipe).to(run.device)
    archs = (space.largest, *supernet.draws.of_step(0, recipe.sampled))
    modules: list[FFNetModule] = [supernet]
    modules += [Standalone(supernet.net.slice_to(arch).train(), recipe).to(run.device) for arch in archs]
    times = [milliseconds(run, stepper(run, module, x_BCHW, target_B)) for module in modules]
    images = len(x_BCHW) / times[0] * 1e3
    of = f"{space.name}, batch {len(x_BCHW)}"
    rows = [
        (f"sandwich step of {of}: ms, images/s", f"{times[0]:.2f}, {images:,.0f}"),
        ("sandwich step / its networks alone", f"{times[0] / sum(times[1:]):.2f}"),
    ]
    if run.is_cuda:
        rows.append(("memory of all these steps, peak", f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"))
    return [*rows, synchronisation(run)]


def stepper(run: Run, module: FFNetModule, x_BCHW: Tensor, target_B: Tensor) -> Callable[[], None]:
    """A training step outside of a Trainer, always of the same networks."""
    module.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    optimizer = make_optimizer(module.net.named_parameters(), module.recipe)

    def update(loss: Tensor) -> None:
        torch.nn.utils.clip_grad_norm_(module.net.parameters(), module.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    def work() -> None:
        with run.autocast(run.is_cuda):
            module.learn([(x_BCHW, target_B)], 0, update)

    return work
