"""Redaction of secrets, which no file of a run may hold: passwords in URLs, and arguments with names of secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ffnet_search.errors import without_passwords

CUT = "***"
SECRET = re.compile(r"(api_?key|token|password|passwd|secret|secret_key|credentials?)$", re.IGNORECASE)


def without_secrets(content: Any) -> Any:
    """A copy of plain data with `***` in place of secrets, for files and messages."""
    if isinstance(content, Mapping):
        return {
            key: CUT if isinstance(value, str) and SECRET.search(str(key)) else without_secrets(value)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [without_secrets(value) for value in content]
    return without_passwords(content) if isinstance(content, str) else content
