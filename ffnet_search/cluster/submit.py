"""Submit a sweep to a Ray cluster: check its file by Ray's own rules, pack it with this package, run it, fetch the run.

`ray submit FILE SCRIPT` uploads SCRIPT and nothing else, so after an edit of FILE the head would run the old sweep, and
workers old code. Here SCRIPT is a zip archive that holds all code and the sweep, and hands the code to every node.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import yaml

import ffnet_search
from ffnet_search.cluster.plain_values import REMOTE, WORDS, must_be_plain
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.files import is_cluster, refuse_foreign
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import VALUE, SweepError, error_context, shown
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.formatting import quoted
from ffnet_search.progress import say
from ffnet_search.strict_yaml import read_yaml

LOGIN_S = 10  # the time in which a machine must answer

# What the head runs: unpacked once per content, since Ray can hand a folder to its workers, but not a part of a zip.
MAIN = """
import hashlib, os, shutil, sys, tempfile, zipfile
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
    try:
        os.replace(scratch, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        shutil.rmtree(scratch)  # another submission has unpacked the same content meanwhile
sys.path.insert(0, folder)
from pathlib import Path
from ffnet_search.cli.app import on_head
on_head(Path(folder) / "SWEEP.yaml")
"""


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
    answer = subprocess.run([*login, "--", head, "true"], capture_output=True, text=True)
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


def pack(sweep: Sweep, folder: Path) -> Path:
    """Write an archive that `python NAME-DIGEST.pyz` runs: the package, user-supplied code, the sweep and its space.

    The same content gives the same bytes, and so the same name."""
    plain = sweep.model_dump(mode="json")
    files = {"__main__.py": MAIN.encode(), "SWEEP.yaml": yaml.safe_dump(plain, sort_keys=False).encode()}
    for source in (Path(ffnet_search.__file__).parent, *user_code(plain)):
        files |= {path.relative_to(source.parent).as_posix(): path.read_bytes() for path in _files(source)}
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
    archive = folder / f"{sweep.name}-{digest[:12]}.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in sorted(files.items()):
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # ZipInfo: of no date
    return archive


def _files(source: Path) -> list[Path]:
    """The files of a module or a package."""
    if source.is_file():
        return [source]
    return [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def submit(sweep: Sweep, *, detach: bool = False) -> int:
    """Run `sweep` on the cluster of its file, which is started if necessary. Returns the exit code of the run.

    Follows the run to its end and fetches its folder, or, with `detach`, leaves it in tmux on the head. Raises
    SweepError if the file or this machine does not allow that."""
    ray, cluster = _ray_command(), sweep.path.absolute()  # a path that begins with `-` would be an option
    if not is_cluster(cluster):
        raise SweepError(
            f"{cluster}: must be a Ray cluster file with its sweep under metadata.sweep, but has no `provider`; "
            f"`ffnet-search run {quoted(sweep.path)}` runs it here"
        )
    check_cluster(cluster)
    remote, local = _folder_on_head(sweep), f"{sweep.files.folder.absolute()}/"
    refuse_foreign(sweep.files)  # what the head sends goes into it
    must_be_reachable(cluster)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0")}
    with scratch_folder() as folder:
        archive = pack(sweep, Path(folder))
        say(f"submit: {sweep.name} as {archive.name} to the cluster of {cluster}")
        # Without restart: a running cluster keeps its Ray, and the sweeps on it.
        if subprocess.run([ray, "up", "-y", "--no-restart", str(cluster)], env=environment).returncode:
            raise SweepError(f"{cluster}: the cluster cannot be started or reached; Ray's message is above")
        options = ["--tmux"] if detach else []
        code = subprocess.run([ray, "submit", *options, str(cluster), str(archive)], env=environment).returncode
    if detach:
        named = quoted(cluster)
        say(f"submit: it runs in tmux on the head; attach with `ray attach --tmux {named}`, and fetch the run with:")
        say(f"  ray rsync-down {named} '{remote}' {quoted(local)}")
        return code
    sweep.files.folder.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run([ray, "rsync-down", str(cluster), remote, local], env=environment, capture_output=True)
    if fetched.returncode:
        say(f"submit: {remote} of the head could not be fetched: {fetched.stderr.decode().strip()[-200:]}")
        with suppress(OSError):  # it holds an earlier part
            sweep.files.folder.rmdir()
    else:
        say(f"submit: fetched {sweep.files.folder}")
    return code or fetched.returncode


def _folder_on_head(sweep: Sweep) -> str:
    """The run's folder on the head: relative ones are in the home folder of its user, which `~` names there. Raises
    SweepError for a path that a shell there would not leave as it is."""
    folder = f"{Path('runs' if sweep.remote_runs else sweep.runs, sweep.name).as_posix()}/"
    if not REMOTE.fullmatch(folder):
        raise SweepError(f"{sweep.path}: runs must be {WORDS[REMOTE]}, for a cluster, but got {shown(sweep.runs)}")
    return folder if folder.startswith(("/", "~")) else f"~/{folder}"


def _ray_command() -> str:
    command = shutil.which("ray", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    missing = [name for name in ("ssh", "rsync") if shutil.which(name) is None]
    if command is None or missing:
        raise SweepError(f"submit needs {', '.join(missing) or 'ray'} on this machine, which is not installed")
    return command
