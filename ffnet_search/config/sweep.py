"""A sweep: one YAML file that says what is trained, profiled, searched and exported, validated once and then frozen.

Below this module nobody sees a dict, a path string or a default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, model_validator

from ffnet_search.config import binding
from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.schema import (
    DataSection,
    ExportSection,
    LatencySection,
    ModuleSection,
    SearchSection,
    TrainSection,
)
from ffnet_search.config.sweep_file import carried_by, find_space
from ffnet_search.errors import START, SweepError, did_you_mean
from ffnet_search.metrics import COSTS
from ffnet_search.space.configuration import Value
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import Section, parse, read_yaml

_HOW = {
    "engine",
    "resources",
    "workers",
    "wait_minutes",
    "trials",
    "early_stopping",
    "storage",
}  # of search: how fast and how much, not what
STAGES = ("profile", "train", "search", "export")  # in this order: a bad budget is seen before training


class Sweep(Section):
    """One validated run description.

    >>> sweep = Sweep.from_yaml("sweeps/digits.yaml")  # doctest: +SKIP
    >>> sweep.run()  # doctest: +SKIP
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    search_space: SearchSpace
    seed: int = Field(0, ge=0)
    runs: Path = Path("runs")
    mirror: str | None = None  # where the run's folder is copied to; in YAML, a URL as `runs` stands for it
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    module: ModuleSection | None = None
    latency: LatencySection = LatencySection()
    devices: tuple[LatencySection, ...] = ()  # more of them: in YAML, `latency` is then a list, the search's own first
    search: SearchSection = SearchSection()
    export: ExportSection = ExportSection()
    _path: Path = PrivateAttr(Path("sweep"))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Sweep:
        """Reads a sweep, or a Ray cluster file that carries one under `metadata.sweep`. `search_space` is a mapping, or
        a file named relative to the sweep. Raises SweepError."""
        path = Path(path)
        content = carried_by(read_yaml(path, f"; {START}"), path)
        space = content.get("search_space")
        if isinstance(space, str):
            content["search_space"] = SearchSpace.from_yaml(find_space(path.parent / space))
        elif isinstance(space, dict):
            content["search_space"] = SearchSpace.located(space, path.parent)
        sweep = parse(cls, {"name": path.stem, **content}, str(path))
        sweep._path = path
        return sweep

    @classmethod
    def of_run(cls, where: str | Path) -> Sweep:
        """Of a run's folder, which may have been moved since (by its copy of the sweep), or of a sweep file."""
        folder = Path(where)
        if not folder.exists() and folder.suffix not in (".yaml", ".yml"):
            there = [str(path.parent) for path in folder.parent.glob("*/sweep.yaml")]
            hint = did_you_mean(str(folder), there)
            raise SweepError(f"{where}: must be the folder of a run, or a sweep file, but there is none{hint}")
        if not folder.is_dir():
            return cls.from_yaml(folder)
        folder = folder if folder.name else folder.resolve()
        path = RunPaths(folder).sweep
        if not path.exists():
            raise SweepError(f"{where}: must be a sweep file or the folder of a run, but holds no {path.name}")
        return cls.from_yaml(path).model_copy(update={"runs": folder.parent, "name": folder.name})

    def override(self, *, name: str | None = None, seed: int | None = None, trials: int | None = None) -> Sweep:
        """The sweep with other values, as a command line gives them; None keeps what is there. Raises SweepError."""
        values = {field: getattr(self, field) for field in type(self).model_fields}
        values |= {key: value for key, value in (("name", name), ("seed", seed)) if value is not None}
        if trials is not None:
            values["search"] = self.search.model_dump() | {"trials": trials}
        sweep = parse(type(self), values, "command line")
        sweep._path = self._path
        return sweep

    def absolute(self) -> Sweep:
        """The sweep with absolute paths, for processes that run elsewhere."""
        values = {field: getattr(self, field) for field in type(self).model_fields} | {"runs": self.runs.absolute()}
        if self.data.path is not None:
            values["data"] = self.data.model_copy(update={"path": self.data.path.absolute()})
        sweep = parse(type(self), values, str(self.path))
        sweep._path = self._path
        return sweep

    @model_validator(mode="before")
    @classmethod
    def _runs_may_be_a_url(cls, content: Any) -> Any:
        if isinstance(content, dict) and "://" in str(content.get("runs", "")):
            return {**content, "runs": cls.model_fields["runs"].default, "mirror": str(content["runs"])}
        return content

    @model_validator(mode="before")
    @classmethod
    def _first_device_is_searched_for(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("latency"), list) and content["latency"]:
            first, *others = content["latency"]
            return {**content, "latency": first, "devices": [*others, *content.get("devices", ())]}
        return content

    @model_validator(mode="after")
    def _sections_agree(self) -> Sweep:
        names = [section.name for section in (self.latency, *self.devices)]
        if self.devices and (None in names or len(set(names)) < len(names)):
            raise ValueError(f"latency: each of several devices must have a name of its own, but they are {names}")
        if self.data.batch_size % self.train.devices or self.data.batch_size < 2 * self.train.devices:
            raise ValueError(
                f"data.batch_size must be a multiple of train.devices, with 2 images for each of them, but got "
                f"{self.data.batch_size} for {self.train.devices}"
            )
        for name in self.search.devices:
            if name not in names:
                there = [str(known) for known in names if known]
                raise ValueError(
                    f"search: latency_ms@{name} must name a device of latency{did_you_mean(name, there)}, but there "
                    f"are: {', '.join(there) or 'none with a name'}"
                )
        elastic = any(
            min(kernels) == 3 < max(kernels)
            for stage in self.search_space.stages
            for kernels in (stage.token_kernel, stage.channel_kernel)
        )
        if self.train.branches == "reference" and elastic:
            raise ValueError(
                "train.branches must be 'all' or 'none' where a stage offers kernel 3 beside larger ones, but got "
                "'reference' (its 3 x 3 and larger convolutions have different parameters, so they cannot share)"
            )
        return self

    @model_validator(mode="after")
    def _evaluator_fits(self) -> Sweep:
        space, search = self.search_space, self.search
        if search.evaluator != "train":
            trained = {
                "search_space.hyperparameters": space.hyperparameters,
                "search_space.architecture": space.architecture,
                "module": self.module,
                "search.warm_start": search.warm_start,
            }
            for field, value in trained.items():
                if value:
                    raise ValueError(f"search.evaluator must be 'train' where {field} is given, but is 'supernet'")
        if space.has_network == (self.module is not None):
            raise ValueError(
                "module must be given where search_space has neither stages nor an architecture, and only there"
            )
        if search.metrics and self.module is None:
            raise ValueError("search.metrics must be left out where there is no module that logs them")
        if search.warm_start and not space.is_elastic:
            raise ValueError("search.warm_start must be left out where search_space has no stages, for a supernet")
        self._known_metrics_vary()
        binding.check(self)
        if search.warm_start and {"branches", "layer_scale"} & space.hyperparameters.keys():
            raise ValueError("hyperparameters: branches and layer_scale are the supernet's under search.warm_start")
        return self

    def _known_metrics_vary(self) -> None:
        """Without architectures to choose from, nothing is known of a trial before it."""
        if self.search_space.is_elastic:
            return
        known = set(COSTS) - ({"latency_ms"} if self.module else set())
        idle = [name for name in self.search.objectives if name in known]
        if idle:
            raise ValueError(
                f"search.objectives must not have {', '.join(idle)}, which would be the same for every trial of this "
                "search space; remove it, or give the space stages"
            )
        if self.search.constraints:
            raise ValueError(
                "search.constraints must be left out where search_space has no stages: all trials are alike"
            )

    @property
    def path(self) -> Path:
        """The file that the sweep was read from."""
        return self._path

    @property
    def stages(self) -> tuple[str, ...]:
        """Those of `STAGES` that the search needs."""
        needed = {
            "profile": self.search_space.is_elastic,
            "train": self.search.evaluator == "supernet" or self.search.warm_start,
        }
        return tuple(stage for stage in STAGES if needed.get(stage, True))

    def with_values(self, values: Mapping[str, Value]) -> Sweep:
        """The sweep of a trial: its hyper-parameters in their places."""
        sweep = self.model_copy(update=binding.sections(self, values))
        sweep._path = self._path
        return sweep

    @property
    def files(self) -> RunPaths:
        return RunPaths(self.runs / self.name)

    @property
    def searched(self) -> tuple[LatencySection, ...]:
        """The devices that the search knows the latency of: its own, and those named by `latency_ms@NAME`."""
        others = (section for section in self.devices if section.name in self.search.devices)
        return self.latency, *others

    @property
    def latency_path(self) -> Path:
        """The latency table that the search reads."""
        return self.files.latency_table(self.latency)

    def on_device(self, name: str) -> Sweep:
        """The sweep whose search reads the table of device `name`. Raises SweepError where it has no such device."""
        sections = {section.name: section for section in (self.latency, *self.devices) if section.name}
        if name not in sections:
            raise SweepError(
                f"{self.path}: latency must have a device named {name!r}{did_you_mean(name, sections)}, but has "
                f"{', '.join(sections) or 'none with a name'}"
            )
        sweep = self.model_copy(update={"latency": sections[name], "devices": ()})
        sweep._path = self._path
        return sweep

    def inputs(self, stage: str) -> dict[str, Any]:
        """All that a stage's output depends on, as plain data: where it changed, the output is of another sweep. What
        only says how much (`amounts`) or how fast is left out: more trials continue what is there."""
        space = self.search_space.model_dump(mode="json", exclude={"name", "hyperparameters"}, exclude_none=True)
        data = self.data.model_dump(mode="json", exclude={"workers", "download", "path", "in_memory_mb"})
        train = self.train.model_dump(mode="json", exclude={"checkpoint_minutes", "devices"})
        latency, *others = (
            section.model_dump(mode="json", exclude={"noisy", "min_within_10", "name"}, exclude_none=True)
            for section in self.searched
        )
        if others:
            latency["others"] = {str(s.name): dump for s, dump in zip(self.searched[1:], others, strict=True)}
        search = self.search.model_dump(mode="json", exclude=_HOW)
        inputs: dict[str, Any] = {"search_space": space}
        if stage != "profile":
            inputs |= {"seed": self.seed, "data": data, "train": train}
        if stage != "train":
            inputs |= {"latency": latency}
        if stage in ("search", "export"):
            inputs |= {"search": search}
            if self.search_space.hyperparameters:
                inputs["hyperparameters"] = [  # a list: their order matters
                    {"name": name} | one.model_dump(mode="json", exclude_defaults=True)
                    for name, one in self.search_space.hyperparameters.items()
                ]
            if self.module:
                inputs["module"] = self.module.model_dump(mode="json")
        if stage == "export":
            inputs |= {"export": self.export.model_dump(mode="json", exclude={"top"})}
        return inputs

    def amounts(self, stage: str) -> dict[str, int]:
        """How much of a stage is wanted: where it changed, the stage goes on from what is there."""
        trials, top = {"trials": self.search.trials}, {"top": self.export.top}
        return {"search": trials, "export": trials | top}.get(stage, {})

    def digest(self, stage: str) -> str:
        """16 hexadecimal digits of `inputs`."""
        return hashlib.sha256(json.dumps(self.inputs(stage), sort_keys=True).encode()).hexdigest()[:16]

    def run(self, *, fresh: bool = False) -> Any:
        """Runs all stages, skips what is done, and returns the picks. See `ffnet_search.run.pipeline.run`."""
        return import_module("ffnet_search.run.pipeline").run(self, fresh=fresh)  # a convenience that points upwards


__all__ = ["STAGES", "Sweep", "SweepError"]
