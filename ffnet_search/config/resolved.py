"""The whole configuration of a sweep, defaults and its search space included, as plain data and as YAML."""

from __future__ import annotations

from typing import Any

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.files.secrets import without_secrets


def resolved_content(sweep: Sweep) -> dict[str, Any]:
    """The configuration as plain data that `Sweep.from_content` reads, without secrets.

    Its paths are absolute, since they are relative to a file; `runs` stays as it is."""
    absolute = sweep.with_absolute_paths().model_copy(update={"runs": sweep.runs})
    content: dict[str, Any] = without_secrets(absolute.model_dump(mode="json"))
    return content


def resolved_text(sweep: Sweep) -> str:
    """The configuration as a YAML file that `Sweep.from_yaml` reads, without secrets."""
    return yaml.safe_dump(resolved_content(sweep), sort_keys=False, default_flow_style=None, width=120)
