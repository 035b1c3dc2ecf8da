"""The files of a sweep and of its run.

A sweep's file is alone, carried by a Ray cluster's file, or shipped with the program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import NAME, START, SweepError, did_you_mean, shown
from ffnet_search.formatting import quoted
from ffnet_search.imports.consent import ask_for_imports
from ffnet_search.progress import say
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml

RUN_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME - 1}}}")
PLACES = (("data", "path"), ("train", "start_from"))  # fields of a sweep that name files relative to it
LAST_CHECKPOINT = "last.ckpt"  # in the folder of a training: what it resumes from
NOT_PUBLIC = {"folder", "lock", "scratch", "front_csv", "folds"}


class RunPaths:
    """The names of a run's files. Each is written by one stage and read by later ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / ".lock"
        self.scratch = folder / ".scratch"  # temporary files, removed when the next command starts
        self.state = folder / "run.json"  # for each stage, the inputs of its output and when it finished
        self.sweep = folder / "sweep.yaml"  # a copy, its search space included
        self.training = folder / "training"  # checkpoints and logs of the supernet's training
        self.supernet = folder / "supernet.ckpt"
        self.latency = folder / "latency"  # one table per device
        self.study = folder / "study.db"
        self.candidates = folder / "candidates.csv"
        self.trials = folder / "trials"  # for each trial that trained a folder: checkpoint, logs, weights
        self.retrained = folder / "retrained"  # for each network that was retrained a folder, as in `trials`
        self.folds = folder / "folds"  # the same for each network that was cross-validated, in each fold
        self.pareto = folder / "pareto"
        self.front_csv = self.pareto / "front.csv"
        self.yardstick = folder / "yardstick"  # networks scaled by hand, as the front's are exported
        self.front_png = folder / "front.png"
        self.report = folder / "report.html"
        self.fidelity = folder / "fidelity"  # the supernet's ranking against networks trained alone
        self.artifacts = folder / "artifacts"  # files that Optuna Dashboard shows

    @property
    def public(self) -> Mapping[str, Path]:
        """Name -> path of the files that users and scripts read, whether they exist or not."""
        return {name: path for name, path in vars(self).items() if name not in NOT_PUBLIC}

    @property
    def folders(self) -> set[Path]:
        """The places of the run that are folders."""
        return {
            *(self.folder, self.scratch, self.training, self.latency, self.trials, self.retrained, self.folds),
            *(self.pareto, self.yardstick, self.fidelity, self.artifacts),
        }

    def all(self) -> list[Path]:
        """All places of a run, and the files of unfinished work in them, whether they exist or not."""
        names = ("latency/*.json", "latency/*.json.journal", "training/*.ckpt", f"{self.study.name}?*")
        return [*vars(self).values(), *(path for name in names for path in sorted(self.folder.glob(name)))]

    def previous(self) -> Path:
        """The path of a new folder, named by date, for results that are about to be replaced."""
        aside = self.folder / f"previous-{datetime.now():%Y-%m-%dT%H-%M-%S}"
        while aside.exists():
            aside = aside.with_name(aside.name + "-again")
        return aside

    def latency_table(self, section: LatencySection) -> Path:
        """The latency table of a device: by its name, else by backend, threads and batch size."""
        backend = PurePath(section.backend.rpartition(":")[2]).name  # no path leads out of the folder
        precision = "" if section.precision == "float32" else f"-{section.precision}"
        name = section.name or f"{backend}{precision}-t{section.threads}-b{section.batch_size}"
        return self.latency / f"{name}.json"


def refuse_foreign(files: RunPaths) -> None:
    """Raise SweepError for a folder that holds files and is not of a run."""
    if not files.folder.is_dir() or os.path.lexists(files.state):
        return
    before_records = {files.lock.name, files.scratch.name, files.sweep.name}  # written before the first record
    foreign = sorted(path.name for path in files.folder.iterdir() if path.name not in before_records)
    if foreign:
        raise SweepError(
            f"{files.folder}: must be new, empty or the folder of a run, but holds {foreign[0]} and no "
            f"{files.state.name}; take another name with --name, or move its files away"
        )


def run_name(name: str) -> str:
    """The name of a run and of its folder; raises ValueError where it cannot be one."""
    if not RUN_NAME.fullmatch(name):
        raise ValueError(
            f"must be letters, digits, '.', '_' and '-', at most {NAME} of them and a letter or digit first, but got "
            f"{shown(name)}; give another with --name"
        )
    return name


