"""How long Ctrl-C takes, in every stage and engine: seconds from SIGINT to the end of the process, and how it ended.

    python benchmarks/interrupt.py [--engines local ray tune] [--points 0 0.5 3]

A run of the digits is interrupted so many seconds after each stage began, and started again by the same command, as
often as there are points. What a stop left behind must be whole: the last run ends with the front.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).parents[1]
STAGES = ("profile", "train", "search", "export")
SWEEP = """
search_space: {space}
data: {{name: digits, batch_size: 64, validation: 0.25, calibration: 512}}
train: {{epochs: 12, learning_rate: 2.0e-3}}
latency: {{noisy: true, rounds: 3}}
search: {{engine: {engine}, trials: {trials}, workers: {workers}, constraints: {{params_m: 0.2}}}}
export: {{top: 6}}
"""


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TERM": "dumb"}
    command = [sys.executable, "-m", "ffnet_search", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def interrupt(words: list[str], folder: Path, stage: str, after: float) -> tuple[float, int, str] | None:
    """Seconds, exit code and last words; None where the stage was over before."""
    process = start(words, folder)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(f"{stage} (") and "took" not in line and "done before" not in line:
            break
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    else:
        return None
    began = time.monotonic()
    rest = process.stderr.read()
    code = process.wait()
    return time.monotonic() - began, code, rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["local", "ray", "tune"])
    parser.add_argument("--points", nargs="+", type=float, default=[0, 0.5, 3])
    arguments = parser.parse_args()
    print(
        "| stage | seconds after its start | stopped within | exit code | says how to resume |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        for engine in arguments.engines:
            name = f"stopped_{engine}"
            text = SWEEP.format(
                space=REPO / "search_spaces" / "ffnet_digits.yaml",
                engine=engine,
                trials=100_000 if engine != "local" else 400,
                workers=2 if engine != "local" else "null",
            )
            (folder / f"{name}.yaml").write_text(text)
            first = STAGES if engine == arguments.engines[0] else ("search",)
            if first == ("search",):  # what other engines read is the same
                for stage in STAGES[:2]:
                    start([stage, f"{name}.yaml"], folder).communicate()
            words = ["run" if first == STAGES else "search", f"{name}.yaml"]
            for stage in first:
                for after in arguments.points:
                    found = interrupt(words, folder, stage, after)
                    label = stage if stage != "search" else f"search, {engine}"
                    if found is None:
                        print(f"| {label} | {after:g} | was over | | |", flush=True)
                        continue
                    seconds, code, rest = found
                    told = "yes" if "to resume: ffnet-search" in rest else f"no: {rest[-300:]!r}"
                    print(f"| {label} | {after:g} | {seconds:.1f} s | {code} | {told} |", flush=True)
            if first == STAGES:
                last = start(words, folder)
                errors = last.communicate()[1]
                print(
                    f"| the same command again | | | {last.returncode} | {errors[-200:] if last.returncode else ''} |"
                )


if __name__ == "__main__":
    main()
