"""The values that a word on the command line can name: a preset, the content of a file, a run's front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.config.files import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.latency.table import LatencyTable
from ffnet_search.space.architecture import PRESETS, Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml


@dataclass(frozen=True)
class Front:
    """The exported front of a run, best first."""

    sweep: Sweep
    networks: Sequence[ExportedNetwork]


def resolve(word: str) -> Architecture | SearchSpace | LatencyTable | Sweep | Front:
    """Read the preset, file or run's folder that `word` names. Raises SweepError for anything else."""
    path = Path(word)
    if word in PRESETS:
        return Architecture.preset(word)
    if path.is_dir():
        return _resolve_folder(path)
    if path.suffix == ".json":
        return LatencyTable.load(path)
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    hint = "" if path.exists() else did_you_mean(word, PRESETS)
    raise SweepError(
        f"{word}: must be a YAML file (search space, architecture, sweep), a latency table (JSON), the folder of a "
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


def _resolve_folder(path: Path) -> Architecture | SearchSpace | Sweep | Front:
    """Read the folder of a run, or of one network of its front."""
    files = RunPaths(path)
    if (path / "architecture.yaml").exists():
        return _read(path / "architecture.yaml")
    if not files.state.exists():
        raise SweepError(f"{path}: must be the folder of a run, but holds no {files.state.name}")
    networks = read_exported(files.pareto)
    if not networks:
        raise SweepError(f"{path}: has no front yet; make it with `ffnet-search run {files.sweep}`")
    return Front(Sweep.of_run(path), networks)
