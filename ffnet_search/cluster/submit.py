"""A sweep to a Ray cluster: its file checked by Ray's own rules, packed with this package, submitted, and brought back.

`ray submit FILE SCRIPT` uploads SCRIPT and nothing else, so after an edit of FILE the head would run the old sweep, and
workers old code. Here SCRIPT is a zip archive that holds all of it, and hands its code to every node.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import ffnet_search
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.sweep_file import is_cluster
from ffnet_search.errors import SweepError
from ffnet_search.progress import say
from ffnet_search.strict_yaml import read_yaml

LOGIN_S = 10  # that a machine may take to answer

# What the head runs: unpacked once per content, since Ray can hand a folder to its workers, but not a part of a zip.
MAIN = """
import hashlib, os, sys, tempfile, zipfile
archive = os.path.abspath(sys.argv[0])
with open(archive, "rb") as file:
    name = hashlib.sha256(file.read()).hexdigest()[:16]
cache = os.path.expanduser("~/.cache/ffnet-search")
folder = os.path.join(cache, name)
if not os.path.isdir(folder):
    os.makedirs(cache, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=cache)
    with zipfile.ZipFile(archive) as content:
        content.extractall(scratch)
    os.replace(scratch, folder)
sys.path.insert(0, folder)
from pathlib import Path
from ffnet_search.cli import on_head
on_head(Path(folder) / "SWEEP.yaml")
"""


def check_cluster(path: Path) -> None:
    """Raises SweepError where Ray would refuse the cluster half of a file, or would change the sweep half."""
    content = read_yaml(path)
    _must_survive_json(content.get("metadata"), f"{path}: metadata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jsonschema
        import ray.autoscaler
        from ray.autoscaler._private.util import prepare_config, validate_config
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    try:
        for error in jsonschema.Draft7Validator(schema).iter_errors(content):
            if error.validator == "type":  # Ray's defaults are merged before it looks, and break on a wrong type
                raise error
        validate_config(prepare_config(content))
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the cluster's part"
        raise SweepError(f"{path}: {where} is refused by Ray: {error.message.splitlines()[0][:200]}") from None
    except KeyError as error:
        raise SweepError(f"{path}: {error.args[0]} must be given for this provider, says Ray") from None
    except Exception as error:  # Ray raises what comes to its hand
        raise SweepError(f"{path}: is refused by Ray: {' '.join(str(error).split())[:300]}") from None


def must_be_reachable(path: Path) -> None:
    """Raises SweepError where the head that the file names cannot be logged in to, which Ray would try for 15 minutes;
    says so of workers, without which a sweep can run. Machines that are started first are left to Ray."""
    content = read_yaml(path)
    provider, auth = content["provider"], content.get("auth", {})
    if provider.get("type") != "local" or "head_ip" not in provider or "ssh_proxy_command" in auth:
        return
    key = auth.get("ssh_private_key")
    if key is not None and not Path(key).expanduser().exists():
        raise SweepError(f"{path}: auth.ssh_private_key must be a file, but there is none at {key}")
    options = [f"ConnectTimeout={LOGIN_S}", "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    login = ["ssh", *(word for option in options for word in ("-o", option)), "-o", "LogLevel=ERROR"]
    login += [] if key is None else ["-i", str(Path(key).expanduser())]
    hosts = [f"{auth['ssh_user']}@{host}" for host in [provider["head_ip"], *provider.get("worker_ips", [])]]
    tries = [subprocess.Popen([*login, host, "true"], stderr=subprocess.PIPE, text=True) for host in hosts]
    for host, one in zip(hosts, tries, strict=True):  # all at once: one that is off costs the wait once
        said = (one.communicate()[1].strip().splitlines() or ["nothing"])[-1]
        if one.returncode and host == hosts[0]:
            raise SweepError(
                f"{path}: ssh must reach the head, {host}, without asking for a password, but says: {said}; see to its "
                "address, its power and auth"
            )
        if one.returncode:
            say(f"submit: {host} cannot be reached by ssh ({said}): the sweep runs without it")


def _must_survive_json(value: Any, where: str) -> None:
    """The file travels to the head as JSON: there keys are strings, and dates are not known."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SweepError(f"{where}: the key {key!r} must be a word, since the file travels as JSON; quote it")
            _must_survive_json(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _must_survive_json(inner, f"{where}.{index}")
    elif not isinstance(value, str | int | float | None):
        raise SweepError(f"{where} must be text, a number or true / false, but YAML reads {value!s}; quote it")


def pack(sweep: Sweep, folder: Path) -> Path:
    """An archive that `python NAME-DIGEST.pyz` runs: the package, and the sweep with its search space. The same content
    gives the same bytes, and so the same name."""
    package = Path(ffnet_search.__file__).parent
    text = yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False)
    files = {"__main__.py": MAIN.encode(), "SWEEP.yaml": text.encode()}
    files |= {f"ffnet_search/{path.relative_to(package).as_posix()}": path.read_bytes() for path in _sources(package)}
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
    archive = folder / f"{sweep.name}-{digest[:12]}.pyz"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in sorted(files.items()):
            file.writestr(zipfile.ZipInfo(name), content)
    return archive


def _sources(package: Path) -> Iterator[Path]:
    return (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def submit(sweep: Sweep, *, detach: bool = False) -> int:
    """Runs `sweep` on the cluster of its file, which is started where it is not; returns the exit code of the run.

    Follows it to its end and brings the run's folder back, or, with `detach`, leaves it in tmux on the head. Raises
    SweepError where the file or this machine cannot do that.
    """
    ray, cluster = _ray_command(), sweep.path
    if not is_cluster(cluster):
        raise SweepError(
            f"{cluster}: must be a Ray cluster file with its sweep under metadata.sweep, but has no `provider`; "
            "`ffnet-search run` runs it here"
        )
    check_cluster(cluster)
    must_be_reachable(cluster)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0")}
    with tempfile.TemporaryDirectory() as folder:
        archive = pack(sweep, Path(folder))
        say(f"submit: {sweep.name} as {archive.name} to the cluster of {cluster}")
        # Without restart: a running cluster keeps its Ray, and the sweeps on it.
        if subprocess.run([ray, "up", "-y", "--no-restart", str(cluster)], env=environment).returncode:
            raise SweepError(f"{cluster}: the cluster cannot be started or reached; what Ray said stands above")
        how = ["--tmux"] if detach else []
        code = subprocess.run([ray, "submit", *how, str(cluster), str(archive)], env=environment).returncode
    if detach:
        say(f"submit: it runs in tmux on the head; look with `ray attach --tmux {cluster}`, and bring it back with:")
        say(f"  ray rsync-down {cluster} '{_on_head(sweep.files.folder)}/' '{sweep.files.folder}/'")
        return code
    sweep.files.folder.mkdir(parents=True, exist_ok=True)
    there, here = f"{_on_head(sweep.files.folder)}/", f"{sweep.files.folder}/"
    back = subprocess.run([ray, "rsync-down", str(cluster), there, here], env=environment, capture_output=True)
    if back.returncode:
        say(f"submit: {there} of the head could not be brought back: {back.stderr.decode().strip()[-200:]}")
    else:
        say(f"submit: brought back {sweep.files.folder}")
    return code or back.returncode


def _on_head(folder: Path) -> str:
    return str(folder) if folder.is_absolute() else f"~/{folder.as_posix()}"


def _ray_command() -> str:
    found = shutil.which("ray", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    missing = [name for name in ("ssh", "rsync") if shutil.which(name) is None]
    if found is None or missing:
        raise SweepError(f"submit needs {', '.join(missing) or 'ray'} on this machine, which is not installed")
    return found
