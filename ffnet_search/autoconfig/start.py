"""A first sweep: for the user's images and this machine, or the starter that comes with the program."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.atomic_write import write_text
from ffnet_search.autoconfig.budget import Budget, choose_budget
from ffnet_search.autoconfig.draft import drafts
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.render import space_text, sweep_text
from ffnet_search.config.files import shipped
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.progress import say
from ffnet_search.tasks.base import task_of

STARTER = ("sweeps/digits.yaml", "search_spaces/ffnet_digits.yaml")


@dataclass(frozen=True)
class Started:
    """The result of `init`."""

    files: tuple[Path, ...]  # the sweep first
    minutes: dict[str, float]  # of each stage; empty where nothing was measured
    lines: tuple[str, ...] = ()  # on the images and the choices, for the user

    @property
    def sweep(self) -> Path:
        return self.files[0]


def start_digits(into: Path) -> Started:
    """Write the starter on handwritten digits, as it comes with the program. Raises SweepError."""
    texts = {}
    for name in STARTER:
        source = shipped(name)
        assert source is not None, f"{name} is missing from the installed package"
        texts[into / name] = source.read_text(encoding="utf-8")
    return Started(_write(texts), {})


def start(
    folder: Path, into: Path, *, name: str | None = None, latency_ms: float | None = None, minutes: float = 15.0
) -> Started:
    """Write a sweep on the images in `folder` that costs about `minutes` here, with its search space, to `into`.

    Inspects the images and measures this machine, which takes seconds. Raises SweepError.
    """
    name = name or re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_") or "mine"
    paths = into / f"{name}.yaml", into / f"{name}_space.yaml"
    _refuse_to_overwrite(paths)
    try:
        images = inspect(folder.expanduser().resolve())
    except SweepError as error:
        raise SweepError(str(error).replace("data.path:", "--data:", 1)) from None
    began = time.monotonic()
    from ffnet_search.autoconfig.benchmark import measure_throughput

    imports_s = time.monotonic() - began
    say(f"measuring this machine on some of the {images.total:,} images ...")
    budget = choose_budget(
        drafts(images), measure_throughput, minutes=minutes, imports_s=imports_s, latency_ms=latency_ms
    )
    texts = {
        paths[0]: "\n".join(sweep_text(budget, name, latency_ms)) + "\n",
        paths[1]: "\n".join(space_text(budget.throughput.draft, name)) + "\n",
    }
    files = _write(texts)
    Sweep.from_yaml(files[0])
    lines = (str(images), *images.warnings, *_remarks(budget, minutes, latency_ms))
    return Started(files, {stage: seconds / 60 for stage, seconds in budget.seconds.items()}, lines)


def _remarks(budget: Budget, minutes: float, latency_ms: float | None) -> Iterator[str]:
    throughput, draft = budget.throughput, budget.throughput.draft
    yield (
        f"chosen: {draft.resolution} x {draft.resolution} pixels, a {draft.size.name} search space of "
        f"{draft.space.size:,} networks that take {throughput.smallest_ms:.2g} to {throughput.largest_ms:.2g} ms here, "
        f"{budget.epochs} epochs, {budget.trials} trials"
    )
    if latency_ms is not None and latency_ms >= throughput.largest_ms:
        quality = task_of(draft.space.images).quality.phrase
        yield f"--latency-ms {latency_ms:g} excludes none of them: {quality} alone decides, or give more --minutes"
    if budget.minutes > 1.25 * minutes:
        yield f"{minutes:g} min is too little for these images here; this is the least that makes sense"


def _refuse_to_overwrite(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise SweepError(f"{path} exists and is not overwritten; move it away, or give another --name")


def _write(texts: Mapping[Path, str]) -> tuple[Path, ...]:
    _refuse_to_overwrite(texts)
    for path, text in texts.items():
        try:
            write_text(path, text)
        except OSError as error:
            raise SweepError(f"{path}: cannot be written: {error.strerror}") from None
    return tuple(texts)
