"""A command as the command line parses it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import typer

from ffnet_search.cli.app import app

PROGRAM = "ffnet-search"
VERBS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def parsed(command: str) -> None:
    """Parse a command as the command line does, and run nothing. Raises UsageError."""
    _, verb, *words = shlex.split(re.split(r" (?:>|\|\|) ", command)[0], comments=True)
    if verb.startswith("--") or "--help" in words:
        return
    assert verb in VERBS, f"there is no verb {verb}"
    VERBS[verb].make_context(verb, words)
