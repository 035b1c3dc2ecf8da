"""A Ray session: the cluster that exists or this machine, other versions, and names that a new Ray may change."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE_S
from ray.exceptions import RpcError
from searches import SPACES

from ffnet_search.cluster import watch
from ffnet_search.cluster.session import Cluster, granted, import_ray
from ffnet_search.cluster.watch import Place, Watch
from ffnet_search.config.search_schema import Resources
from ffnet_search.errors import SweepError


@pytest.mark.parametrize(
    ("name", "error", "is_printed"),
    [
        ("ray_listen_error_messages", RpcError("connection reset"), False),
        ("ray_listen_error_messages", ValueError("connection reset"), True),
        ("ours", RpcError("connection reset"), True),
    ],
)
def test_listeners_of_ray_that_lose_its_head_print_nothing(
    name: str,
    error: Exception,
    is_printed: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)

    def lose() -> None:
        raise error

    with watch.quiet_listeners():
        thread = threading.Thread(target=lose, name=name)
        thread.start()
        thread.join()
    assert ("connection reset" in capsys.readouterr().err) == is_printed
    assert threading.excepthook is threading.__excepthook__


def test_a_laptop_without_gpu_runs_the_sweep_of_a_cluster(ray_cluster: str) -> None:
    here = Cluster(fixed=True)
    assert granted(Resources(gpu=0.25), here) == Resources()
    with pytest.raises(SweepError, match=r"asks for cpu 64, but this machine has no node with that"):
        granted(Resources(cpu=64), here)


@pytest.mark.parametrize("other", [("2.0.0", "3.11.7"), ("2.60.0", "3.9.1")], ids=["Ray", "Python"])
def test_another_version_than_the_clusters_is_one_sentence_before_any_stage(
    ray_cluster: str, other: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    search = {"trials": 2, "engine": "ray"}
    path.write_text(
        yaml.dump({"search_space": str(SPACES / "ffnet_digits.yaml"), "data": {"name": "digits"}, "search": search})
    )
    script = (
        "import ray._private.utils\n"
        f"ray._private.utils.compute_version_info = lambda: {other}\n"
        f"import sys; sys.argv = ['ffnet-search', 'run', {str(path)!r}]\n"
        "from ffnet_search.cli.app import main\n"
        "main()"
    )
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 2
    (said,) = (line for line in ran.stderr.splitlines() if line.startswith("ffnet-search: "))
    assert f"the Ray cluster at {ray_cluster} refuses: Version mismatch" in said
    assert f"was started with: Ray: {other[0]} Python: {other[1]}; both must be the same here and on its nodes" in said
    assert "profile (1" not in ran.stderr and not (tmp_path / "runs" / "other" / "latency").exists()


LOOK = """
import ray
from ffnet_search.cluster import session, watch
asked = []
ray.init = lambda **arguments: asked.append(arguments["address"])
watch.places_of = lambda ray: ()
with session.existing_cluster() as cluster:
    print(cluster is not None, asked)
"""


@pytest.mark.parametrize("is_named", [False, True])
def test_only_a_ray_that_is_named_is_joined(tmp_path: Path, is_named: bool) -> None:
    """There is one on this machine: of another sweep, or of another person."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        environment = {**os.environ, "RAY_TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("RAY_ADDRESS", None)
        named = {"RAY_ADDRESS": address} if is_named else {}
        ran = subprocess.run([sys.executable, "-c", LOOK], env=environment | named, capture_output=True, text=True)
    assert ran.stdout.strip() == ("True ['auto']" if is_named else "False []"), ran.stderr


@pytest.mark.parametrize(("part", "fixed"), [("head", True), ("node", True), ("node", False), ("head", False)])
def test_the_end_of_ray_itself_is_a_sentence(part: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray waits for ever without its node, and ends the process a minute after its head."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(watch, "LOST_S", 0.1)
    monkeypatch.setattr(watch, "HEAD_LOST_S", 0.1)
    looks = Watch(fixed=fixed)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        looks.places = (Place(part, *server.getsockname()),)
        thread = threading.Thread(target=looks.run)
        thread.start()
        looks.check()
    while not looks.lost:
        assert thread.is_alive()
    looks.ended.set()
    thread.join()
    with pytest.raises(SweepError, match=rf"Ray's {part} on .* has ended; .* the same command resumes"):
        Cluster(fixed, looks).check()


def test_the_places_of_ray_are_known(ray_cluster: str) -> None:
    head, node = watch.places_of(import_ray())
    assert (head.part, node.part) == ("head", "node")
    assert f"{head.host}:{head.port}" == ray_cluster
    assert head.answers() and node.answers()


def test_a_ray_that_does_not_start_is_a_sentence() -> None:
    def start() -> None:
        raise RuntimeError("the raylet\nfailed")

    with pytest.raises(SweepError, match="Ray cannot be started on this machine: the raylet failed"):
        watch.start_or_refuse(start)


START = """
import subprocess, sys, time
from ffnet_search.cluster import watch
watch.LOOK_EVERY_S = watch.LOST_S = 0.1

def start():
    head = subprocess.Popen(["gcs_server", "60"], executable=sys.argv[1])
    while (head.pid, "gcs_server") not in watch._children():
        time.sleep(0.01)
    time.sleep(0.5)
    head.kill()
    time.sleep(60)

with watch.watched(fixed=True, start=start):
    pass
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nothing is watched")
def test_a_head_that_dies_while_ray_starts_ends_the_process_in_words(tmp_path: Path) -> None:
    """The name of a process is that of its file, so that `sleep` can stand for Ray's head."""
    program = tmp_path / "gcs_server"
    shutil.copy(shutil.which("sleep") or "", program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", START, str(program)], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ran.returncode == 2
    assert ran.stderr == (
        "ffnet-search: search: Ray's head on this machine has ended; what was finished is kept, and the same command "
        "resumes\n"
    )


def test_ray_prints_deaths_of_workers_by_the_function_that_is_replaced() -> None:
    import_ray()
    from ray._private import worker

    assert "print_to_stdstream(" in inspect.getsource(worker.listen_error_messages)
    assert worker.print_to_stdstream({"lines": ["a worker died"]}, ignore_prefix=False) is None
