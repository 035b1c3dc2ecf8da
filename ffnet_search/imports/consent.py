"""The user's consent to imports from outside the installed packages: a sweep and its folder may be untrusted.

The command line imports such classes only where the user or the sweep allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

from ffnet_search.errors import SweepError
from ffnet_search.imports.modules import import_paths, is_foreign, module_file


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
