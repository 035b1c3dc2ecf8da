"""The supply chain: known vulnerabilities of the pinned versions, and the licences of what is installed.

`make audit`. PyPI's advisories are asked by pip-audit, where it is installed (`pip install pip-audit`)
and the network allows it; else the reason is printed. The exit code is 1 where a vulnerability is known."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import Distribution, distributions
from pathlib import Path

PINNED = Path(__file__).parents[1] / "constraints.txt"
PATIENCE_S = 120
OFFLINE = ("ConnectionError", "Max retries", "timed out", "NameResolutionError", "ProxyError", "HTTPError", "SSLError")


def licence(package: Distribution) -> str:
    """The licence as the package states it: an expression, a classifier, or the first words of the field."""
    facts = package.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in facts.get_all("Classifier", []) if line.startswith("License ::")
    ]
    stated = facts.get("License-Expression") or ", ".join(classifiers) or (facts.get("License") or "").strip()
    return " ".join(stated.split())[:60] or "not stated"


def print_licences() -> None:
    """One line for each licence, with the packages that have it."""
    packages: defaultdict[str, list[str]] = defaultdict(list)
    for package in distributions():
        packages[licence(package)].append(f"{package.metadata['Name']} {package.version}")
    print(f"licences of {sum(map(len, packages.values()))} installed packages:")
    for name, users in sorted(packages.items(), key=lambda row: -len(row[1])):
        print(f"  {name}: {', '.join(sorted(set(users), key=str.lower))}")


def audit() -> int:
    """The exit code of an audit of the pinned versions: 0 also where it cannot run, with the reason."""
    if importlib.util.find_spec("pip_audit") is None:
        print("vulnerabilities: not asked, since pip-audit is not installed; run: pip install pip-audit")
        return 0
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(PINNED),
        "--no-deps",
        "--progress-spinner",
        "off",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"vulnerabilities: not known, since pip-audit had no answer within {PATIENCE_S} s")
        return 0
    if done.returncode and any(word in done.stderr for word in OFFLINE):
        print(f"vulnerabilities: not known, since the advisories cannot be reached: {done.stderr.strip()[-200:]}")
        return 0
    print(f"vulnerabilities of {PINNED.name}:\n{done.stdout}{done.stderr}")
    return done.returncode


if __name__ == "__main__":
    print_licences()
    sys.exit(audit())
