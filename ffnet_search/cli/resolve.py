"""What a word on the command line stands for: a preset, what a file holds, or a run's front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.space.architecture import PRESETS, Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml

if TYPE_CHECKING:
    from ffnet_search.export.exported import ExportedNetwork
    from ffnet_search.latency.table import LatencyTable


@dataclass(frozen=True)
class Shown:
    """What a name stands for: its file or preset, and an architecture, a space, a table, a sweep, or a run's front."""

    name: str
    value: Architecture | SearchSpace | LatencyTable | Sweep | Sequence[ExportedNetwork]


def look_up(what: str) -> Shown:
    """The front of a run's folder, or what a file or a preset holds. Raises SweepError for anything else."""
    path = Path(what)
    if what in PRESETS:
        return Shown(what, Architecture.preset(what))
    if path.is_dir():
        return _look_up_run(path)
    if path.suffix == ".json":
        from ffnet_search.latency.table import LatencyTable

        return Shown(what, LatencyTable.load(path))
    if path.suffix in (".yaml", ".yml"):
        return Shown(path.name, _read(path))
    hint = "" if path.exists() else did_you_mean(what, PRESETS)
    raise SweepError(
        f"{what}: must be a YAML file (search space, architecture, sweep), a latency table (JSON), the folder of a "
        f"run or a preset{hint}"
    )


def _read(path: Path) -> Architecture | SearchSpace | Sweep:
    content = read_yaml(path)
    stages = content.get("stages")
    if "search_space" in content or "provider" in content:
        return Sweep.from_yaml(path)
    if isinstance(stages, list) and any(isinstance(stage, dict) and "blocks" in stage for stage in stages):
        try:
            return Architecture.from_dict(content)
        except (ValueError, KeyError, TypeError) as error:
            raise SweepError(f"{path}: must hold what Architecture.to_dict writes, but has {error!r}") from None
    return SearchSpace.from_yaml(path)


def _look_up_run(path: Path) -> Shown:
    from ffnet_search.run.pipeline import read_front

    files = RunPaths(path)
    if (path / "architecture.yaml").exists():  # of one network of a front
        return Shown("architecture.yaml", _read(path / "architecture.yaml"))
    if not files.state.exists():
        raise SweepError(f"{path}: must be the folder of a run, but holds no {files.state.name}")
    picks = read_front(files)
    if not picks:
        raise SweepError(f"{path}: has no front yet; make it with `ffnet-search run {files.sweep}`")
    return Shown(str(path), picks)
