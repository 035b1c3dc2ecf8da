"""Provenance of results: versions of the software, and the state of the git repository."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "lightning", "optuna", "onnxruntime", "numpy")


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
    """The commit checked out in the current folder's repository, and whether files differ; None outside of git."""

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
