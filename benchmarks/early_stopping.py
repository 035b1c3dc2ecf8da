"""What early stopping saves, on the digits: epochs for the same accuracy, and what the same epochs find.

    python benchmarks/early_stopping.py [--seeds 0 1 2 3 4] [--trials 20] [--epochs 16] [--skip recipe|joint]

*recipe*: the hyper-parameters of one network, `trials` of them with the rule `asha` and without. *joint*: architecture
and hyper-parameters together, each arm until it has trained the epochs of `trials` whole trainings. Its hypervolume,
after a quarter of them, after half, and at the end, is of accuracy and the logarithm of MACs, since a network of half
the size is worth the same wherever it is; from two reference points. *normalised*: from a tenth beyond the nadir of the
front of all that any arm found, as a share of the box between that and the ideal. *wide*: accuracy 0.8 and the MACs of
the largest network, most of which is dominated by the ends of the space, with which every search begins.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState
from search_throughput import search

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.factory import EvaluatorFactory
from ffnet_search.metrics import Direction
from ffnet_search.pareto.front import hypervolume
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.study import read_trials
from ffnet_search.space.architecture import Architecture, Part
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).resolve().parent.parent
RECIPE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 5e-2, "log": True},
    "optimizer": ["adamw", "sgd"],
    "weight_decay": {"low": 1e-4, "high": 0.5, "log": True},
    "label_smoothing": {"low": 0.0, "high": 0.3},
    "drop_path": {"low": 0.0, "high": 0.3},
    "mixup": [0.0, 0.2, 0.8],
    "batch_size": [64, 128],
}
DATA = {"name": "digits", "validation": 0.25, "calibration": 512, "augment": {"crop": 1}, "workers": 0}
LEAST_ACCURACY = 0.8
SHARES = (0.25, 0.5, 1.0)  # of the epochs
RANDOM = {"class_path": "RandomSampler", "init_args": {}}
ASHA = {"rule": "asha"}
ASHA_ARM = "TPE, asha"
WAYS: list[Direction] = ["maximize", "minimize"]
Point = tuple[float, float]  # accuracy, logarithm of MACs
Found = tuple[int, Point]  # with the epochs that were trained by then


class NoLatency:
    """Latency plays no part here."""

    def predict_ms(self, arch: Architecture) -> float:
        return 1.0

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return 1.0


def digits_space() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "search_spaces" / "ffnet_digits.yaml").read_text())
    return content


def one_network() -> dict[str, Any]:
    space = SearchSpace.model_validate(digits_space())
    small = {name: choices[len(choices) // 3] for name, choices in space.axes().items()}
    return {"architecture": space.build(small).to_dict()}


def run(
    folder: Path, space: dict[str, Any], epochs: int, seed: int, budget: float, **section: Any
) -> list[FrozenTrial]:
    """The trials of one search, which runs until it has made `section.trials` or trained `budget` epochs."""
    trials: list[FrozenTrial] = []
    step = section.pop("trials")
    made = 0
    while made == 0 or epochs_of(trials, epochs) < budget:
        made += step
        content = {
            "name": "run",
            "runs": str(folder),
            "seed": seed,
            "search_space": {**space, "hyperparameters": RECIPE},
            "data": DATA,
            "train": {"epochs": epochs},
            "search": {"evaluator": "train", "trials": made, **section},
        }
        file = folder / "sweep.yaml"
        file.write_text(yaml.safe_dump(content))
        sweep = Sweep.from_yaml(file)
        study = sweep.files.study
        study.parent.mkdir(exist_ok=True)
        problem = SearchProblem(sweep.search_space, sweep.search, CostModel(NoLatency()), seed)
        search(problem, EvaluatorFactory(sweep), study.parent)
        trials = list(read_trials(study))
        step = 4
    return trials


def epochs_of(trials: Sequence[FrozenTrial], epochs: int) -> int:
    return sum(int(trial.user_attrs.get("stopped", epochs)) for trial in trials)


def best(trials: Sequence[FrozenTrial]) -> float:
    return max(trial.user_attrs["accuracy"] for trial in trials if trial.state == TrialState.COMPLETE)


def found(trials: Sequence[FrozenTrial], epochs: int) -> list[Found]:
    """Each complete one, with the epochs that were trained by then."""
    complete, spent = [], 0
    for trial in trials:
        spent += epochs_of([trial], epochs)
        if trial.state == TrialState.COMPLETE:
            complete.append((spent, (trial.user_attrs["accuracy"], math.log(trial.user_attrs["macs_m"]))))
    return complete


def volume(of: Sequence[Found], budget: float, reference: Point) -> float:
    """Of what was complete when `budget` epochs had been trained."""
    return hypervolume([point for spent, point in of if spent <= budget], reference, WAYS)


def corners(points: Sequence[Point]) -> tuple[Point, Point]:
    """Ideal and nadir: the best and the worst that their front has by each objective."""
    front = [a for a in points if not any(b != a and b[0] >= a[0] and b[1] <= a[1] for b in points)]
    accuracies, macs = zip(*front, strict=True)
    return (max(accuracies), min(macs)), (min(accuracies), max(macs))


def recipe(seeds: Sequence[int], trials: int, epochs: int) -> None:
    print(f"recipe: {trials} trials of at most {epochs} epochs, {len(seeds)} seeds")
    space, lost, shares = one_network(), [], []
    for seed in seeds:
        arms = {}
        for name, rule in (("without", {"rule": "none"}), ("with", ASHA)):
            with tempfile.TemporaryDirectory() as folder:
                how = {"trials": trials, "objectives": ["accuracy"], "early_stopping": rule}
                arms[name] = run(Path(folder), space, epochs, seed, 0, **how)
        points = 100 * (best(arms["without"]) - best(arms["with"]))
        share = epochs_of(arms["with"], epochs) / epochs_of(arms["without"], epochs)
        lost.append(points)
        shares.append(share)
        print(
            f"  seed {seed}: best accuracy {best(arms['without']):.4f} without, {best(arms['with']):.4f} with "
            f"({points:+.2f} points lost), at {share:.2f} of the epochs",
            flush=True,
        )
    print(
        f"  medians: {statistics.median(lost):+.2f} points lost (worst {max(lost):+.2f}), "
        f"at {statistics.median(shares):.2f} of the epochs (worst {max(shares):.2f})"
    )


def joint(seeds: Sequence[int], trials: int, epochs: int) -> None:
    budget = trials * epochs
    print(f"joint: {budget} epochs, whole trainings have {epochs}, {len(seeds)} seeds")
    space = digits_space()
    largest = SearchSpace.model_validate(space).largest.macs_m
    arms: dict[str, dict[str, Any]] = {
        "random": {"trials": trials, "sampler": RANDOM},
        "TPE": {"trials": trials},
        ASHA_ARM: {"trials": 2 * trials, "early_stopping": ASHA},
    }
    made: dict[str, list[list[Found]]] = {name: [] for name in arms}
    wide = (LEAST_ACCURACY, math.log(largest) + 1e-9)
    for seed in seeds:
        for name, how in arms.items():
            with tempfile.TemporaryDirectory() as folder:
                trials = run(Path(folder), space, epochs, seed, budget, objectives=["accuracy", "macs_m"], **how)
            made[name].append(found(trials, epochs))
            volumes = ", ".join(f"{volume(made[name][-1], share * budget, wide):.3f}" for share in SHARES)
            whole = f"{len(made[name][-1])} of {len(trials)} trials whole"
            print(f"  seed {seed}: {name:<10} hypervolume (wide) {volumes}; {whole}", flush=True)
    ideal, nadir = corners(
        [point for of in made.values() for seed_of in of for spent, point in seed_of if spent <= budget]
    )
    beyond = (nadir[0] - (ideal[0] - nadir[0]) / 10, nadir[1] + (nadir[1] - ideal[1]) / 10)
    box = hypervolume([ideal], beyond, WAYS)
    for measure, reference, unit in (("normalised", beyond, box), ("wide", wide, 1.0)):
        macs = f"{math.exp(reference[1]):.3g} M MACs"
        print(f"  hypervolume, {measure}: from accuracy {reference[0]:.3f} and {macs}; medians")
        for share in SHARES:
            middle = {
                name: statistics.median(volume(one, share * budget, reference) / unit for one in of)
                for name, of in made.items()
            }
            medians = ", ".join(f"{name} {value:.3f}" for name, value in middle.items())
            over = ", ".join(
                f"/ {name} {middle[ASHA_ARM] / middle[name]:.2f}" for name in ("random", "TPE") if middle[name]
            )
            print(f"    after {share * budget:.0f} epochs: {medians}; asha {over}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--skip", choices=("recipe", "joint"))
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}")
    for name, part in (("recipe", recipe), ("joint", joint)):
        if name != options.skip:
            part(options.seeds, options.trials, options.epochs)


if __name__ == "__main__":
    main()
