"""The values that an argument of the command line can name: a preset, the content of a file, a run's front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ffnet_search.config.commands import command_of
from ffnet_search.config.files import RunPaths, shipped_sweeps
from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean, shown
from ffnet_search.export.exported import CARD, ExportedNetwork, read_exported, read_network
from ffnet_search.files.bounded import read_json
from ffnet_search.formatting import quoted
from ffnet_search.latency.table import LatencyTable
from ffnet_search.space.architecture import PRESETS, Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml

TABLE = frozenset({"entries", "setting", "version"})  # keys of a latency table


@dataclass(frozen=True)
class Front:
    """The exported front of a run, best first."""

    sweep: Sweep
    networks: Sequence[ExportedNetwork]


Shown = Architecture | SearchSpace | LatencyTable | Sweep | Front | ExportedNetwork


def resolve(word: str) -> Shown:
    """Read the preset, file or folder that `word` names: a file of a run or of a network stands for that. Raises
    SweepError for anything else."""
    path = Path(word)
    if word in PRESETS:
        return Architecture.preset(word)
    if path.is_dir():
        return _resolve_folder(path)
    if path.exists() and (path.parent / CARD).exists() and path.name != ARCHITECTURE:
        return read_network(path.parent)
    if path.suffix == ".json" and path.name != RunPaths(path.parent).state.name:
        return _read_json(path)
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    if path.exists() and _run_of(path.parent) is not None:
        return _resolve_folder(path.parent)
    if word in shipped_sweeps():
        return Sweep.of_run(path)
    if not path.exists():
        beside = {one.name: str(one) for one in path.parent.iterdir()} if path.parent.is_dir() else {}
        near = [beside[name] for name in get_close_matches(path.name, beside, n=1)]  # whole paths begin alike
        names = [*PRESETS, *shipped_sweeps()] if len(path.parts) == 1 else []
        hint = did_you_mean(word, [*names, *near])
        raise SweepError(f"{word}: must be a file, a folder, a preset or a shipped sweep, but there is none{hint}")
    raise SweepError(
        f"{word}: must be a YAML file (search space, architecture, sweep), a latency table (JSON), the folder of a "
        "run or of a network, or a file of one"
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


def _read_json(path: Path) -> LatencyTable:
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        return LatencyTable.load(path)  # which says what is wrong with it
    if isinstance(content, dict) and not TABLE & set(content):
        raise SweepError(
            f"{path}: must be a latency table or the {CARD} of an exported network, but holds {shown(list(content))}"
        )
    return LatencyTable.load(path)


def _resolve_folder(path: Path) -> Shown:
    """Read the folder of a run, of the networks or tables in it, or of one network."""
    if (path / CARD).exists():
        return read_network(path)
    if (path / ARCHITECTURE).exists():
        return _read(path / ARCHITECTURE)
    run = _run_of(path)
    if run is None:
        is_latency = path.name == "latency" and _run_of(path.parent) is not None
        if is_latency and (tables := sorted(path.glob("*.json"))):
            return LatencyTable.load(tables[0])
        raise SweepError(f"{path}: must be the folder of a run, but holds no {RunPaths(path).state.name}{_other(path)}")
    networks = read_exported(run.pareto)
    if not networks:
        has_sweep = run.sweep.exists()
        again = command_of("run", Sweep.of_run(run.folder)) if has_sweep else "ffnet-search run SWEEP"
        raise SweepError(f"{path}: has no front yet; make it with `{again}`")
    return Front(Sweep.of_run(run.folder), networks)


def _run_of(folder: Path) -> RunPaths | None:
    """The run of which this is the folder, or the folder of its exported networks."""
    files = RunPaths(folder.parent if folder.name == "pareto" else folder)
    return files if files.state.exists() else None


def _other(path: Path) -> str:
    """Advice for a folder that is not of a run."""
    if next(path.glob("*/run.json"), None) is not None:
        return f"; `ffnet-search list {quoted(path)}` lists the runs in it"
    if any(one.is_dir() for one in path.iterdir()):
        return f"; for a folder of images, `ffnet-search init --data {quoted(path)}` writes a sweep"
    return "; `ffnet-search run SWEEP` makes one"
