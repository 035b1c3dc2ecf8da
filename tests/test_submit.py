"""What is sent to a cluster: the file, checked by Ray's own rules, and the archive that runs there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.cluster.submit import check_cluster, must_be_reachable, pack, submit
from ffnet_search.config.files import is_cluster
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError

ROOT = Path(__file__).parents[1]
CLUSTERS = [path for path in sorted(ROOT.glob("sweeps/*.yaml")) if is_cluster(path)]
LOCAL: dict[str, Any] = {
    "cluster_name": "three",
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]},
    "auth": {"ssh_user": "ubuntu"},
    "metadata": {"sweep": {"search_space": "../search_spaces/ffnet_digits.yaml"}},
}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "x.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_ray_accepts_the_shipped_clusters(path: Path) -> None:
    check_cluster(path)
    assert Sweep.from_yaml(path).search.engine == "ray"


def test_the_head_reads_the_same_sweep_from_what_ray_makes_of_the_file(tmp_path: Path) -> None:
    file = ROOT / "sweeps" / "cifar.yaml"
    bootstrap = tmp_path / "ray_bootstrap_config.yaml"
    bootstrap.write_text(json.dumps(yaml.safe_load(file.read_text())))  # as the autoscaler does
    here, there = Sweep.from_yaml(file), Sweep.from_yaml(bootstrap)  # its search space is that of the program
    assert there.model_dump() == here.model_dump()
    assert there.digest == here.digest


def test_a_number_that_ray_turns_to_text_is_a_number_again(tmp_path: Path) -> None:
    sweep = LOCAL["metadata"]["sweep"] | {"train": {"learning_rate": "1e-4"}}
    assert Sweep.from_yaml(write(tmp_path, LOCAL | {"metadata": {"sweep": sweep}})).train.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_worker": 2}, r"Additional properties are not allowed \('max_worker' was unexpected\)"),
        ({"max_workers": "two"}, "max_workers is refused by Ray: 'two' is not of type 'integer'"),
        ({"provider": {"type": "moon"}}, "is refused by Ray: .*moon"),
        ({"provider": {"type": "local"}}, "is refused by Ray: Please supply a `head_ip`"),
        ({"auth": {}}, "auth.ssh_user must be given: the name to log in with"),
        ({"auth": {"ssh_user": ""}}, "auth.ssh_user must be given: the name to log in with"),
        ({"metadata": {"sweep": {"seed": {1: 2}}}}, "metadata.sweep.seed: the key 1 must be a word"),
    ],
)
def test_what_ray_would_refuse_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SweepError, match=message):
        check_cluster(write(tmp_path, LOCAL | change))
    assert capsys.readouterr() == ("", "")  # Ray says it in colours beside the error


def test_a_date_is_named_before_ray_stumbles_over_it(tmp_path: Path) -> None:
    path = write(tmp_path, LOCAL)
    path.write_text(path.read_text().replace("metadata:", "metadata:\n  day: 2026-01-31"))
    with pytest.raises(
        SweepError, match=r"metadata.day must be text, a number or true / false, but YAML reads 2026-01"
    ):
        check_cluster(path)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"ssh_private_key": "~/no/such/key"}, r"auth.ssh_private_key must be a file, but there is none at ~/no/such"),
        (
            {},
            r"ssh must reach the head, nobody@localhost.invalid, without asking for a password, but says: .*; see to",
        ),
    ],
)
def test_a_machine_that_cannot_be_logged_in_to_is_named(tmp_path: Path, auth: dict[str, str], message: str) -> None:
    provider = {"type": "local", "head_ip": "localhost.invalid", "worker_ips": []}
    content = LOCAL | {"provider": provider, "auth": {"ssh_user": "nobody"} | auth}
    with pytest.raises(SweepError, match=message):
        must_be_reachable(write(tmp_path, content))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "metadata holds nothing"),
        ({"swep": {}}, "holds swep; did you mean 'sweep'"),
        ({"sweep": []}, "as a mapping"),
    ],
)
def test_a_missing_sweep_is_named(tmp_path: Path, metadata: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        Sweep.from_yaml(write(tmp_path, LOCAL | {"metadata": metadata}))


def test_a_sweep_without_a_cluster_is_not_submitted() -> None:
    with pytest.raises(
        SweepError, match=r"has no `provider`; `ffnet-search run .*digits.yaml` runs it here|submit needs"
    ):
        submit(Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml"))


def test_the_archive_is_whole_and_its_name_tells_its_content(tmp_path: Path) -> None:
    sweep = Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml")
    first, again = (pack(sweep, folder) for folder in (tmp_path, _made(tmp_path / "again")))
    assert first.name == again.name and first.read_bytes() == again.read_bytes()
    assert pack(sweep.override(seed=1), tmp_path).name != first.name
    code = "import ffnet_search, sys; sys.stderr.write(ffnet_search.__file__)"
    (tmp_path / "runs").write_text("no folder: the run ends before its first stage")
    script = f"import sys, runpy; sys.argv = [{str(first)!r}]"
    run_it = f"try: runpy.run_path({str(first)!r}, run_name='__main__')\nfinally: {code}"
    run = subprocess.run(
        [sys.executable, "-c", f"{script}\n{run_it}"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    said, *_, error, code_at = run.stderr.splitlines()
    assert said.startswith("sweep digits, digest ")
    assert error.startswith("ffnet-search: runs"), run.stderr
    assert code_at.startswith(str(tmp_path / ".cache" / "ffnet-search"))  # its own code, not the installed one


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
