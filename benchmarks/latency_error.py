"""How well a latency table predicts networks that were never used to fit it, against simpler predictors.

    python benchmarks/latency_error.py --space search_spaces/ffnet_cifar.yaml --backend onnxruntime --held-out 60

`--space` may be a sweep: its search space is meant. `--noisy` accepts a busy machine.
All predictors are fitted on the same calibration networks, by the same least relative squares, and judged on the same
held-out ones. An error below the noise floor would mean that something leaked from the one into the other.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.formatting import figure
from ffnet_search.latency.build import profile
from ffnet_search.latency.part_model import non_negative_fit
from ffnet_search.latency.table import Check, LatencyTable, TableError
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml

SPACES = Path(__file__).parents[1] / "search_spaces"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=SPACES / "ffnet_cifar.yaml")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noisy", action="store_true")
    options = parser.parse_args()
    named = {"backend": options.backend, "precision": options.precision, "noisy": options.noisy}
    section = LatencySection(**named, held_out=options.held_out, batch_size=options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        table = profile(read_space(options.space), section, Path(folder) / "table.json", seed=options.seed)
    report(table, options.space.stem)


def read_space(path: Path) -> SearchSpace:
    """The search space of a file, or that of a sweep."""
    return Sweep.from_yaml(path).search_space if "search_space" in read_yaml(path) else SearchSpace.from_yaml(path)


def report(table: LatencyTable, space: str) -> None:
    at, fitted = table.setting, [check.architecture for check in table.calibration]
    measured = [entry for entry in table.entries.values() if entry.measured]
    print(
        f"{space}, {table.name}, {at.device}, {at.clock}, wall / CPU {at.contention:.2f}, "
        f"anchors {' and '.join(map(figure, at.anchors_ms))} ms"
    )
    print(
        f"{len(measured)} of {len(table.entries)} parts measured, {len(fitted)} networks to calibrate, "
        f"{len(table.held_out)} held out, built in {at.build_seconds:.0f} s (these checks included)\n"
    )
    rows: dict[str, Callable[[Architecture], float]] = {
        "latency table": table.predict_ms,
        "sum of parts, uncalibrated": table.raw_ms,
        "line through MACs": line(table.calibration, lambda arch: [arch.macs_m]),
        "line through parameters": line(table.calibration, lambda arch: [arch.params_m]),
        "plane: MACs, parameters": line(table.calibration, lambda arch: [arch.macs_m, arch.params_m]),
    }
    print(f"{'predictor':28}{'mean error':>11}{'max':>8}{'within 10 %':>13}{'Kendall':>9}{'noise floor':>13}")
    for name, predict in rows.items():
        error = judge(table.held_out, predict)
        print(
            f"{name:28}{error.mean:11.1%}{error.max:8.1%}{error.within_10:13.0%}{error.kendall:9.3f}"
            f"{error.noise_floor:13.1%}"
        )
    for check in table.worst[:3]:
        ms = figure(check.measured_ms)
        print(f"  worst: {check.error:+.1%}, {ms} ms, spread {check.spread:.1%}, {check.architecture}")


def line(checks: Sequence[Check], features: Callable[[Architecture], list[float]]) -> Callable[[Architecture], float]:
    """An affine function of `features`, fitted like the table's calibration."""
    x = np.array([[1.0, *features(check.architecture)] for check in checks])
    fit = non_negative_fit(x, np.array([check.measured_ms for check in checks]))
    return lambda arch: float(np.array([1.0, *features(arch)]) @ fit)


def judge(checks: Sequence[Check], predict: Callable[[Architecture], float]) -> TableError:
    return TableError.of([one.model_copy(update={"predicted_ms": predict(one.architecture)}) for one in checks])


if __name__ == "__main__":
    main()
