"""The source files of user-supplied classes, which are sent with a sweep to the machines of a cluster."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from ffnet_search.imports.modules import import_paths, top_level_spec

INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that every node has to have by itself


def user_code(content: Any) -> tuple[Path, ...]:
    """Return the modules (`.py`) and packages (folders) that hold the classes named in `content`, and their imports.

    `content` is a sweep or a section as plain data; a class is named by import path, `package.module:Class`. What is
    installed is left out: the nodes of a cluster have the same packages."""
    sources: dict[str, Path] = {}
    names = {path.partition(":")[0].partition(".")[0] for _, path in import_paths(content)}
    while names:
        name = names.pop()
        source = _own_source(name)
        if source is not None and name not in sources:
            sources[name] = source
            names |= _imports(source)
    return tuple(sorted(sources.values()))


def _own_source(name: str) -> Path | None:
    """The source of a top-level module or package; None if it is installed, is ours, or does not exist."""
    if name in sys.stdlib_module_names or name == "ffnet_search":
        return None
    spec = top_level_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        source = Path(next(iter(spec.submodule_search_locations)))
    else:
        source = Path(spec.origin or "")
    is_python = source.is_dir() or source.suffix == ".py"
    return source if is_python and not INSTALLED & set(source.parts) else None


def _imports(source: Path) -> set[str]:
    """Top-level names of the modules that a module or a package imports."""
    names = set()
    for path in source.rglob("*.py") if source.is_dir() else [source]:
        if not path.is_file():  # a pipe would be waited for
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):  # a template, or of another Python: no import reads it
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names
