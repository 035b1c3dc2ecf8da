"""Classes by a registered name or by import path, `package.module:Class`, with their arguments.

Every family of siblings has a visible dict `name -> "package.module:Class"`, its registry. Where a sweep names a
sibling, it can name a user-supplied class by import path instead; modules are found in the current folder too.

A sweep and its folder may be untrusted. Import paths are therefore checked by looking for their files, and the command
line imports classes outside the installed packages only with the user's consent (`ForeignImports`).
"""

from __future__ import annotations

import inspect
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from ffnet_search.errors import SweepError, did_you_mean, shown
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


class ForeignImports(Enum):
    """The policy of a process for imports from outside the installed packages.

    Used as a library, and in the processes of a run, it allows them. The command line refuses them or, for verbs that
    run a sweep, requires `allow_imports: true` in the sweep."""

    ALLOWED = "allowed"
    BY_CONSENT = "by consent"
    REFUSED = "refused"


class _Process:
    """The state of this process."""

    foreign_imports = ForeignImports.ALLOWED


OURS = "ffnet_search"
IMPORT_PATH = re.compile(r"[\w.]+:\w+")


@contextmanager
def foreign_imports(policy: ForeignImports) -> Iterator[None]:
    """Set the policy of this process until the block ends."""
    before, _Process.foreign_imports = _Process.foreign_imports, policy
    try:
        yield
    finally:
        _Process.foreign_imports = before


def set_foreign_imports(policy: ForeignImports) -> None:
    """Set the policy of this process; an enclosing block of `foreign_imports` restores the one before it."""
    _Process.foreign_imports = policy


def current_policy() -> ForeignImports:
    """The policy of this process."""
    return _Process.foreign_imports


def may_import_foreign() -> bool:
    """True if imports from outside the installed packages are allowed."""
    return _Process.foreign_imports is ForeignImports.ALLOWED


def ask_for_imports(content: Mapping[str, Any], where: object, programs: Sequence[str] = ()) -> None:
    """Raise SweepError if a sweep, as plain data, names classes outside the installed packages or `programs` to run,
    and the policy requires consent.

    The message names the files that would be imported. `allow_imports: true` in the sweep gives consent."""
    if _Process.foreign_imports is not ForeignImports.BY_CONSENT:
        return
    if content.get("allow_imports") is True:
        _Process.foreign_imports = ForeignImports.ALLOWED
        return
    files = {field: module_file(path.partition(":")[0]) for field, path in import_paths(content)}
    foreign = [f"{file} ({field})" for field, file in files.items() if file is not None and is_foreign(file)]
    acts = [f"import code from outside the installed packages: {', '.join(dict.fromkeys(foreign))}"] if foreign else []
    acts += [f"run the program {', '.join(programs)}"] if programs else []
    if acts:
        raise SweepError(
            f"{where}: would {' and '.join(acts)}; where you trust it, add "
            "`allow_imports: true` to the sweep, or give --allow-imports"
        )


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
    raise SweepError(f"{field} must be {what}, but got {shown(name)}{did_you_mean(name, registry) if registry else ''}")


def add_current_folder() -> None:
    """Make modules of the current folder importable, which they are not for an installed command."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def find_module(path: str, field: str) -> Path | None:
    """The file of an import path's module; None for a module of this package. Imports nothing. Raises SweepError if it
    does not exist."""
    name, _, _ = path.partition(":")
    if name.partition(".")[0] == OURS:
        return None
    file = module_file(name)
    if file is None:
        raise SweepError(
            f"{field}: {shown(path)} must be package.module:Class, but there is no module {shown(name)} to import"
        )
    return file


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
    ours = Path(__file__).parent  # in a checkout in no such folder
    return (*(Path(folder).resolve() for folder in folders), ours.resolve())


def is_foreign(file: Path) -> bool:
    """True for the file of a module outside the installed packages and outside this one."""
    return not set(_installed()) & set(file.resolve().parents)


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


def find_class(name: str, field: str, base: type[Any] = object, registry: Registry = NONE) -> type[Any]:
    """The class of a registered name or an import path, which must be a subclass of `base`.

    `field` opens the sentence of a SweepError, raised where the name is unknown, the module or the class does not exist
    or needs a package that is not installed, the module may not be imported or fails, or the class is another kind."""
    path = import_path(name, field, registry)
    file = find_module(path, field)
    if file is not None and _Process.foreign_imports is not ForeignImports.ALLOWED and is_foreign(file):
        raise SweepError(
            f"{field}: {shown(path)} is in {file}, outside the installed packages, and is not imported unasked; where "
            "you trust it, add --allow-imports"
        )
    module_name, _, attribute = path.partition(":")
    if file is not None and is_foreign(file):  # and not before: any package may import a module that is optional to it
        add_current_folder()
    module = _import(module_name, name, field)
    cls = getattr(module, attribute, None)
    if isinstance(cls, type) and issubclass(cls, base):
        return cls
    kinds = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and v is not base]
    problem = "does not exist" if cls is None else f"is {shown(cls)}"
    wanted = "class" if base is object else base.__name__
    raise SweepError(
        f"{field}: {shown(path)} must name a {wanted}, but {attribute} {problem}{did_you_mean(attribute, kinds)}"
    )


def _import(module: str, name: str, field: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise not_installed(field, name, str(error.name).partition(".")[0]) from None
    except (Exception, SystemExit) as error:  # a user-supplied module can raise anything, `sys.exit` included
        *_, last = traceback.extract_tb(error.__traceback__)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise SweepError(
            f"{field}: {shown(name)} cannot be imported: {reason} ({last.filename}, line {last.lineno})"
        ) from error


def check_arguments(cls: type[Any], arguments: Mapping[str, Any], field: str) -> None:
    """Raise SweepError if a class does not take these arguments."""
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [name for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        unknown = [name for name in arguments if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise SweepError(f"{field} must fit {cls.__name__}{signature}, but: {error}{hint}") from None
