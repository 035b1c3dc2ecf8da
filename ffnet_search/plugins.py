"""Classes by a registered name or by import path, `package.module:Class`, with their arguments.

Every family of siblings has a visible dict `name -> "package.module:Class"`, its registry. Where a sweep names a
sibling, it can name a user-supplied class by import path instead; modules are found in the current folder too.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import Field, field_validator, model_validator

from ffnet_search.errors import SweepError, did_you_mean, shown
from ffnet_search.formatting import listed
from ffnet_search.imports.consent import may_import_foreign
from ffnet_search.imports.modules import add_current_folder, find_module, is_foreign
from ffnet_search.provenance import installed_versions
from ffnet_search.strict_yaml import Section

Registry = Mapping[str, str]
NONE: Registry = {}
INSTALL = {  # package -> what installs it, where that is not the package itself
    "optuna_dashboard": "pip install 'ffnet-search[dashboard]'",
    "tensorboard": "pip install 'ffnet-search[tensorboard]'",
}
FORMER = {"name": "class_path", "path": "class_path", "args": "init_args"}  # spellings of a `Plugin`


def spelled(content: Any) -> Any:
    """The content of a `Plugin` with its current field names, if it is a class path alone or has former ones."""
    if not isinstance(content, Mapping):
        return {"class_path": content} if isinstance(content, str) else content
    return {key if FORMER.get(key) in content else FORMER.get(key, key): content[key] for key in content}


class Plugin(Section):
    """A class and its arguments, spelled as by Lightning: `{class_path: package.module:Class, init_args: {...}}`.

    The class path alone suffices without arguments. `package.module.Class` is read as `package.module:Class`."""

    class_path: str = Field(min_length=1)
    init_args: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, content: Any) -> Any:
        return spelled(content)

    @field_validator("class_path", mode="before")
    @classmethod
    def _with_colon(cls, path: Any) -> Any:
        if not isinstance(path, str) or ":" in path:
            return path
        module, dot, name = path.rpartition(".")
        return f"{module}:{name}" if dot else path


def is_import_path(name: str) -> bool:
    """True if `name` is spelled `package.module:Class`, and not the name of a registered sibling."""
    return ":" in name


def import_path(name: str, field: str, registry: Registry = NONE) -> str:
    """The import path of a registered name, or the path that `name` is. Raises SweepError for an unknown name."""
    if name in registry:
        return registry[name]
    if is_import_path(name):
        return name
    what = f"one of {', '.join(registry)} or package.module:Class" if registry else "package.module:Class"
    module, dot, attribute = name.rpartition(".")
    known = [f"{module}:{attribute}"] if dot else registry
    raise SweepError(f"{field} must be {what}, but got {shown(name)}{did_you_mean(name, known) if known else ''}")


def is_installed(package: str) -> bool:
    """True if a package can be imported; imports nothing. A folder of that name without modules does not count."""
    spec = find_spec(package)
    return spec is not None and (spec.has_location or bool(installed_versions(package)))


def require_packages(cls: Any, field: str, name: str) -> None:
    """Raise SweepError where one of `cls.packages` is not installed, with the extra of this program that brings it."""
    for package in cls.packages:
        if not is_installed(package):
            raise not_installed(field, name, package, cls.extra)


def not_installed(field: str, name: str, package: str, extra: str | None = None) -> SweepError:
    """The error for a class that needs a package which is not installed; `extra` of this program's brings it."""
    install = INSTALL.get(package, f"pip install {package}")
    if extra is not None:
        install = f"pip install 'ffnet-search[{extra}]'"
    return SweepError(f"{field} {shown(name)} needs {package}, which is not installed; run: {install}")


def find_class(
    name: str, field: str, base: type[Any] = object, registry: Registry = NONE, wanted: str = ""
) -> type[Any]:
    """The class of a registered name or an import path, which must be a subclass of `base`.

    `field` opens the sentence of a SweepError, raised where the name is unknown, the module or the class does not exist
    or needs a package that is not installed, the module may not be imported or fails, or the class is another kind or
    lacks a method that its base has without a body. `wanted` names that kind where a user's class is derived from
    another one than `base`."""
    path = import_path(name, field, registry)
    file = find_module(path, field)
    from_outside = file is not None and is_foreign(file)
    if from_outside and not may_import_foreign():
        raise SweepError(
            f"{field}: {shown(path)} is in {file}, outside the installed packages, and is not imported unasked; where "
            "you trust it, add --allow-imports"
        )
    module_name, _, attribute = path.partition(":")
    if from_outside:  # and not before: any package may import a module that is optional to it
        add_current_folder()
    module = _import(module_name, name, field)
    cls = getattr(module, attribute, None)
    wanted = wanted or ("class" if base is object else base.__name__)
    if isinstance(cls, type) and issubclass(cls, base):
        if inspect.isabstract(cls):
            missing = listed(sorted(vars(cls)["__abstractmethods__"]))
            raise SweepError(f"{field}: {shown(path)} must define {missing}, as a subclass of {wanted} does")
        return cls
    classes = {name: one for name, one in vars(module).items() if isinstance(one, type) and one is not base}
    names = [name for name, one in classes.items() if issubclass(one, base) and one.__name__ != wanted]
    raise wrong_class(path, field, wanted, "does not exist" if cls is None else f"is {shown(cls)}", names)


def wrong_class(path: str, field: str, wanted: str, problem: str, names: Iterable[str]) -> SweepError:
    """The error for an import path that names no class, or no `wanted` one; `names`: those that its module holds."""
    attribute, wanted = path.partition(":")[2], f"{'an' if wanted[0] in 'AEIO' else 'a'} {wanted}"
    return SweepError(
        f"{field}: {shown(path)} must name {wanted}, but {attribute} {problem}{did_you_mean(attribute, names)}"
    )


def _import(module: str, name: str, field: str) -> Any:
    """Import a module, whatever it raises. Raises SweepError."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise not_installed(field, name, str(error.name).partition(".")[0]) from None
    except (Exception, SystemExit) as error:  # a user-supplied module can raise anything, `sys.exit` included
        raise not_importable(name, field, error) from error


def not_importable(name: str, field: str, error: BaseException) -> SweepError:
    """The error for a class whose module raised `error` when it was imported, or cannot be compiled."""
    if isinstance(error, SyntaxError) and error.filename:
        reason, place = error.msg, (error.filename, error.lineno)
    else:
        *_, last = traceback.extract_tb(error.__traceback__)
        reason, place = str(error), (last.filename, last.lineno)
    reason = ": ".join(filter(None, (type(error).__name__, reason)))
    return SweepError(f"{field}: {shown(name)} cannot be imported: {reason} ({place[0]}, line {place[1]})")


def check_arguments(cls: type[Any], arguments: Mapping[str, Any], field: str) -> None:
    """Raise SweepError if a class does not take these arguments."""
    fit_arguments(cls.__name__, inspect.signature(cls), arguments, field)


def fit_arguments(name: str, signature: inspect.Signature, arguments: Mapping[str, Any], field: str) -> None:
    """Raise SweepError if a class of that name, made with `signature`, does not take these arguments."""
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [key for key, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        unknown = [key for key in arguments if key not in known]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise SweepError(f"{field} must fit {name}{signature}, but: {error}{hint}") from None
