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
STEPS = ["parity", "new_shapes", "step", "depthwise", "latency", "supernet", "evaluation", "front", "compile"]


def benchmark(out: Path, work: Path, *words: str, fails: bool = False) -> str:
    """Standard error of one call, tiny and on the CPU."""
    command = [sys.executable, "-c", WITHOUT, "--device", "cpu", "--tiny", "--out", str(out), "--work", str(work)]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == int(fails), done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_flow_runs_resumes_and_needs_neither_optuna_nor_ray(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    said = benchmark(out, work, "--minutes", "0.00001")
    assert "missing: parity, new_shapes" in said and "give the same command again" in said
    assert "all is done" in benchmark(out, work, "--minutes", "30")
    results = json.loads((out / "results.json").read_text())["steps"]
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_step_that_fails_is_named_and_keeps_none_of_the_others(tmp_path: Path) -> None:
    """On a GPU that is lent once, a compiler that is missing must not cost the figures after it."""
    out, work = tmp_path / "out", tmp_path / "work"
    said = benchmark(out, work, "--steps", "evaluation", "depthwise", fails=True)  # no supernet for the first
    assert "gpu: evaluation failed: FileNotFoundError" in said and "missing: evaluation; give the same" in said
    table = (out / "table.md").read_text()
    assert "depthwise 8 x 8 x 8" in table and "failed: evaluation: FileNotFoundError" in table
    content = json.loads((out / "results.json").read_text())
    del content["steps"]["depthwise"]  # as in a step that was ended after its figures
    content["figures"] = dict.fromkeys(content["figures"], "known")
    (work / "results.json").write_text(json.dumps(content))
    said = benchmark(out, work, "--steps", "evaluation", "depthwise", fails=True)
    assert said.index("gpu: depthwise") < said.index("gpu: evaluation\n")
    assert json.loads((out / "results.json").read_text())["steps"]["depthwise"]["rows"][0][1] == "known"
