"""Commands for a sweep, in words that can be typed: its file or its run's folder, with the options that make it this
one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffnet_search.config.files import RunPaths, expanded, shipped
from ffnet_search.config.resolved import written_content
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.files.bounded import read_json

WORDS = "sweep"  # in a run's record: the words that stood for its sweep on the command line
MISSING = {"profile": ("--seed", "--trials"), "train": ("--trials",)}  # options that a verb does not take


def command_of(verb: str, sweep: Sweep) -> str:
    """The command that does `verb` with a sweep: `ffnet-search run flowers.yaml --name second`.

    Of a run's folder with the words of its first command, where they still lead to it: they name the file that the
    user edits, and the folder has a copy."""
    return shlex.join(["ffnet-search", verb, *_fitting(words_of(sweep), MISSING.get(verb, ()))])


def words_of(sweep: Sweep) -> list[str]:
    """The words that stand for a sweep on a command line."""
    if os.path.realpath(sweep.path) != os.path.realpath(sweep.files.sweep):
        return [_file(sweep.path), *_options(sweep)]
    words = recorded_words(sweep.files)
    return words if words and _leads_to(words, sweep.files) else [str(sweep.files.folder)]


def recorded_words(files: RunPaths) -> list[str]:
    """The words in a run's record; empty if there are none."""
    try:
        words: Any = read_json(files.state).get(WORDS)
    except (OSError, ValueError, RecursionError, AttributeError):
        return []
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


def _file(path: Path) -> str:
    return path.stem if path == shipped(f"sweeps/{path.name}") else str(path)


def _options(sweep: Sweep) -> list[str]:
    """The options by which a sweep differs from its file."""
    written = written_content(sweep.path)
    seed, trials = Sweep.model_fields["seed"].default, SearchSection.model_fields["trials"].default
    search = written.get("search")
    pairs = {
        "--name": (written.get("name"), sweep.name),
        "--seed": (written.get("seed", seed), sweep.seed),
        "--trials": (search.get("trials", trials) if isinstance(search, dict) else trials, sweep.search.trials),
    }
    options = [word for name, (file, here) in pairs.items() if file != here for word in (name, str(here))]
    return [*options, "--allow-imports"] if sweep.allow_imports and not written.get("allow_imports") else options


def _fitting(words: Sequence[str], missing: Sequence[str]) -> list[str]:
    """The words without the options of a value that a verb does not take."""
    return [word for before, word in zip(["", *words], words, strict=False) if not {before, word} & set(missing)]


def _leads_to(words: Sequence[str], files: RunPaths) -> bool:
    """True if the words still name a file here whose run is that of the folder."""
    path = shipped(f"sweeps/{words[0]}.yaml") or Path(words[0])
    written = written_content(path)
    name = words[words.index("--name") + 1] if "--name" in words[:-1] else written.get("name")
    runs = str(written.get("runs", Sweep.model_fields["runs"].default))
    parent = Path("runs") if "://" in runs else expanded(runs)
    return bool(written) and os.path.realpath(parent / str(name)) == os.path.realpath(files.folder)
