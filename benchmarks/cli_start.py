"""How long the command line takes to answer: whole processes, medians.

python benchmarks/cli_start.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).parents[1]
CALLS = (["--help"], ["check", "sweeps/digits.yaml"], ["check", "sweeps/cifar.yaml"], ["show", "ffnet_1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    seconds: list[list[float]] = [[] for _ in CALLS]
    for _ in range(rounds):
        for words, taken in zip(CALLS, seconds, strict=True):
            start = time.perf_counter()
            command = [sys.executable, "-m", "ffnet_search", *words]
            environment = {**os.environ, "PYTHONPATH": str(REPO)}
            subprocess.run(command, cwd=REPO, env=environment, capture_output=True, check=False)
            taken.append(time.perf_counter() - start)
    print("| command | seconds |\n|---|---|")
    for words, taken in zip(CALLS, seconds, strict=True):
        print(f"| `ffnet-search {' '.join(words)}` | {statistics.median(taken):.2f} |")


if __name__ == "__main__":
    main()
