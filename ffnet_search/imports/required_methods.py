"""The methods that a class of Lightning's must define to be trained, looked for in the class or in its source.

What a method or a caller sets on the object, by `self.training_step = ...` or setattr, counts as defined."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ffnet_search.errors import SweepError
from ffnet_search.formatting import listed
from ffnet_search.imports.module_source import bound_names, statements
from ffnet_search.imports.source_class import ABSTRACT, MAX_STEPS, SourceClass, base_class

BY_HAND = "automatic_optimization"  # a module that sets it may optimise without `configure_optimizers`
MODULE: Mapping[str, str] = {
    "training_step": "the loss of a batch",
    "configure_optimizers": "an optimiser of its parameters",
}
DATA: Mapping[str, str] = {"train_dataloader": "the batches of an epoch"}


def refuse_lacking(field: str, name: str, methods: Mapping[str, str], defined: Iterable[str] | None) -> None:
    """Raise SweepError if the class `name` lacks one of `methods` (name -> what it returns). `defined`: the names that
    it defines; None if that is unknown."""
    if defined is None:
        return
    known = {*defined}
    known |= {"configure_optimizers"} if BY_HAND in known else set()
    lacking = [f"{method} (returns {result})" for method, result in methods.items() if method not in known]
    if lacking:
        words = "it" if len(lacking) == 1 else "them"
        raise SweepError(
            f"{field}: {name} must define {listed(lacking)}, but does not, so that no trial could be trained; "
            f"add {words} to the class"
        )


def defined_names(kind: type[Any], base: type[Any]) -> set[str] | None:
    """The names that a class defines beside its base, on objects too; None if it sets names that are not known."""
    own = [vars(one) for one in kind.__mro__ if not issubclass(base, one)]
    codes = [value.__code__ for names in own for value in names.values() if hasattr(value, "__code__")]
    if any("setattr" in code.co_names for code in codes):
        return None
    stored = {one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"}
    return stored.union(*own)


def source_names(one: SourceClass, base: str, steps: int = MAX_STEPS) -> set[str] | None:
    """The names that the source of a class and those of its bases define, down to the one called `base`; None if that
    is not known."""
    node = one.node
    if node.name == base:
        return set()
    nodes: Sequence[ast.AST] = list(ast.walk(node))
    metaclasses = {ast.unparse(keyword.value) for keyword in node.keywords}
    is_open = any(isinstance(inner, ast.Name) and inner.id == "setattr" for inner in nodes)
    if not steps or node.decorator_list or metaclasses - ABSTRACT or is_open:
        return None
    names = {name for inner in statements(node) for name in bound_names(inner)}
    names |= {inner.attr for inner in nodes if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)}
    for expression in node.bases:
        found = base_class(one.source, expression, steps - 1)
        inherited = source_names(found, base, steps - 1) if isinstance(found, SourceClass) else found
        if inherited is None:
            return None
        names |= {*inherited}
    return names
