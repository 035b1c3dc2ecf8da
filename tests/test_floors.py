"""The map of the code: which floor each module is on, and that imports only go down.

A module imports lower floors only, or a sibling of its own folder that stands above it here. Tests and benchmarks may
import anything.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ffnet_search"

FLOORS = {  # in reading order; a package stands for its __init__, below its modules
    "": 0,
    "errors": 0,
    "progress": 0,
    "stopping": 0,
    "figures": 0,
    "parts": 0,
    "architecture": 0,
    "imports": 1,
    "provenance": 1,
    "changes": 1,
    "proposal": 1,
    "schedule": 1,
    "hyperparameters": 1,
    "choices": 1,
    "search_space": 1,
    "latency": 1,
    "pareto": 1,
    "early_stopping": 1,
    "learning_curves": 1,
    "front": 1,
    "drawing": 1,
    "handover": 1,
    "reachable": 2,
    "sections": 2,
    "settings": 2,
    "runfiles": 2,
    "sweepfile": 2,
    "sweep": 2,
    "picks": 2,
    "models.ranks": 3,
    "models.elastic": 3,
    "models.mixers": 3,
    "models.metamixer": 3,
    "models.calibrate": 3,
    "models.reference": 3,
    "models.fuse": 3,
    "models.backbone": 3,
    "models.onnx": 3,
    "models": 3,
    "data.source": 3,
    "data.augment": 3,
    "data.loader": 3,
    "data.module": 3,
    "data.digits": 3,
    "data.cifar": 3,
    "data.folder": 3,
    "data.foreign": 3,
    "data.build": 3,
    "data": 3,
    "recipe": 4,
    "supernet": 4,
    "profiling.protocol": 4,
    "profiling.model": 4,
    "profiling.backend": 4,
    "profiling.eager": 4,
    "profiling.ort": 4,
    "profiling.ov": 4,
    "profiling.command": 4,
    "profiling.predictor": 4,
    "profiling.calibration": 4,
    "profiling.journal": 4,
    "profiling.plan": 4,
    "profiling.bench": 4,
    "profiling.measure": 4,
    "profiling.build": 4,
    "profiling.trust": 4,
    "profiling": 4,
    "threads": 3,
    "trainer": 5,
    "train": 5,
    "launch": 5,
    "evaluate": 5,
    "attempt": 5,
    "own_module": 5,
    "trial": 5,
    "evaluators": 5,
    "mailbox": 5,
    "starter.look": 6,
    "starter.draft": 6,
    "starter.cost": 6,
    "starter.plan": 6,
    "starter.text": 6,
    "starter": 6,
    "search.tpe": 6,
    "search.memory": 6,
    "search.sampler": 6,
    "search.reader": 6,
    "search.writer": 6,
    "search.study": 6,
    "search.nearby": 6,
    "search.copies": 6,
    "search.history": 6,
    "search.answers": 6,
    "search.lean": 6,
    "search.rerun": 6,
    "search.dashboard": 6,
    "search.referee": 6,
    "search.proposer": 6,
    "search.under_way": 6,
    "search.ask_tell": 6,
    "search.loop": 6,
    "search.local": 6,
    "search.connect": 6,
    "search.device": 6,
    "search.remote": 6,
    "search.cluster": 6,
    "search.trainee": 6,
    "search.population": 6,
    "search.scheduler": 6,
    "search.tune": 6,
    "search.keeper": 6,
    "search.training": 6,
    "search.submit": 6,
    "search": 6,
    "export_own": 6,
    "export": 6,
    "coreml": 3,
    "formats": 6,
    "report.picture": 7,
    "report.curves": 7,
    "report.content": 7,
    "report.page": 7,
    "report.plain": 7,
    "report.notes": 7,
    "report": 7,
    "mirror": 7,
    "runfolder": 7,
    "pipeline": 7,
    "pick": 7,
    "lookup": 7,
    "show": 7,
    "documents": 7,
    "cli.options": 8,
    "cli.stages": 8,
    "cli.results": 8,
    "cli": 8,
    "__main__": 8,
}
UPWARDS = {("sweep", "pipeline")}  # Sweep.run(), a convenience for notebooks: documented there, by import_module
HEAVY = {"torch", "lightning", "torchmetrics", "optuna", "ray", "onnx", "onnxruntime", "sklearn", "matplotlib"}
ORDER = list(FLOORS)


def modules() -> dict[str, Path]:
    """Name without `ffnet_search.` -> file; packages by their folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        steps = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """Full names of all modules that `name` imports anywhere in its text, lazily or for types only."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write the module's full name"
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (full if ours(full) in MODULES else node.module for full in inner)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def ours(full: str) -> str | None:
    """`search_space` of `ffnet_search.search_space`; None for modules of others."""
    package, _, name = full.partition(".")
    return name if package == PACKAGE.name else None


def parent(name: str) -> str:
    return name.rpartition(".")[0]


def are_siblings(name: str, other: str) -> bool:
    """Side by side in a folder; the modules of a package are siblings of its __init__ too."""
    return parent(other) in (parent(name), name)


def test_every_module_is_on_the_map() -> None:
    assert set(MODULES) - set(FLOORS) == set(), "add these to FLOORS"
    assert set(FLOORS) - set(MODULES) == set(), "these are gone; take them out of FLOORS"


@pytest.mark.parametrize("name", [name for name in MODULES if name in FLOORS])
def test_imports_go_down(name: str) -> None:
    for other in filter(None, map(ours, imported(name))):
        assert other in FLOORS, f"{name} imports {other}, which is not on the map"
        below = FLOORS[other] < FLOORS[name]
        level = FLOORS[other] == FLOORS[name]
        sibling_above = level and are_siblings(name, other) and ORDER.index(other) < ORDER.index(name)
        assert below or sibling_above or (name, other) in UPWARDS, f"{name} must not import {other}"


@pytest.mark.parametrize("name", [name for name in MODULES if name in FLOORS])
def test_heavy_packages_stay_where_they_are_needed(name: str) -> None:
    packages = {full.partition(".")[0] for full in imported(name)}
    if FLOORS[name] <= 2:
        assert not packages & HEAVY, "floors 0 to 2 are values, usable without torch"
    if not name.startswith("search"):
        assert not packages & {"optuna", "ray"}, "only search/ knows Optuna and Ray"


def loaded_by(code: str) -> set[str]:
    """Which packages a fresh interpreter has loaded after `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


@pytest.mark.parametrize("name", ["cli", "sweep", "pareto", "reachable", "latency", "pipeline", "show", ""])
def test_what_is_light_loads_nothing_heavy(name: str) -> None:
    module = f"{PACKAGE.name}.{name}".rstrip(".")
    assert not loaded_by(f"import {module}") & HEAVY


def test_help_needs_nothing_of_ours_but_the_command_line() -> None:
    assert not loaded_by("import ffnet_search.cli") & {"pydantic", "yaml", "numpy"}


def test_floors_0_to_2_work_without_torch() -> None:
    names = [f"{PACKAGE.name}.{name}".rstrip(".") for name, floor in FLOORS.items() if floor <= 2]
    assert not loaded_by("\n".join(f"import {name}" for name in names)) & HEAVY
