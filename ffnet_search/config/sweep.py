"""A sweep: one YAML file that describes the data, training, search and export of a run; validated once, then frozen.

The rest of the program sees no raw dictionaries, path strings or missing defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from ffnet_search.config.binding import Binding, bind, sections_with
from ffnet_search.config.files import RunPaths, expanded, find_sweep, read_sweep, run_name
from ffnet_search.config.inputs import digest, export_inputs
from ffnet_search.config.rules.sections import RULES
from ffnet_search.config.schema import (
    DataSection,
    Estimated,
    ExportSection,
    LatencySection,
    ModuleSection,
    ReportSection,
    TrainSection,
)
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.config.start import is_official
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.metrics import Metric
from ffnet_search.space.hyperparameters import Value
from ffnet_search.space.registry import DEFAULT_TASK, known_metrics, task_outputs, with_recipe
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import Section, parse


def _one_or_several(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = LatencySection.model_validate(value)  # here, so that errors name `latency.rounds` without an index
    return (value,) if isinstance(value, LatencySection) else value


class Sweep(Section):
    """One validated run description."""

    name: Annotated[str, AfterValidator(run_name)]
    search_space: SearchSpace
    task: str = DEFAULT_TASK
    seed: int = Field(0, ge=0, le=2**32 - 1)  # NumPy's global generator takes no larger one
    allow_imports: bool = False  # of user-supplied classes, and programs: the answer that the command line asks for
    runs: str = "runs"  # a folder, or the URL of an object store that keeps a copy of the run's folder
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    module: ModuleSection | None = None
    # Devices; the latency on the first is `latency_ms`, that of others `latency_ms@NAME`.
    latency: Annotated[tuple[LatencySection, ...], BeforeValidator(_one_or_several), Field(min_length=1)] = (
        LatencySection(),
    )
    search: SearchSection = SearchSection()
    export: ExportSection = ExportSection()
    estimate: Mapping[Estimated, Annotated[float, Field(ge=0)]] = {}
    report: ReportSection = ReportSection()
    _path: Path = PrivateAttr(Path("sweep"))

    @classmethod
    def from_yaml(cls, path: str | Path, name: str | None = None) -> Sweep:
        """Read a sweep, or a Ray cluster file that carries one under `metadata.sweep`.

        `search_space` is a mapping, or a file named relative to the sweep; `name` is that of the run, instead of the
        sweep's. Raises SweepError."""
        path = Path(path)
        content = read_sweep(path)
        return cls.from_content(content if name is None else {**content, "name": name}, path)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: Path, where: object = None) -> Sweep:
        """Validate plain data as the sweep of the file `path`. Raises SweepError, which names `where` or the file."""
        return parse(cls, content, str(where or path), path=path)

    @classmethod
    def of_run(cls, where: str | Path) -> Sweep:
        """Read the sweep of a run's folder, which may have been moved since, of a file, or a shipped one by name.

        Raises SweepError."""
        path = find_sweep(Path(where))
        if not Path(where).is_dir():
            return cls.from_yaml(path)
        sweep = cls.from_yaml(path, "run")  # in place of a folder's name that was written, which may be none of a run
        return sweep.model_copy(update={"runs": str(path.parent.parent), "name": path.parent.name})

    def override(
        self,
        *,
        name: str | None = None,
        seed: int | None = None,
        trials: int | None = None,
        allow_imports: bool | None = None,
    ) -> Sweep:
        """The sweep with the values of a command line; None keeps the sweep's. Raises SweepError."""
        if name is None and seed is None and trials is None and allow_imports is None:
            return self
        content: dict[str, Any] = {field: getattr(self, field) for field in type(self).model_fields}
        given = {"name": name, "seed": seed, "allow_imports": allow_imports}
        content |= {field: value for field, value in given.items() if value is not None}
        if trials is not None:
            content["search"] = self.search.model_dump() | {"trials": trials}
        return self.from_content(content, self.path, "command line")

    def with_absolute_paths(self) -> Sweep:
        """The sweep with absolute paths (runs, data.path, train.start_from), for processes in other folders."""
        data, train = self.data, self.train
        if data.path is not None:
            data = data.model_copy(update={"path": expanded(data.path).absolute()})
        if train.start_from is not None and not is_official(train.start_from):
            train = train.model_copy(update={"start_from": expanded(train.start_from).absolute()})
        runs = str(self.files.folder.parent.absolute())
        return self.model_copy(update={"runs": runs, "data": data, "train": train})

    def with_values(self, values: Mapping[str, Value]) -> Sweep:
        """The sweep of a trial: hyper-parameters set to `values`. Raises SweepError if they are not allowed."""
        return self.model_copy(update=sections_with(self, values))

    def model_post_init(self, context: Any, /) -> None:
        """Keep the path that `from_content` passes; copies keep it too."""
        if context is not None:
            self._path = context["path"]

    @model_validator(mode="before")
    @classmethod
    def _sections_know_the_task(cls, content: Any) -> Any:
        """Pass a task to the search space and to `search`: its quality is an objective by default."""
        if not isinstance(content, dict) or content.get("task") in (None, DEFAULT_TASK):
            return content  # the default of the sections
        task, space, search = str(content["task"]), content.get("search_space"), content.get("search", {})
        try:
            quality = task_outputs(task).quality
        except SweepError as error:
            raise ValueError(str(error)) from None
        if isinstance(space, dict):
            content = {**content, "search_space": SearchSpace.for_task(space, task)}
        content = with_recipe(content, task)
        if not isinstance(search, dict):
            return content
        search = {"objectives": (quality.name, "latency_ms"), **search}
        metrics = search.get("metrics", {})
        if known_metrics().get(quality.name) != quality and isinstance(metrics, Mapping):
            search["metrics"] = {**metrics, quality.name: quality.direction}
        return {**content, "search": search}

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Sweep:
        for check in RULES:
            check(self)
        return self

    @property
    def path(self) -> Path:
        """The file that the sweep was read from."""
        return self._path

    @property
    def files(self) -> RunPaths:
        """The files of the sweep's run, which are in a local folder in any case."""
        return RunPaths(expanded("runs" if self.remote_runs else self.runs) / self.name)

    @property
    def remote_runs(self) -> str | None:
        """The URL of the object store that keeps a copy of the run's folder, if any."""
        return self.runs if "://" in self.runs else None

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of all that the exported front depends on."""
        return digest(export_inputs(self))

    @property
    def quality(self) -> Metric:
        """The quality that the task compares networks by."""
        return task_outputs(self.task).quality

    @property
    def uses_supernet(self) -> bool:
        """True if trials take weights of a supernet."""
        return self.search.evaluator == "supernet" or self.search.warm_start

    @property
    def searched_devices(self) -> tuple[LatencySection, ...]:
        """The devices whose latency the search knows: the first one, and those named by `latency_ms@NAME`."""
        first, *others = self.latency
        return first, *(section for section in others if section.name in self.search.device_names)

    @property
    def latency_path(self) -> Path:
        """The latency table of the first device, which gives `latency_ms`."""
        return self.files.latency_table(self.latency[0])

    def device(self, name: str) -> LatencySection:
        """The device of that name. Raises SweepError if `latency` has none."""
        sections = {section.name: section for section in self.latency if section.name}
        if name not in sections:
            raise SweepError(
                f"{self.path}: latency must have a device named {name!r}{did_you_mean(name, sections)}, but has "
                f"{', '.join(sections) or 'none with a name'}"
            )
        return sections[name]

    def metric(self, key: str) -> Metric:
        """The metric of a name in a study or a card; of one that only a user-supplied module's tests log, its name."""
        quality = [self.quality] if self.module is None else []
        try:
            return self.search.metric(key, *quality)
        except KeyError:
            return Metric(key, "minimize")

    @cached_property
    def bindings(self) -> Mapping[str, Binding]:
        """Hyper-parameter -> the field that its value sets."""
        return bind(self)
