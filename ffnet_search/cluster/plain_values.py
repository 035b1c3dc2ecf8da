"""Values of a cluster's file that Ray hands to ssh, rsync, docker and shells: none may become an option or a command.

Commands by design are `*_commands` and `docker.*run_options`, which Ray runs on the cluster's machines, and
`auth.ssh_proxy_command`, which ssh runs on this one, and to which the user consents (see `config.files`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ffnet_search.errors import SweepError, shown

HOST = re.compile(r"[A-Za-z0-9_.:\[][A-Za-z0-9_.:@%\[\]-]{0,252}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # a part of paths, here and there
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,254}")
REMOTE = re.compile(r"[\w~/.][\w~/.@%+=:,-]{0,999}")  # Ray does not quote it in commands
LOCAL = re.compile(r"(?!-)[^\x00-\x1f\x7f\"'\\]{1,1000}")  # Ray quotes it as Windows does, which rsync does not undo
LINE = re.compile(r"[^\x00-\x1f\x7f]{0,1000}")
WORDS = {
    HOST: "the name of a user or a host",
    NAME: "a name of letters, digits, '.', '_' and '-', at most 100 of them and a letter or digit first",
    IMAGE: "the name of an image",
    REMOTE: "a path without blanks and signs of a shell, that does not begin with '-'",
    LOCAL: "a path without quotes, backslashes and control characters; where it begins with '-', write ./ before it",
    LINE: "one line of text, at most 1,000 characters",
}
RUNS_CODE = ("external", "fake_multinode", "fake_multinode_docker", "spark")  # providers that run code on this machine


def must_be_plain(content: Mapping[str, Any]) -> None:
    """Raise SweepError for a value of a cluster's file that an option or a command could hide in."""
    provider, auth = _section(content, "provider"), _section(content, "auth")
    if provider.get("type") == "local" and not auth.get("ssh_user"):
        raise SweepError("auth.ssh_user must be given: the name to log in with on the cluster's machines")
    if provider.get("type") in RUNS_CODE:
        raise SweepError(
            f"provider.type must be one of Ray's own, but got {shown(provider['type'])}, which would run code here"
        )
    for field, value, rule in _values(content):
        if value is not None and not (isinstance(value, str) and rule.fullmatch(value)):
            raise SweepError(f"{field} must be {WORDS[rule]}, but got {shown(value)}")


def _values(content: Mapping[str, Any]) -> Iterator[tuple[str, Any, re.Pattern[str]]]:
    """Field, value and rule."""
    provider, auth = _section(content, "provider"), _section(content, "auth")
    yield "cluster_name", content.get("cluster_name"), NAME
    yield "provider.head_ip", provider.get("head_ip"), HOST
    yield from _each(provider, "worker_ips", "provider.", HOST)
    yield "auth.ssh_user", auth.get("ssh_user") or None, HOST
    for name in ("ssh_private_key", "ssh_public_key"):
        yield f"auth.{name}", auth.get(name), LOCAL
    yield "auth.ssh_proxy_command", auth.get("ssh_proxy_command"), LINE
    for remote, local in _section(content, "file_mounts").items():
        yield "file_mounts: a key", remote, REMOTE
        yield "file_mounts", local, LOCAL
    yield from _each(content, "cluster_synced_files", "", REMOTE)
    for name in ("rsync_exclude", "rsync_filter"):
        yield from _each(content, name, "", LINE)
    types = _section(content, "available_node_types")
    for where, docker in {
        "docker": _section(content, "docker"),
        **{f"available_node_types.{name}.docker": _section(types[name], "docker") for name in types},
    }.items():
        for name, value in docker.items():
            if name.endswith("image"):
                yield f"{where}.{name}", value or None, IMAGE
            elif name.endswith("run_options"):
                yield from _each(docker, name, f"{where}.", LINE)
        yield f"{where}.container_name", docker.get("container_name") or None, NAME


def _section(content: Any, name: str) -> Mapping[str, Any]:
    """A section, empty where it is none: Ray refuses that."""
    section = content.get(name) if isinstance(content, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _each(
    section: Mapping[str, Any], name: str, where: str, rule: re.Pattern[str]
) -> Iterator[tuple[str, Any, re.Pattern[str]]]:
    """The items of a list; none where it is no list, which Ray refuses."""
    items = section.get(name)
    for index, item in enumerate(items if isinstance(items, list) else []):
        yield f"{where}{name}.{index}", item, rule
