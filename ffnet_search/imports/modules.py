"""The files of modules that import paths name, found without importing anything: a sweep may be untrusted."""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ffnet_search.errors import SweepError, shown

OURS = "ffnet_search"
IMPORT_PATH = re.compile(r"[\w.]+:\w+")


def import_paths(content: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """(field, import path) of each class that plain data name by import path."""
    if isinstance(content, Mapping):
        for key, inner in content.items():
            if key == "class_path" and isinstance(inner, str) and ":" not in inner:
                inner = ":".join(inner.rsplit(".", 1))
            yield from import_paths(inner, f"{field}.{key}" if field else str(key))
    elif isinstance(content, list | tuple):
        for index, inner in enumerate(content):
            yield from import_paths(inner, f"{field}.{index}")
    elif isinstance(content, str) and IMPORT_PATH.fullmatch(content):
        yield field, content


def add_current_folder() -> None:
    """Make modules of the current folder importable, which they are not for an installed command."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def find_module(path: str, field: str) -> Path | None:
    """The file of an import path's module; None for a module of this package. Imports nothing. Raises SweepError if it
    does not exist."""
    name, _, _ = path.partition(":")
    file = module_file(name)
    if file is None:
        raise SweepError(
            f"{field}: {shown(path)} must be package.module:Class, but there is no module {shown(name)} to import"
        )
    return None if name.partition(".")[0] == OURS else file


def module_file(name: str) -> Path | None:
    """The file or folder of a module, or None if there is none. No package is imported to look into it."""
    top, *rest = name.split(".")
    if not top.isidentifier() or not all(word.isidentifier() for word in rest):
        return None
    spec = top_level_spec(top)
    if spec is None:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    file = Path(spec.origin) if spec.has_location and spec.origin else next(iter(folders), None)
    for word in rest:
        places = [folder / word for folder in folders]
        ends = ("/__init__.py", *all_suffixes(), "")
        file = next(
            (Path(f"{place}{end}") for place in places for end in ends if os.path.exists(f"{place}{end}")), None
        )
        folders = [place for place in places if place.is_dir()]
    return file


def top_level_spec(name: str) -> ModuleSpec | None:
    """The spec of a top-level module or package; imports nothing. The current folder is searched last."""
    try:
        return find_spec(name) or PathFinder.find_spec(name, [os.getcwd()])
    except ValueError:  # of `__main__`
        return None


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    folders = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    ours = Path(__file__).parents[1]  # in a checkout in no such folder
    return (*(Path(folder).resolve() for folder in folders), ours.resolve())


def is_foreign(file: Path) -> bool:
    """True for the file of a module outside the installed packages and outside this one."""
    return not set(_installed()) & set(file.resolve().parents)


def user_line(error: BaseException) -> str:
    """The line of user-supplied code in which an error arose, ` (my_blocks.py, line 7)`; empty if there is none."""
    library = Path(sysconfig.get_paths()["stdlib"]).resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and is_foreign(file) and library not in file.resolve().parents:
            return f" ({file.name}, line {frame.lineno})"
    return ""
