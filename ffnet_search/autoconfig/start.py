"""A first sweep for a person: for their pictures and this machine, or the starter that came with the program."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ffnet_search.config.sweep import Sweep
from ffnet_search.config.sweep_file import shipped
from ffnet_search.errors import SweepError
from ffnet_search.progress import say

if TYPE_CHECKING:
    from ffnet_search.autoconfig.budget import Budget

STARTER = ("sweeps/digits.yaml", "search_spaces/ffnet_digits.yaml")


@dataclass(frozen=True)
class Started:
    """What was written, the first file being the sweep, and what a run of it costs."""

    files: tuple[Path, ...]
    minutes: dict[str, float]  # per stage; empty where nothing was measured
    lines: tuple[str, ...] = ()  # what a person should know of it

    @property
    def sweep(self) -> Path:
        return self.files[0]


def start_digits(into: Path) -> Started:
    """Writes the starter on handwritten digits, the files that came with the program. Raises SweepError."""
    texts = {}
    for name in STARTER:
        source = shipped(name)
        assert source is not None, f"{name} is missing from the installed package"
        texts[into / name] = source.read_text(encoding="utf-8")
    return Started(_write(texts), {})


def start(
    folder: Path, into: Path, *, name: str | None = None, latency_ms: float | None = None, minutes: float = 15.0
) -> Started:
    """Looks at the pictures in `folder`, measures this machine for some seconds, and writes a sweep that costs about
    `minutes`, with its search space, to `into`. Raises SweepError."""
    from ffnet_search.autoconfig.draft import drafts
    from ffnet_search.autoconfig.inspect import look

    name = name or re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_") or "mine"
    paths = into / f"{name}.yaml", into / f"{name}_space.yaml"
    _refuse_to_overwrite(paths)
    try:
        found = look(folder.expanduser().resolve())
    except SweepError as error:
        raise SweepError(str(error).replace("data.path:", "--data:", 1)) from None
    began = time.monotonic()
    from ffnet_search.autoconfig.benchmark import measure_pace
    from ffnet_search.autoconfig.budget import choose_amounts
    from ffnet_search.autoconfig.render import space_text, sweep_text

    imports = time.monotonic() - began
    say(f"measuring this machine on some of the {found.pictures:,} pictures ...")
    amounts = choose_amounts(drafts(found), measure_pace, minutes=minutes, imports=imports, latency_ms=latency_ms)
    texts = {
        paths[0]: "\n".join(sweep_text(amounts, name, latency_ms)) + "\n",
        paths[1]: "\n".join(space_text(amounts.draft, name)) + "\n",
    }
    files = _write(texts)
    Sweep.from_yaml(files[0])
    told = [str(found), *found.warnings, *_remarks(amounts, minutes, latency_ms)]
    return Started(files, {stage: seconds / 60 for stage, seconds in amounts.seconds.items()}, tuple(told))


def _remarks(amounts: Budget, minutes: float, latency_ms: float | None) -> Iterator[str]:
    pace, size = amounts.pace, amounts.draft.size.name
    yield (
        f"chosen: {amounts.draft.resolution} x {amounts.draft.resolution} pixels, a {size} search space of "
        f"{amounts.draft.space.size:,} networks that take {pace.smallest_ms:.2g} to {pace.largest_ms:.2g} ms here, "
        f"{amounts.epochs} epochs, {amounts.trials} trials"
    )
    if latency_ms is not None and latency_ms >= pace.largest_ms:
        yield f"--latency-ms {latency_ms:g} excludes none of them: accuracy alone decides, or give more --minutes"
    if amounts.minutes > 1.25 * minutes:
        yield f"{minutes:g} min is too little for these pictures here; this is the least that makes sense"


def _refuse_to_overwrite(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise SweepError(f"{path} is there already and is not overwritten; move it away, or give another --name")


def _write(texts: Mapping[Path, str]) -> tuple[Path, ...]:
    _refuse_to_overwrite(texts)
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SweepError(f"{path}: cannot be written: {error.strerror}") from None
    return tuple(texts)


__all__ = ["Started", "start", "start_digits"]
