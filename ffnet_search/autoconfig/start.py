"""A first sweep for the user's images and this machine, or a shipped example: YAML with a reason for each value."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, get_args

from ffnet_search.atomic_write import all_or_none, write_json, write_text
from ffnet_search.autoconfig.budget import Budget, choose_budget
from ffnet_search.autoconfig.draft import Draft, drafts
from ffnet_search.autoconfig.image_set import ImageSet
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.inspect_photos import TASK as PHOTOS
from ffnet_search.autoconfig.inspect_photos import PhotoSet, holds_pairs, inspect_photos
from ffnet_search.autoconfig.inspect_table import holds_table, inspect_table
from ffnet_search.autoconfig.photo_draft import photo_drafts
from ffnet_search.autoconfig.series_start import holds_series, start_series
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.files import run_name, shipped, shipped_sweeps
from ffnet_search.config.json_schema import FOLDER, Kind, json_schema
from ffnet_search.config.start import OFFICIAL
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.table import FILE_COLUMN
from ffnet_search.errors import NAME, SweepError, did_you_mean
from ffnet_search.formatting import figure, plural
from ffnet_search.metrics import LATENCY
from ffnet_search.progress import say
from ffnet_search.space.sides import spelled
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import few_words, split_words

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing's own from Python 3.11 on

MINUTES = 15.0  # of a run, where nothing is said
SPACE = re.compile(r"search_space: \.\./(search_spaces/\w+\.yaml)")  # in a shipped sweep


@dataclass(frozen=True)
class Started:
    """The result of `init`."""

    files: tuple[Path, ...]  # the sweep first
    minutes: dict[str, float]  # of each stage; empty where nothing was measured
    lines: tuple[str, ...] = ()  # on the images and the choices, for the user

    @property
    def sweep(self) -> Path:
        return self.files[0]


def start_example(name: str, into: Path) -> Started:
    """Write a shipped sweep with its search space, as they come with the program. Raises SweepError."""
    sweep = shipped(f"sweeps/{name}.yaml")
    if sweep is None:
        raise SweepError(f"--example must be a shipped sweep, but got {name!r}{did_you_mean(name, shipped_sweeps())}")
    texts = {into / f"sweeps/{name}.yaml": sweep.read_text(encoding="utf-8")}
    for space in SPACE.findall(texts[into / f"sweeps/{name}.yaml"]):
        source = shipped(space)
        assert source is not None, f"{space} is missing from the installed package"
        texts[into / space] = source.read_text(encoding="utf-8")
    return Started(_write(texts), {})


class Requirements(TypedDict, total=False):
    """The user's requirements. `minutes`: the time that a run may take on this machine, 15 by default. `pretrained`: an
    official checkpoint to start from, whose network the space then holds. `task`: for images whose layout does not
    determine it."""

    name: str | None
    latency_ms: float | None
    minutes: float
    pretrained: str | None
    task: str | None


def start(folder: Path, into: Path, **requirements: Unpack[Requirements]) -> Started:
    """Write a sweep on the images in `folder`, with its search space, or on a CSV of series, to `into`.

    Inspects the images and measures this machine, which takes seconds. Raises SweepError."""
    pretrained, task = requirements.get("pretrained"), requirements.get("task")
    latency_ms, minutes = requirements.get("latency_ms"), requirements.get("minutes", MINUTES)
    _check_requirements(pretrained, task)
    place = Path(os.path.realpath(os.path.expanduser(folder)))
    name = _name(place, requirements.get("name"))
    paths = into / f"{name}.yaml", into / f"{name}_space.yaml"
    if place not in map(Path.resolve, paths):  # else the data are no data, which is said below
        _refuse_to_overwrite(paths, ", or give another --name")
    if task is None and holds_series(place):
        series = start_series(place, minutes, {"--pretrained": pretrained, "--latency-ms": latency_ms})
        return _started({paths[0]: series.text(name)}, series.stage_minutes, series.lines)
    images = _inspected(place, task)
    began = time.monotonic()
    from ffnet_search.autoconfig.benchmark import measure_throughput

    imports_s = time.monotonic() - began
    say(f"measuring this machine on some of the {images.total:,} images ...")
    budget = choose_budget(
        _drafts(images, pretrained), measure_throughput, minutes=minutes, imports_s=imports_s, latency_ms=latency_ms
    )
    texts = {
        paths[0]: "\n".join(sweep_text(budget, name, latency_ms)) + "\n",
        paths[1]: "\n".join(space_text(budget.throughput.draft, name)) + "\n",
    }
    lines = str(images), *images.warnings, *remarks(budget, minutes, latency_ms)
    return _started(texts, budget.stage_minutes, lines)


def _started(texts: Mapping[Path, str], minutes: dict[str, float], lines: Iterable[str]) -> Started:
    """Write the files, the sweep first, and read it once."""
    into = next(iter(texts)).parent
    schemas = {into / FOLDER / f"{kind}.schema.json": kind for kind in get_args(Kind)}
    with all_or_none((*texts, *schemas)):
        files = _write(texts)
        for path, kind in schemas.items():  # which the first lines of the files refer editors to
            write_json(path, json_schema(kind))
        Sweep.from_yaml(files[0])
    return Started(files, minutes, tuple(lines))


def _check_requirements(pretrained: str | None, task: str | None) -> None:
    if task not in (None, PHOTOS):
        raise SweepError(
            f"--task must be {PHOTOS}, or left out, since every other task shows in the data, but got {task!r}"
        )
    if pretrained is not None and pretrained not in OFFICIAL:
        raise SweepError(
            f"--pretrained must be one of {', '.join(OFFICIAL)}, but got {pretrained!r}"
            f"{did_you_mean(pretrained, OFFICIAL)}"
        )


def _name(place: Path, name: str | None) -> str:
    """The name of the sweep: the user's, or one made from that of the images' folder. Raises SweepError."""
    name = name or re.sub(r"[^A-Za-z0-9_-]+", "_", place.stem if place.is_file() else place.name).strip("_-")[:NAME]
    name = name or "mine"
    try:
        run_name(name)
    except ValueError as error:
        raise SweepError(f"--name {error}") from None
    return name


def _inspected(place: Path, task: str | None) -> ImageSet:
    try:
        if task == PHOTOS or holds_pairs(place):
            return inspect_photos(place)
        return inspect_table(place) if holds_table(place) else inspect(place)
    except SweepError as error:
        sentence = str(error).replace("data.path:", "--data:", 1)
        raise SweepError(sentence + _hint(sentence)) from None


def _hint(sentence: str) -> str:
    """The other contents that data of no known layout may have been meant to have."""
    if FILE_COLUMN in sentence or "one CSV file" in sentence:
        return (
            f"; or put the images into a folder per class; or add --task {PHOTOS} for photos to enlarge; a series to "
            "forecast is a CSV of numbers (decimals with a point), with a row for each step"
        )
    is_folder = "folder per class" in sentence and "no such folder" not in sentence and "is a file" not in sentence
    return f"; or add --task {PHOTOS} for photos to enlarge" if is_folder else ""


def _drafts(images: ImageSet, pretrained: str | None) -> list[Draft]:
    if not isinstance(images, PhotoSet):
        return drafts(images, pretrained)
    if pretrained is not None:
        raise SweepError(
            f"--pretrained must be left out for photos to enlarge, which {pretrained} was not made for; "
            "train.start_from takes official FFNet-SR weights"
        )
    return photo_drafts(images)


def remarks(budget: Budget, minutes: float, latency_ms: float | None) -> Iterator[str]:
    """The choices and their reasons, a line each."""
    throughput, draft = budget.throughput, budget.throughput.draft
    times = f"{figure(throughput.smallest_ms)} to {LATENCY.format(throughput.largest_ms)}"
    yield (
        f"chosen: {spelled(draft.sides)} pixels, a {draft.size.name} search space of "
        f"{draft.space.size:,} networks that take {times} here, "
        f"{plural(budget.epochs, 'epoch')}, {plural(budget.trials, 'trial')}"
    )
    yield f"{budget.comparison}"
    if task_of(draft.space.images).quality.unit == "%" and task_of(draft.space.images).is_mean:
        of = budget.images + budget.held_out if draft.images.validations is None else None
        yield split_words(budget.held_out, of, budget.validation)
    elif few := few_words(budget.held_out):
        yield few
    if latency_ms is not None and latency_ms >= throughput.largest_ms:
        quality = task_of(draft.space.images).quality.phrase
        yield f"--latency-ms {latency_ms:g} excludes none of them: {quality} alone decides, or give more --minutes"
    if budget.minutes > 1.25 * minutes:
        yield f"{minutes:g} min is too little for these images here; this is the least that makes sense"


def _refuse_to_overwrite(paths: Iterable[Path], or_else: str = "") -> None:
    for path in paths:
        if path.exists():
            raise SweepError(f"{path} exists and is not overwritten; move it away{or_else}")


def _write(texts: Mapping[Path, str]) -> tuple[Path, ...]:
    _refuse_to_overwrite(texts)
    with all_or_none(texts):
        for path, text in texts.items():
            write_text(path, text)
    return tuple(texts)
