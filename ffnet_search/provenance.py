"""Provenance of results: versions of the software, and the state of the git repository."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "lightning", "optuna", "onnxruntime", "numpy")


def now(precision: str = "microseconds") -> str:
    """The time of this moment, ISO 8601 in UTC, to a `timespec` of datetime."""
    return datetime.now(timezone.utc).isoformat(timespec=precision)


def versions() -> dict[str, str]:
    """Versions of Python, this program and the packages that a result depends on."""
    return {"python": platform.python_version(), **installed_versions("ffnet-search", *PACKAGES)}


def installed_versions(*packages: str) -> dict[str, str]:
    """Versions of the packages that are installed; a checkout or a build under another name has none."""
    versions: dict[str, str] = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def git_state() -> dict[str, object] | None:
    """The commit checked out in the current folder's repository, and whether files differ; None outside of git.

    The repository may be untrusted: no program that its configuration names is run. None, too, if it has a filter that
    cannot be disabled."""
    try:
        filters = _filter_variables()
        if any("=" in name for name in filters):  # `git -c` ends the name of a variable there
            return None
        disabled = [word for name in filters for word in ("-c", f"{name}=")]
        changed = _git(*disabled, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
        return {"commit": _git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


# Programs that git would run: the file system's watcher, hooks, and those of remotes for objects that are missing.
QUIET = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.allow=never")


def _git(*words: str) -> str:
    command = ["git", "--no-optional-locks", *(word for option in QUIET for word in ("-c", option)), *words]
    environment = {**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, check=True, capture_output=True, timeout=10, env=environment)
    return os.fsdecode(done.stdout).strip()  # names of any bytes, as they are given to git again


def _filter_variables() -> list[str]:
    """The configuration of filters, which git runs on the files that it compares: `filter.lfs.clean`, ..."""
    try:
        names = _git("config", "--null", "--name-only", "--get-regexp", r"^filter\..*")
    except subprocess.CalledProcessError:  # there are none
        return []
    return [name for name in dict.fromkeys(names.split("\0")) if name]
