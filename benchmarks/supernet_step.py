"""The cost of sharing: one sandwich step against its networks trained alone, each with a separate step.

    python benchmarks/supernet_step.py [--space ffnet_digits] [--batch 64] [--rounds 15] [--epochs 0]

The networks alone are sliced copies (`Standalone`), on the same images; all take turns within a round, and medians of
CPU seconds on one thread are compared, so that a busy machine does not decide. With `--epochs`, also as many epochs of
sweeps/digits.yaml as the program trains them (Trainer, validation, checkpoint, log), against a bare loop of the steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests" / "support"))

from networks import SPACES, images, space  # noqa: E402

from ffnet_search.config.schema import TrainSection  # noqa: E402
from ffnet_search.config.sweep import Sweep  # noqa: E402
from ffnet_search.formatting import figure  # noqa: E402
from ffnet_search.progress import progress  # noqa: E402
from ffnet_search.training.fit import sweep_data  # noqa: E402
from ffnet_search.training.modules import FFNetModule, Standalone, Supernet  # noqa: E402
from ffnet_search.training.optimizers.recipe import make_optimizer  # noqa: E402
from ffnet_search.training.trainer import ALONE, fit  # noqa: E402

RECIPE = TrainSection()


def bare_update(module: FFNetModule) -> Callable[[torch.Tensor], None]:
    """An update of `module` outside of a Trainer."""
    module.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    optimizer = make_optimizer(module.net, module.recipe)

    def update(loss: torch.Tensor) -> None:
        torch.nn.utils.clip_grad_norm_(module.weights, module.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    return update


def stepper(module: FFNetModule, x_BCHW: torch.Tensor, target_B: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """A training step of `module` outside of a Trainer."""
    update = bare_update(module)
    return lambda index: module.learn([(x_BCHW, target_B)], index, update)


def bare_epochs(sweep: Sweep, epochs: int) -> list[float]:
    """CPU seconds of each epoch in a plain loop: batches, augmentation, steps."""
    data, supernet = sweep_data(sweep), Supernet(sweep.search_space, sweep.train)
    loader, seconds = data.train_dataloader(), []
    update = bare_update(supernet)
    for epoch in range(epochs):
        start = time.process_time()
        loader.set_epoch(epoch)
        for index, batch in enumerate(loader):
            supernet.learn([data.augment(batch, epoch, index)], epoch * len(loader) + index, update)
        seconds.append(time.process_time() - start)
    return seconds


class Marked(Supernet):
    """Notes the CPU seconds at the start of each epoch and at the end."""

    marks: ClassVar[list[float]] = []

    def on_train_epoch_start(self) -> None:
        self.marks.append(time.process_time())
        super().on_train_epoch_start()

    def on_train_end(self) -> None:
        self.marks.append(time.process_time())


def trainer_epochs(sweep: Sweep, epochs: int) -> list[float]:
    """CPU seconds of each epoch as `train_supernet` trains."""
    Marked.marks.clear()
    recipe = sweep.train.model_copy(update={"epochs": epochs})
    with tempfile.TemporaryDirectory() as folder:
        fit(lambda: Marked(sweep.search_space, recipe), sweep_data(sweep), Path(folder), "train", ALONE)
    return [after - before for before, after in pairwise(Marked.marks)]


def compare_epochs(epochs: int) -> None:
    """Print the median epoch of the program and of the bare loop, in turn twice."""
    sweep = Sweep.from_yaml(REPO / "sweeps" / "digits.yaml")
    bare, ours = [], []
    for _ in range(2):
        bare += bare_epochs(sweep, epochs)
        ours += trainer_epochs(sweep, epochs)
    medians = [statistics.median(seconds) for seconds in (ours, bare)]
    print(
        f"\nan epoch of digits: {medians[0]:.2f} s, bare loop {medians[1]:.2f} s, {medians[0] / medians[1]:.2f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=list(SPACES), default="ffnet_digits")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = space(arguments.space)
    x_BCHW = images(chosen, arguments.batch).contiguous(memory_format=torch.channels_last)
    target_B = torch.arange(arguments.batch) % chosen.input.outputs
    supernet = Supernet(chosen, RECIPE)
    networks = (chosen.largest, *supernet.draws.of_step(0, RECIPE.sampled))
    names = ["sandwich", "largest", *(f"sampled {number + 1}" for number in range(RECIPE.sampled))]
    modules = [supernet, *(Standalone(supernet.net.slice_to(arch).train(), RECIPE) for arch in networks)]
    steps = [stepper(module, x_BCHW, target_B) for module in modules]
    seconds: list[list[float]] = [[] for _ in steps]
    with progress("supernet step", arguments.rounds, "rounds") as bar:
        for _ in range(arguments.rounds):
            for step, taken in zip(steps, seconds, strict=True):
                start = time.process_time()
                step(0)  # always the same sampled networks
                taken.append(time.process_time() - start)
            bar.advance()
    medians = [statistics.median(taken[2:]) for taken in seconds]
    print(f"{arguments.space}, batch {arguments.batch}, one thread, CPU ms, medians of {arguments.rounds - 2} rounds\n")
    print("| " + " | ".join([*names, "sum", "sandwich / sum"]) + " |")
    print("|" + "---|" * (len(names) + 2))
    cells = [figure(1000 * value) for value in (*medians, sum(medians[1:]))]
    print("| " + " | ".join([*cells, f"{medians[0] / sum(medians[1:]):.2f}"]) + " |")
    if arguments.epochs:
        compare_epochs(arguments.epochs)


if __name__ == "__main__":
    main()
