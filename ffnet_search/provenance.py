"""Provenance of results: versions of the software, and the state of the git repository."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "lightning", "optuna", "onnxruntime", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, this program and the packages that a result depends on."""
    return {"python": platform.python_version(), **installed_versions("ffnet-search", *PACKAGES)}


def installed_versions(*packages: str) -> dict[str, str]:
    """Versions of the packages that are installed; a checkout or a build under another name has none."""
    versions: dict[str, str] = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path) -> dict[str, object] | None:
    """The commit checked out in the repository of `folder`, and whether files differ from it; None outside of git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
