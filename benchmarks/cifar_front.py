"""The front of a run beside FFNets scaled by hand, at equal measured latency: sweeps/cifar_cpu.yaml, once it has run.

    ffnet-search run sweeps/cifar_cpu.yaml
    python benchmarks/cifar_front.py runs/cifar_cpu [--alone 8 16 24] [--image docs/cifar_front.png]

The networks by hand are those of the run's yardstick: FFNets of the sweep's space whose widths are scaled together,
with the supernet's weights and the same retraining. With `--alone`, FFNets of the published shape as well (FFNet-1:
depths 2, 2, 8, 2; widths d, 2d, 4d, 8d; kernels 3, 3, 7, 7; stem stride 2), each trained alone by the sweep's recipe,
for the epochs of its supernet and its retraining together. All networks are timed again in turns. A budget is the
latency of a network by hand; the front's answer is its best network within, by search validation. Accuracy is on the
test split. What is trained alone is kept in the run's folder, under `by_hand/`: another call, also after a kill,
continues.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import seed_everything

from ffnet_search.atomic_write import replacing, write_text
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.judge import quality
from ffnet_search.export.exported import read_exported
from ffnet_search.export.network import load_deployed
from ffnet_search.formatting import figure
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.ray_bench import make_bench
from ffnet_search.latency.table import LatencyTable
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.progress import say
from ffnet_search.space.architecture import Architecture, Stem
from ffnet_search.space.block import Block
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data, train_architecture

BUDGETS = 3
ENDS = ("smallest", "largest")  # of the space, in the yardstick


@dataclass(frozen=True)
class Network:
    """`validation` and `test`: shares of images; `ms` is measured."""

    name: str
    arch: Architecture
    validation: float
    test: float
    ms: float

    def error(self, images: int) -> float:
        """The standard error of `test`."""
        return math.sqrt(self.test * (1 - self.test) / images)


def published(sweep: Sweep, width: int) -> Architecture:
    """FFNet-1 with `width` channels in its first stage, for the sweep's images."""
    blocks = [Block("ffn_attention", kernel, 3, 3) for kernel in (3, 3, 7, 7)]
    stem = Stem(max(8, round(0.8 * width)), 2)
    widths = [width * factor for factor in (1, 2, 4, 8)]
    return Architecture.uniform((2, 2, 8, 2), widths, blocks, stem, sweep.search_space.images)


def train_by_hand(sweep: Sweep, data: Data, arch: Architecture, epochs: int, folder: Path) -> MetaMixer:
    """A network trained alone in `folder`, in evaluation mode; read from there where it was trained before."""
    kept = folder / "weights.pt"
    seed_everything(sweep.seed, verbose=False)
    net = MetaMixer(arch, sweep.train.form)
    if kept.exists():
        net.load_state_dict(torch.load(kept, weights_only=True))
        return net.eval()
    recipe = sweep.train.model_copy(update={"epochs": epochs, "start_from": None})
    net = recalibrate(train_architecture(net, data, recipe, folder, sweep.seed), data.calibration)
    with replacing(kept) as scratch:
        torch.save(net.state_dict(), scratch)
    return net


def tested(folder: Path, net: Deployed, data: Data) -> list[float]:
    """Accuracy on search validation and on test, kept beside the weights."""
    path, task = folder / "accuracy.json", task_of(net.arch.input)
    if not path.exists():
        shares = [quality(net, batches, task) for batches in (data.val_dataloader(), data.test_dataloader())]
        write_text(path, json.dumps(shares))
    return [float(share) for share in json.loads(path.read_text())]