def read_sweep(path: Path) -> dict[str, Any]:
    """Read the content of a sweep's file, or of the sweep that a cluster's file carries.

    `search_space` is a mapping, or a file, which is read too. It, `data.path` and `train.start_from` are relative to
    the sweep. Raises SweepError, also if it needs imports that the user has not allowed."""
    written = read_yaml(path, f"; {START}")
    content = {"name": path.stem, **carried_by(written, path)}
    programs = [*_programs(content), *_proxies(written)]
    if "provider" not in written:  # what a cluster's file names is on the cluster
        is_shipped = path == shipped(f"sweeps/{path.name}")  # named so, and not by the path in a checkout
        content = _with_places(content, Path("sweeps") if is_shipped else path.parent)
    space = content.get("search_space")
    if space is None and {"input", "stages"} <= content.keys():
        raise SweepError(f"{path}: must be a sweep, but is a search space; a sweep names it: search_space: {path.name}")
    if isinstance(space, str):
        place = path.parent / space
        if not os.path.exists(place):  # a cluster's head gets the sweep alone
            place = shipped(f"search_spaces/{place.name}") or place
        named = SearchSpace.content_of(place)
        if "search_space" in named:
            raise SweepError(f"{place}: must be a search space, but is a sweep; change search_space in {path}")
        ask_for_imports({**content, "search_space": named}, path, programs)
        content["search_space"] = SearchSpace.from_yaml(place, content.get("task"))
    else:
        if "search_space" in content and not isinstance(space, dict):
            raise SweepError(
                f"{path}: search_space must be a mapping of keys to values, or the name of a file that holds one, but "
                f"got {shown(space)}"
            )
        if space is not None:
            content["search_space"] = SearchSpace.located(space, path.parent)
        ask_for_imports(content, path, programs)
    return content


def _with_places(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The content of a sweep in `folder`, its relative paths made relative to the working folder. A path that exists
    relative to the working folder alone is accepted; `train.start_from` may also be a name."""
    for section, field in PLACES:
        values = content.get(section)
        given = values.get(field) if isinstance(values, dict) else None
        if not isinstance(given, str) or not given or os.path.isabs(os.path.expanduser(given)):
            continue
        place = folder / given if folder.is_dir() else Path(os.path.normpath(folder / given))
        exists = os.path.exists(place)
        if not exists and os.path.exists(given):
            _say_once(
                f"{section}.{field}: {given} is read from the working folder, since {place} does not exist; write the "
                "path as it is from the sweep's file"
            )
        elif exists or section == "data":
            content = {**content, section: {**values, field: str(place)}}  # type: ignore[dict-item]
    return content


def expanded(path: str | Path) -> Path:
    """The path with the user's home folder in place of `~`."""
    return Path(os.path.expanduser(path))


@lru_cache
def _say_once(text: str) -> None:
    say(text)


def _programs(content: Mapping[str, Any]) -> list[str]:
    """The programs that measuring the latency of a sweep, as plain data, runs."""
    devices = content.get("latency")
    programs = []
    for device in devices if isinstance(devices, list) else [devices]:
        if isinstance(device, Mapping) and device.get("backend") == "command":
            arguments = device.get("init_args")
            command = arguments.get("command") if isinstance(arguments, Mapping) else None
            if command:  # else the backend says that it must be given
                programs.append(f"{shown(command)} (latency.init_args.command)")
    return programs


def _proxies(written: Mapping[str, Any]) -> list[str]:
    """The program that ssh would run on this machine to reach a cluster."""
    auth = written.get("auth") if "provider" in written else None
    proxy = auth.get("ssh_proxy_command") if isinstance(auth, Mapping) else None
    return [f"{shown(proxy)} (auth.ssh_proxy_command)"] if proxy else []


def find_sweep(where: Path) -> Path:
    """The sweep file of a run's folder, `where` itself if that is a file, or the shipped sweep of that name.

    Raises SweepError if `where` is none of them."""
    if not os.path.exists(where) and where.suffix not in (".yaml", ".yml"):
        if (found := shipped(f"sweeps/{where}.yaml")) is not None and len(where.parts) == 1:
            return found
        runs = [str(path.parent) for path in where.parent.glob("*/sweep.yaml")]
        is_name = len(where.parts) == 1
        hint = did_you_mean(str(where), [*runs, *(shipped_sweeps() if is_name else ())])
        hint = hint or f"; {where.parent} holds no run"
        raise SweepError(f"{where}: must be the folder of a run, or a sweep file, but does not exist{hint}")
    if not os.path.isdir(where):
        return where
    path = RunPaths(where.resolve() if where.name in ("", "..") else where).sweep
    if not path.exists():
        raise SweepError(
            f"{where}: must be a sweep file or the folder of a run, but holds no {path.name}; "
            f"for images, `ffnet-search init --data {quoted(where)}` writes one"
        )
    return path


def is_cluster(path: Path) -> bool:
    """True if a file is that of a Ray cluster, which may carry a sweep, and not a sweep alone."""
    return "provider" in read_yaml(path)


def carried_by(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The sweep in the content of a Ray cluster's file; the content of any other file as it is. Raises SweepError."""
    if "provider" not in content:
        return content
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    carried = metadata.get("sweep")
    if not isinstance(carried, dict):
        keys = [str(key) for key in metadata]
        hint = did_you_mean(keys[0], ["sweep"]) if keys else ""
        raise SweepError(
            f"{path}: is a Ray cluster file, which must carry its sweep as a mapping under metadata.sweep, but "
            f"metadata holds {', '.join(keys) or 'nothing'}{hint}"
        )
    return {"name": content.get("cluster_name"), **carried}


def shipped(name: str) -> Path | None:
    """A file that is shipped, such as `sweeps/digits.yaml`: beside the package in a checkout, else inside it."""
    places = (parent / name for parent in Path(__file__).parents[1:3])
    return next((path for path in places if os.path.exists(path)), None)


def shipped_sweeps() -> list[str]:
    """The names of the sweeps that are shipped."""
    folder = shipped("sweeps")
    return [] if folder is None else sorted(path.stem for path in folder.glob("*.yaml"))
