"""Checks of a Ray cluster file before anything is started: what Ray would refuse, change or wait for."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from ffnet_search.cluster.plain_values import must_be_plain
from ffnet_search.errors import VALUE, SweepError, error_context, shown
from ffnet_search.strict_yaml import read_yaml

LOGIN_S = 10  # the time in which a machine must answer


def check_cluster(path: Path) -> None:
    """Raise SweepError if Ray would refuse the cluster half of a file, or would change the sweep half."""
    content = read_yaml(path)
    with error_context(path):
        _must_survive_json(content.get("metadata"), "metadata")
        must_be_plain(content)
        _check_as_ray_does(content)


def _check_as_ray_does(content: Mapping[str, Any]) -> None:
    """Validate by the functions of `ray up`, for which Ray has no public names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jsonschema
        import ray.autoscaler
        from ray.autoscaler._private.util import prepare_config, validate_config
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    try:
        for error in jsonschema.Draft7Validator(schema).iter_errors(content):
            if error.validator == "type":  # Ray merges its defaults before it validates, and fails on a wrong type
                raise error
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):  # Ray prints, in colours, what the error says, too
            validate_config(prepare_config(content))
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the cluster's part"
        raise SweepError(f"{where} is refused by Ray: {error.message.splitlines()[0][:200]}") from None
    except KeyError as error:
        raise SweepError(f"{error.args[0]} must be given for this provider, says Ray") from None
    except Exception as error:  # of many classes
        raise SweepError(f"is refused by Ray: {' '.join(str(error).split())[:300]}") from None


def must_be_reachable(path: Path) -> None:
    """Raise SweepError if no login to the head is possible, which Ray would try for 15 minutes.

    Only for clusters of the user's machines: those that are started first are left to Ray."""
    content = read_yaml(path)
    provider, auth = content["provider"], content.get("auth", {})
    if provider.get("type") != "local" or "head_ip" not in provider or "ssh_proxy_command" in auth:
        return
    key = auth.get("ssh_private_key")
    if key is not None and not Path(os.path.expanduser(key)).exists():
        raise SweepError(f"{path}: auth.ssh_private_key must be a file, but there is none at {key}")
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    login = ["ssh", "-o", f"ConnectTimeout={LOGIN_S}", *(word for option in options for word in ("-o", option))]
    if key is not None:
        login += ["-i", str(Path(os.path.expanduser(key)))]
    head = f"{auth['ssh_user']}@{provider['head_ip']}"
    answer = subprocess.run([*login, "--", head, "true"], capture_output=True, text=True, errors="replace")
    if answer.returncode:
        *_, reason = answer.stderr.strip().splitlines() or ["nothing"]
        raise SweepError(
            f"{path}: ssh must reach the head, {head}, without asking for a password, but says: {reason}; see to its "
            "address, its power and auth"
        )


def _must_survive_json(value: Any, where: str) -> None:
    """The file travels to the head as JSON: there keys are strings, and dates are not known."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SweepError(f"{where}: the key {shown(key)} must be a word (the file travels as JSON); quote it")
            _must_survive_json(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _must_survive_json(inner, f"{where}.{index}")
    elif not isinstance(value, str | int | float | None):
        read = str(value)[:VALUE]
        raise SweepError(f"{where} must be text, a number or true / false, but YAML reads {read}; quote it")
