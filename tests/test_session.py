"""A Ray session: the cluster that exists or this machine, other versions, and names that a new Ray may change."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from searches import SPACES

from ffnet_search.cluster.session import Cluster, granted, import_ray
from ffnet_search.config.search_schema import Resources
from ffnet_search.errors import SweepError


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
from ffnet_search.cluster import session
asked = []
ray.init = lambda **arguments: asked.append(arguments["address"])
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


def test_ray_prints_deaths_of_workers_by_the_function_that_is_replaced() -> None:
    import_ray()
    from ray._private import worker

    assert "print_to_stdstream(" in inspect.getsource(worker.listen_error_messages)
    assert worker.print_to_stdstream({"lines": ["a worker died"]}, ignore_prefix=False) is None
