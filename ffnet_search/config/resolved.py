"""The whole configuration of a sweep, defaults and its search space included, as plain data and as YAML; and what its
file leaves to defaults, which change between versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ffnet_search.config.files import carried_by
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.files.secrets import without_secrets
from ffnet_search.strict_yaml import read_yaml

SECTIONS = ("data", "train", "latency", "search", "export")  # whose fields have defaults


def resolved_content(sweep: Sweep) -> dict[str, Any]:
    """The configuration as plain data that `Sweep.from_content` reads, without secrets.

    Its paths are absolute, since they are relative to a file; `runs` stays as it is."""
    absolute = sweep.with_absolute_paths().model_copy(update={"runs": sweep.runs})
    content: dict[str, Any] = without_secrets(absolute.model_dump(mode="json"))
    return content


def resolved_text(sweep: Sweep) -> str:
    """The configuration as a YAML file that `Sweep.from_yaml` reads, without secrets."""
    return yaml.safe_dump(resolved_content(sweep), sort_keys=False, default_flow_style=None, width=120)


def written_content(path: Path) -> dict[str, Any]:
    """The plain data of a sweep's file, its name included; nothing of a file that cannot be read. No class that it
    names is imported."""
    try:
        return {"name": path.stem, **carried_by(read_yaml(path), path)}
    except SweepError:
        return {}


def left_out(sweep: Sweep, fields: Iterable[str]) -> set[str]:
    """Those of the fields, as `train.optimizer`, that are not in the sweep's file, and so have their defaults. None
    where the file cannot be read."""
    content = written_content(sweep.path)
    return {field for field in fields if content and _is_left_out(content, *field.split("."))}


def _is_left_out(content: Mapping[str, Any], section: str, *steps: str) -> bool:
    """False also where the file says something of the field that is no mapping of keys to values."""
    value: Any = content.get(section, {})
    if section == "latency" and isinstance(value, list) and value:
        value = value[0]  # the inputs have others by name
    for step in steps if section in SECTIONS else ():
        if not isinstance(value, Mapping) or "others" in steps:
            return False
        if step not in value:
            return True
        value = value[step]
    return False
