"""Submit a sweep to a Ray cluster: check its file, pack it with this package, run it, fetch the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ffnet_search.cluster.archive import pack
from ffnet_search.cluster.cluster_file import check_cluster, must_be_reachable
from ffnet_search.cluster.plain_values import REMOTE, WORDS
from ffnet_search.config.commands import command_of
from ffnet_search.config.files import is_cluster, refuse_foreign
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, shown
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.formatting import quoted
from ffnet_search.progress import say


def submit(sweep: Sweep, *, detach: bool = False) -> int:
    """Run `sweep` on the cluster of its file, which is started if necessary. Returns the exit code of the run.

    Follows the run to its end and fetches its folder, or, with `detach`, leaves it in tmux on the head. Raises
    SweepError if the file or this machine does not allow that."""
    ray, cluster = _ray_command(), sweep.path.absolute()  # a path that begins with `-` would be an option
    if not is_cluster(cluster):
        raise SweepError(
            f"{cluster}: must be a Ray cluster file with its sweep under metadata.sweep, but has no `provider`; "
            f"`{command_of('run', sweep)}` runs it here"
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
        reason = fetched.stderr.decode(errors="replace").strip()[-200:]
        say(f"submit: {remote} of the head could not be fetched: {reason}")
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
