"""Static analysis of the classes that import paths name: nothing is imported, since a sweep may be untrusted.

What a source leaves open (a class that a call makes, a decorator, a metaclass, names that are set while it runs) is
unknown here. A run, which imports, tells.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import Any

from ffnet_search.imports.module_source import ModuleSource, bound_names, read_source, statements

MAX_STEPS = 12  # imports and bases that are followed
ABSTRACT = {"ABCMeta", "abc.ABCMeta"}  # the metaclass that leaves the making of objects as it is


@dataclass(frozen=True)
class SourceClass:
    """A class in the source that defines it."""

    source: ModuleSource
    node: ast.ClassDef

    @property
    def signature(self) -> inspect.Signature | None:
        """The arguments it is made with, as `inspect.signature` of the class; None if the source does not tell."""
        try:
            found = _initialiser(self, MAX_STEPS)
        except RecursionError:  # of a hostile source
            return None
        return None if found is None else _signature(*found) if found else inspect.Signature()


@dataclass(frozen=True)
class MissingClass:
    """A class that does not exist: its module, of this source, binds no such name."""

    source: ModuleSource

    def siblings(self, base: str) -> list[str]:
        """The names of the module's classes that descend from one called `base`; all, where that is `class`."""
        kinds = (ast.ClassDef, ast.ImportFrom) if self.source.is_package else ast.ClassDef
        names = [name for name, (node, *_) in self.source.bound.items() if isinstance(node, kinds)]
        return [name for name in names if base == "class" or _descends(self.source, name, base, MAX_STEPS)]


Initialiser = tuple[ModuleSource, ast.FunctionDef] | tuple[()]
OBJECT: tuple[()] = ()  # the initialiser of a class without one


def source_class(path: str) -> SourceClass | MissingClass | None:
    """The class of an import path; None if the source does not tell."""
    module, _, name = path.partition(":")
    try:
        return _find(module, name, MAX_STEPS)
    except RecursionError:  # of a hostile source
        return None


def _find(module: str, name: str, steps: int) -> SourceClass | MissingClass | None:
    source = read_source(module) if steps else None
    if source is None:
        return None
    nodes = source.bound.get(name, ())
    if not nodes:
        starred = [_find(star, name, steps - 1) for star in source.stars]
        if any(one is None for one in starred):
            return None
        known = [one for one in starred if isinstance(one, SourceClass)]
        return known[0] if known else None if source.is_open else MissingClass(source)
    [node, *others] = nodes
    if others:
        return None
    if isinstance(node, ast.ClassDef):
        return SourceClass(source, node)
    if isinstance(node, ast.ImportFrom):
        [original] = [one.name for one in node.names if (one.asname or one.name) == name]
        found = _find(source.absolute(node), original, steps - 1)
        return None if isinstance(found, MissingClass) else found  # a module's own module, or one that an import made
    return None


def _descends(source: ModuleSource, name: str, base: str, steps: int) -> bool:
    found = _find(source.module, name, steps)
    return isinstance(found, SourceClass) and _has_base(found, base, steps)


def _has_base(one: SourceClass, base: str, steps: int) -> bool:
    bases = [base_class(one.source, node, steps) for node in one.node.bases] if steps else []
    known = [found for found in bases if isinstance(found, SourceClass)]
    return any(found.node.name == base or _has_base(found, base, steps - 1) for found in known)


def _initialiser(one: SourceClass, steps: int) -> Initialiser | None:
    """The `__init__` of a class, or of its bases, with its source; None if that is not known."""
    node = one.node
    metaclasses = [ast.unparse(keyword.value) for keyword in node.keywords]
    bound = [name for inner in statements(node) for name in bound_names(inner)]
    if not steps or node.decorator_list or set(metaclasses) - ABSTRACT or {"__new__", "__signature__"} & {*bound}:
        return None
    made = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
    if "__init__" in bound:
        plain = len(made) == bound.count("__init__") == 1 and not made[0].decorator_list and made[0].args.args
        return (one.source, made[0]) if plain else None
    found: list[Initialiser] = []
    for base in node.bases:
        of_base = base_class(one.source, base, steps - 1)
        inherited = _initialiser(of_base, steps - 1) if isinstance(of_base, SourceClass) else of_base
        if inherited is None:
            return None
        if inherited and inherited not in found:
            found.append(inherited)
    return None if len(found) > 1 else found[0] if found else OBJECT


def base_class(source: ModuleSource, base: ast.expr, steps: int) -> SourceClass | tuple[()] | None:
    """A base class by its expression: a name, or one of an imported module."""
    first, *rest = ast.unparse(base).split(".")
    if not rest:
        if first == "object" and first not in source.bound:
            return OBJECT
        found = _find(source.module, first, steps)
        return found if isinstance(found, SourceClass) else None
    nodes = source.bound.get(first, ())
    if len(nodes) != 1 or not isinstance(nodes[0], ast.Import | ast.ImportFrom):
        return None
    [alias] = [one for one in nodes[0].names if (one.asname or one.name.partition(".")[0]) == first]
    if isinstance(nodes[0], ast.ImportFrom):
        module = f"{source.absolute(nodes[0])}.{alias.name}"
    else:
        module = alias.name if alias.asname else first
    found = _find(".".join([module, *rest[:-1]]), rest[-1], steps)
    return found if isinstance(found, SourceClass) else None


class _Text:
    """A value that prints as its source."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(source: ModuleSource, node: ast.FunctionDef) -> inspect.Signature:
    arguments, empty = node.args, inspect.Parameter.empty

    def annotation(given: ast.expr | None) -> Any:
        if given is None:
            return empty
        return _Text(repr(ast.unparse(given)) if source.is_deferred else ast.unparse(given))

    def make(one: ast.arg, kind: Any, default: ast.expr | None = None) -> inspect.Parameter:
        value = empty if default is None else _value(default)
        return inspect.Parameter(one.arg, kind, default=value, annotation=annotation(one.annotation))

    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    kinds: list[Any] = [inspect.Parameter.POSITIONAL_ONLY] * len(arguments.posonlyargs)
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(arguments.args)
    parameters = [make(*one) for one in zip(plain, kinds, defaults, strict=True)][1:]  # without self
    if arguments.vararg:
        parameters.append(make(arguments.vararg, inspect.Parameter.VAR_POSITIONAL))
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters += [make(one, inspect.Parameter.KEYWORD_ONLY, default) for one, default in keywords]
    if arguments.kwarg:
        parameters.append(make(arguments.kwarg, inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters, return_annotation=annotation(node.returns))


def _value(default: ast.expr) -> Any:
    try:
        return ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError):
        return _Text(ast.unparse(default))
