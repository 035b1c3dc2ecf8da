"""Are exported networks as good as the same networks trained alone? The picks of a sweep: inherited, retrained, alone.

python benchmarks/retrain.py                          # runs the digits sweep first: minutes
python benchmarks/retrain.py --learning-rate 4e-3     # the same at another rate of the supernet
python benchmarks/retrain.py --run runs/digits --seeds 5 --distil 0 --rate 0.5

Each network is trained from the supernet's weights as `export.retrain` says, smaller ones for more epochs, and from new
weights for as many epochs and for those of the supernet and the retraining together, all by the sweep's recipe. Seeds
differ in new weights, and in the order and augmentation of the images. Accuracy is on the test split, which chooses
nothing. The last two rows: the difference from the first column, network by network and seed by seed, and CPU seconds
of one training.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from lightning import seed_everything
from torch import nn

from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import RetrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.retrained import RetrainingTarget, retraining_sweep
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.front import pareto_front
from ffnet_search.pareto.subset import choose
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data
from ffnet_search.training.trainer import run_trainer

REPO = Path(__file__).parents[1]
Options = dict[str, object]  # of `export.retrain`


class Bench:
    """Trains networks of a finished search alone, and tests them."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.data, self.task = sweep, sweep_data(sweep), task_of(sweep.search_space.images)
        self.evaluate = Evaluator(read_supernet(sweep.files.supernet), self.data)

    def test(self, net: nn.Module) -> float:
        return 100 * quality(net, self.data.test_dataloader(), self.task)

    def retrained_by(self, options: Options) -> Sweep:
        """The sweep with these options of `export.retrain`."""
        section = RetrainSection.model_validate({**self.sweep.export.retrain.model_dump(), **options})
        return self.sweep.model_copy(update={"export": self.sweep.export.model_copy(update={"retrain": section})})

    def alone(self, arch: Architecture, options: Options, before: int = 0) -> Options:
        """The options by which a network trains from new weights for as many epochs as with `options`, and `before`."""
        retraining = retraining_of(self.retrained_by(options))
        assert retraining is not None
        return {"from": "scratch", "epochs": before + retraining.epochs_for(arch.macs_m), "rate": 1.0, "distil": 0.0}

    def inherited(self, arch: Architecture) -> float:
        return self.test(fuse(self.evaluate.calibrated(arch)))

    def trained(self, arch: Architecture, seed: int, options: Options) -> float:
        """The accuracy of a network after a training with these options of `export.retrain`."""
        sweep, configuration = self.retrained_by(options), Configuration(arch)
        retraining = retraining_of(sweep)
        assert retraining is not None
        with tempfile.TemporaryDirectory() as folder:
            alone = retraining_sweep(sweep, Path(folder))
            target = RetrainingTarget(alone, retraining, sweep.files.supernet)
            target.seed = self.data.order_seed = seed
            trial = target.trial(alone, configuration)
            seed_everything(seed, verbose=False)
            module = target.module(trial, configuration)
            run_trainer(module, self.data, trial.train, Path(folder), [])
        return self.test(fuse(recalibrate(module.net, self.data.calibration)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=REPO / "sweeps" / "digits.yaml")
    parser.add_argument("--learning-rate", type=float, help="of the run that is made, in place of the sweep's")
    parser.add_argument("--run", type=Path, help="the folder of a finished search; by default one is made")
    parser.add_argument("--networks", type=int, help="of the front, evenly; export.top by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--max-epochs", type=int, nargs="+", help="of smaller networks")
    parser.add_argument("--rate", type=float, nargs="+", default=[1.0])
    parser.add_argument("--distil", type=float, nargs="+")
    parser.add_argument("--skip-alone", action="store_true", help="compare the options of the retraining alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.run is None:
            sweep = Sweep.from_yaml(args.sweep)
            rate = {"learning_rate": args.learning_rate or sweep.train.learning_rate}
            train = sweep.train.model_copy(update=rate)
            sweep = sweep.model_copy(update={"runs": folder, "train": train})
            run_sweep(sweep, stages=("profile", "train", "search"))
        else:
            sweep = Sweep.of_run(args.run)
        report(sweep, args)


def report(sweep: Sweep, args: argparse.Namespace) -> None:
    """Print a row per network and one of the means."""
    bench, own = Bench(sweep), retraining_of(sweep)
    assert own is not None
    columns: dict[str, Callable[[Architecture], Options]] = {}
    given = [args.max_epochs or [own.max_epochs], args.rate, args.distil or [own.distil]]
    for most, rate, distil in product(*given):
        options: Options = {"epochs": args.epochs or own.epochs, "max_epochs": most, "rate": rate, "distil": distil}
        columns[f"{retraining_of(bench.retrained_by(options))}, distil {distil:g}"] = lambda _, options=options: options
    if not args.skip_alone:
        for name, before in (("alone, as many", 0), ("alone, as many in all", sweep.train.epochs)):
            columns[name] = lambda arch, before=before, options=options: bench.alone(arch, options, before)
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    front = choose(
        pareto_front(candidates, sweep.search.directions), args.networks or sweep.export.top, sweep.search.directions
    )
    print("| network, M MACs | inherited | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 2) + "|")
    found: dict[str, list[list[float]]] = {name: [] for name in columns}  # name -> network -> seed
    seconds = dict.fromkeys(columns, 0.0)
    inherited = []
    for candidate in front:
        arch = candidate.network
        inherited.append(bench.inherited(arch))
        for rows in found.values():
            rows.append([])
        for seed in range(args.seeds):
            for name, options in columns.items():
                start = time.process_time()
                found[name][-1].append(bench.trained(arch, seed, options(arch)))
                seconds[name] += time.process_time() - start
        cells = [figure(found[name][-1]) for name in columns]
        print(f"| {arch.key}, {arch.macs_m:.3g} | {inherited[-1]:.2f} | {' | '.join(cells)} |", flush=True)
    # A seed's mean over the networks is one measurement: the standard error is of these.
    of_seed = {name: [statistics.fmean(nets) for nets in zip(*rows, strict=True)] for name, rows in found.items()}
    print(f"| mean | {statistics.fmean(inherited):.2f} | {' | '.join(map(figure, of_seed.values()))} |")
    first = next(iter(of_seed.values()))
    against = [figure([one - base for one, base in zip(values, first, strict=True)]) for values in of_seed.values()]
    print(f"| against the first | | {' | '.join(against)} |")
    taken = [f"{value / args.seeds / len(front):.1f}" for value in seconds.values()]
    print(f"| CPU seconds | | {' | '.join(taken)} |")


def figure(values: Sequence[float]) -> str:
    """The mean over seeds and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
