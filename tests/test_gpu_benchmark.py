"""`benchmarks/gpu.py` runs its whole flow on a CPU, without Optuna and Ray: no minute on a GPU is lost to a slip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT = (
    "import runpy, sys\nfor name in ('optuna', 'ray'):\n    sys.modules[name] = None\n"
    "sys.argv[0] = 'benchmarks/gpu.py'\nrunpy.run_path(sys.argv[0], run_name='__main__')"
)
STEPS = ["parity", "step", "compile", "depthwise", "latency", "supernet", "evaluation", "front"]


def benchmark(out: Path, work: Path, *words: str) -> str:
    """Standard error of one call, tiny and on the CPU."""
    command = [sys.executable, "-c", WITHOUT, "--device", "cpu", "--tiny", "--out", str(out), "--work", str(work)]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_flow_runs_resumes_and_needs_neither_optuna_nor_ray(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    said = benchmark(out, work, "--minutes", "0.00001")
    assert "missing: parity, step" in said and "give the same command again" in said
    assert "all is done" in benchmark(out, work, "--minutes", "30")
    results = json.loads((out / "results.json").read_text())
    assert list(results) == STEPS
    table = (out / "table.md").read_text()
    for step in results.values():
        assert step["rows"]
        for what, figure in step["rows"]:
            assert f"| {what} | {figure} | CPU" in table
    files = {path.name for path in out.iterdir()}
    assert "supernet.ckpt" in files and len(files) <= 8
    again = tmp_path / "again"
    said = benchmark(again, tmp_path / "other", "--earlier", str(out))  # another machine
    assert "all is done" in said and "gpu: parity" not in said
    assert (again / "table.md").read_text() == table
