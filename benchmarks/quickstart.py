"""How long `make quickstart` takes once installed, its CPU time and its peak memory: the digits sweep from an empty
run folder. CPU time is comparable where other programs use the cores.

python benchmarks/quickstart.py
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).parents[1]


def main() -> None:
    command = [sys.executable, "-m", "ffnet_search", "run", str(REPO / "sweeps" / "digits.yaml")]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak_gib = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
    stages = re.findall(r"^(\w+) \(\d of \d\): took (\S+)", done.stderr, re.MULTILINE)
    print("\n| " + " | ".join([*(name for name, _ in stages), "all", "CPU", "peak memory"]) + " |")
    print("|" + "---|" * (len(stages) + 3))
    print(
        "| "
        + " | ".join([*(took for _, took in stages), f"{seconds:.0f}s", f"{cpu_s:.0f}s", f"{peak_gib:.2f} GiB"])
        + " |"
    )


if __name__ == "__main__":
    main()
