"""Somebody's class by import path: `package.module:Class`, looked for where the command is run too."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ffnet_search.errors import SweepError, did_you_mean


def find_module(path: str, field: str) -> None:
    """Raises SweepError where the module in `path` is not there; does not import it."""
    name, _, _ = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # an installed command does not look there by itself
    try:
        found = find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # its package is not there, or it is no name
        found = False
    if not found:
        raise SweepError(f"{field}: {path!r} must be package.module:Class, but there is no module {name!r} to import")


def find_class(path: str, field: str, base: type[Any]) -> type[Any]:
    """The class that `path` names, of kind `base`. Raises SweepError where there is none, naming the nearest."""
    find_module(path, field)
    name, _, attribute = path.partition(":")
    module = import_module(name)
    kinds = {n: v for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and v is not base}
    found = getattr(module, attribute, None)
    if isinstance(found, type) and issubclass(found, base):
        return found
    said = "is not there" if found is None else f"is {found!r}"
    raise SweepError(
        f"{field}: {path!r} must name a {base.__name__}, but {attribute} {said}{did_you_mean(attribute, kinds)}"
    )


def must_take(found: type, args: Mapping[str, Any], field: str) -> None:
    """Raises SweepError where a class does not take these arguments."""
    signature = inspect.signature(found)
    try:
        signature.bind(**args)
    except TypeError as error:
        known = [name for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        unknown = [name for name in args if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise SweepError(f"{field} must fit {found.__name__}{signature}, but: {error}{hint}") from None
