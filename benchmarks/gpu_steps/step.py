"""Step `step`: a sandwich step against its networks alone, and whether the host waits for the device in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ffnet_search.training.modules import FFNetModule, Standalone, Supernet
from ffnet_search.training.optimizers.recipe import make_optimizer
from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import milliseconds, noise
from gpu_steps.synchronisation import synchronisation


def measure(run: Run) -> Rows:
    """A sandwich step against its networks alone, in bf16 on a GPU as in training; and whether the host waits."""
    of = f"{run.space.name}, batch {run.amounts.batch}"
    step = run.figure(f"sandwich step of {of}: ms, images/s, ratio to its networks alone", partial(_step, run))
    return [step, run.figure("host synchronisation within the steps of a Trainer", partial(synchronisation, run))]


def _step(run: Run) -> str:
    space, recipe = run.space, run.sweep(1).train
    x_BCHW, target_B = noise(run, run.amounts.batch)
    supernet = Supernet(space, recipe).to(run.device)
    archs = (space.largest, *supernet.draws.of_step(0, recipe.sampled))
    modules: list[FFNetModule] = [supernet]
    modules += [Standalone(supernet.net.slice_to(arch).train(), recipe).to(run.device) for arch in archs]
    times = [milliseconds(run, stepper(run, module, x_BCHW, target_B)) for module in modules]
    peak = f"; peak memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if run.is_cuda else ""
    return f"{times[0]:.2f}, {1e3 * len(x_BCHW) / times[0]:,.0f}, {times[0] / sum(times[1:]):.2f}{peak}"


def stepper(run: Run, module: FFNetModule, x_BCHW: Tensor, target_B: Tensor) -> Callable[..., None]:
    """A training step outside of a Trainer: of the networks of step 0, or of the step that it is given."""
    module.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    optimizer = make_optimizer(module.net, module.recipe)

    def update(loss: Tensor) -> None:
        torch.nn.utils.clip_grad_norm_(module.net.parameters(), module.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    def work(step: int = 0) -> None:
        with run.autocast(run.is_cuda):
            module.learn([(x_BCHW, target_B)], step, update)

    return work