def collect(sweep: Sweep, widths: list[int], epochs: int) -> tuple[list[Network], list[Network], int]:
    """The front, the networks by hand, and the number of test images."""
    data, device = sweep_data(sweep), sweep.latency[0]
    front, task = read_exported(sweep.files.pareto), task_of(sweep.search_space.images)
    yardstick = [
        one
        for one in read_exported(sweep.files.yardstick)
        if one.architecture is not None and not one.folder.name.startswith(ENDS)
    ]
    if not yardstick and not widths:
        raise SystemExit(f"{sweep.files.yardstick}: holds no networks by hand; run the sweep's export, or give --alone")
    nets = [load_deployed(one.folder) for one in (*front, *yardstick)]
    names = [one.folder.name for one in (*front, *yardstick)]
    shares = [[one.metrics[task.search_quality], one.metrics[task.test_quality]] for one in (*front, *yardstick)]
    for width in sorted(widths, reverse=True):
        arch = published(sweep, width)
        say(f"alone, width {width}: {arch.macs_m:.1f} M MACs, {epochs} epochs")
        folder = sweep.files.folder / "by_hand" / f"{arch.key}-{epochs}"
        nets.append(fuse(train_by_hand(sweep, data, arch, epochs, folder)))
        names.append(f"alone, width {width}")
        shares.append(tested(folder, nets[-1], data))
    table = LatencyTable.load(sweep.latency_path)
    measured = measure_all(nets, device, table=table, make_bench=make_bench)
    networks = [
        Network(name, net.arch, *both, latency.ms)
        for name, net, both, latency in zip(names, nets, shares, measured, strict=True)
    ]
    images = sum(len(target_B) for _, target_B in data.test_dataloader())
    hand = sorted(networks[len(front) :], key=lambda network: network.ms)
    return networks[: len(front)], hand, images


def report(front: list[Network], hand: list[Network], images: int) -> None:
    print(f"{'network':22} {'M MACs':>7} {'ms':>7} {'validation, %':>14} {'test, %':>14}")
    for network in sorted([*front, *hand], key=lambda network: network.ms):
        test = f"{100 * network.test:.2f} +- {100 * network.error(images):.2f}"
        words = f"{network.arch.macs_m:7.2f} {figure(network.ms):>7} {100 * network.validation:14.2f} {test:>14}"
        print(f"{network.name:22} {words}")
    print("\nat the latency of a network by hand:")
    chosen = sorted({round(step * (len(hand) - 1) / (BUDGETS - 1)) for step in range(BUDGETS)})
    for one in (hand[index] for index in chosen):
        within = [network for network in front if network.ms <= one.ms]
        if not within:
            print(f"{figure(one.ms)} ms ({one.name}): the front has no network that is as fast")
            continue
        best = max(within, key=lambda network: network.validation)
        gain, error = 100 * (best.test - one.test), 100 * math.hypot(best.error(images), one.error(images))
        print(
            f"{figure(one.ms)} ms ({one.name}): {100 * one.test:.2f} % by hand, {100 * best.test:.2f} % of the front "
            f"({best.name}, {figure(best.ms)} ms): {gain:+.2f} +- {error:.2f} points"
        )


def draw(path: Path, front: list[Network], hand: list[Network], images: int) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure((7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for networks, label, colour in ((front, "searched", "#1f5fbf"), (hand, "FFNets scaled by hand", "#c03028")):
        ordered = sorted(networks, key=lambda network: network.ms)
        axes.errorbar(
            [network.ms for network in ordered],
            [100 * network.test for network in ordered],
            [200 * network.error(images) for network in ordered],
            fmt="o-", color=colour, label=label, capsize=2, linewidth=1,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("measured latency, ms (one thread)")
    axes.set_ylabel("accuracy on test, % (two standard errors)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--alone", nargs="+", type=int, default=[], help="widths of FFNets to train alone")
    parser.add_argument("--epochs", type=int, help="of the networks trained alone, instead of the run's")
    parser.add_argument("--image", type=Path, default=Path("docs/cifar_front.png"))
    arguments = parser.parse_args()
    sweep = Sweep.of_run(arguments.run)
    retraining = retraining_of(sweep)
    epochs = arguments.epochs or sweep.train.epochs + (retraining.epochs if retraining else 0)
    front, hand, images = collect(sweep, arguments.alone, epochs)
    report(front, hand, images)
    draw(arguments.image, front, hand, images)
    print(f"wrote {arguments.image}")


if __name__ == "__main__":
    main()
