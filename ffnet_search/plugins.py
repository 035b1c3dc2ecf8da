"""Classes by a registered name or by import path, `package.module:Class`, with their arguments.

Every family of siblings has a visible dict `name -> "package.module:Class"`, its registry. Where a sweep names a
sibling, it can name a user-supplied class by import path instead; modules are found in the current folder too.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import Field, field_validator, model_validator

from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.strict_yaml import Section

Registry = Mapping[str, str]
NONE: Registry = {}
INSTALL = {  # package -> what installs it, where that is not the package itself
    "openvino": "pip install 'ffnet-search[openvino]'",
    "coremltools": "pip install 'ffnet-search[coreml]'",
    "optuna_dashboard": "pip install 'ffnet-search[dashboard]'",
    "tensorboard": "pip install 'ffnet-search[tensorboard]'",
}


class Plugin(Section):
    """A class and its arguments, spelled as by Lightning: `{class_path: package.module:Class, init_args: {...}}`.

    The class path alone suffices without arguments. `package.module.Class` is read as `package.module:Class`."""

    class_path: str = Field(min_length=1)
    init_args: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, content: Any) -> Any:
        return {"class_path": content} if isinstance(content, str) else content

    @field_validator("class_path", mode="before")
    @classmethod
    def _with_colon(cls, path: Any) -> Any:
        if not isinstance(path, str) or ":" in path:
            return path
        module, dot, name = path.rpartition(".")
        return f"{module}:{name}" if dot else path


def is_import_path(name: str) -> bool:
    """True where `name` is spelled `package.module:Class`, and not the name of a registered sibling."""
    return ":" in name


def import_path(name: str, field: str, registry: Registry = NONE) -> str:
    """The import path of a registered name, or the path that `name` is. Raises SweepError for an unknown name."""
    if name in registry:
        return registry[name]
    if is_import_path(name):
        return name
    what = f"one of {', '.join(registry)} or package.module:Class" if registry else "package.module:Class"
    raise SweepError(f"{field} must be {what}, but got {name!r}{did_you_mean(name, registry) if registry else ''}")


def add_current_folder() -> None:
    """Let modules of the current folder be imported: an installed command does not look there by itself."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def find_module(path: str, field: str) -> None:
    """Raise SweepError where the module of an import path does not exist, without importing it."""
    name, _, _ = path.partition(":")
    add_current_folder()
    try:
        exists = find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # its package does not exist, or it is no name of a module
        exists = False
    if not exists:
        raise SweepError(f"{field}: {path!r} must be package.module:Class, but there is no module {name!r} to import")


def find_class(name: str, field: str, base: type[Any] = object, registry: Registry = NONE) -> type[Any]:
    """The class of a registered name or an import path, which must be a subclass of `base`.

    `field` opens the sentence of a SweepError, raised where the name is unknown, the module or the class does not exist
    or needs a package that is not installed, or the class is of another kind."""
    path = import_path(name, field, registry)
    find_module(path, field)
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise SweepError(
            f"{field} {name!r} needs {package}, which is not installed; run: "
            f"{INSTALL.get(package, f'pip install {package}')}"
        ) from None
    cls = getattr(module, attribute, None)
    if isinstance(cls, type) and issubclass(cls, base):
        return cls
    kinds = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and v is not base]
    problem = "does not exist" if cls is None else f"is {cls!r}"
    wanted = "class" if base is object else base.__name__
    raise SweepError(
        f"{field}: {path!r} must name a {wanted}, but {attribute} {problem}{did_you_mean(attribute, kinds)}"
    )


def check_arguments(cls: type[Any], arguments: Mapping[str, Any], field: str) -> None:
    """Raise SweepError where a class does not take these arguments."""
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [name for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        unknown = [name for name in arguments if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise SweepError(f"{field} must fit {cls.__name__}{signature}, but: {error}{hint}") from None
