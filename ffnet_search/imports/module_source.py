"""The source of a module, parsed but not imported, since a sweep may be untrusted: the names that it binds."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ffnet_search.imports.modules import module_file

MAX_BYTES = 1 << 20  # of a source that is read
OPENING = {"__getattr__", "globals", "exec", "setattr", "vars", "locals", "__dict__"}  # by which names may come
BLOCKS = ("FunctionDef", "AsyncFunctionDef", "ClassDef", "Lambda")  # with names of their own


@dataclass(frozen=True)
class ModuleSource:
    """The names that a module binds, each with the statements that do. `stars`: modules of which it imports all names;
    `is_open`: it may bind others."""

    module: str
    is_package: bool
    bound: Mapping[str, Sequence[ast.AST]]
    stars: tuple[str, ...]
    is_open: bool
    is_deferred: bool  # annotations stay text

    def absolute(self, node: ast.ImportFrom) -> str:
        """The full name of a module that is imported from."""
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


def syntax_error(path: str) -> SyntaxError | None:
    """The error with which an import path's module cannot be compiled."""
    text = _text(path.partition(":")[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if text is not None:
                compile(*text, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        pass
    return None


def _text(module: str) -> tuple[bytes, str] | None:
    """The source of a module and its file."""
    file = module_file(module)
    if file is None or file.suffix != ".py":
        return None
    try:
        fits = file.is_file() and file.stat().st_size <= MAX_BYTES
        return (file.read_bytes(), str(file)) if fits else None
    except OSError:
        return None


def read_source(module: str) -> ModuleSource | None:
    """The source of a module; None where there is none, or none that can be parsed."""
    text = _text(module)
    return None if text is None else _parsed(module, *text)


@lru_cache(maxsize=64)
def _parsed(module: str, text: bytes, file: str) -> ModuleSource | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, file)
    except (SyntaxError, ValueError, MemoryError):
        return None
    bound: dict[str, list[ast.AST]] = {}
    imports = [node for node in statements(tree) if isinstance(node, ast.ImportFrom)]
    for node in statements(tree):
        for name in bound_names(node):
            bound.setdefault(name, []).append(node)
    words = {getattr(node, "id", None) or getattr(node, "attr", None) for node in ast.walk(tree)}
    deferred = any(one.module == "__future__" and "annotations" in bound_names(one) for one in imports)
    made = any(isinstance(node, ast.Global) for node in ast.walk(tree)) or b"sys.modules" in text
    opened = made or bool(OPENING & (words | bound.keys()))
    source = ModuleSource(module, file.endswith("__init__.py"), bound, (), opened, deferred)
    stars = tuple(source.absolute(one) for one in imports if one.names[0].name == "*")
    return ModuleSource(module, source.is_package, bound, stars, opened, deferred)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module that run in it, in blocks too, without the bodies of functions and classes."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if type(node).__name__ not in BLOCKS:
            yield from statements(node)


def bound_names(node: ast.AST) -> list[str]:
    """The names that a node binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [one.asname or one.name.partition(".")[0] for one in node.names if one.name != "*"]
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []
