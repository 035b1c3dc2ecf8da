"""What is sent to a cluster: the file, checked by Ray's own rules, and the archive that runs there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.cluster.archive import pack
from ffnet_search.cluster.cluster_file import check_cluster, must_be_reachable
from ffnet_search.cluster.plain_values import must_be_plain
from ffnet_search.cluster.submit import submit
from ffnet_search.config.files import is_cluster
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import ForeignImports, foreign_imports

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


ODD = ["-oProxyCommand=touch MARK", "a\nb", "$(touch MARK)", "a;b", "a\0b", "a" * 5000, "`b`", "a b", 7, ["a"]]
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "cluster_name": lambda value: {"cluster_name": value},
    "provider.head_ip": lambda value: {"provider": {"type": "local", "head_ip": value, "worker_ips": []}},
    "provider.worker_ips.0": lambda value: {"provider": {"type": "local", "head_ip": "a", "worker_ips": [value]}},
    "auth.ssh_user": lambda value: {"auth": {"ssh_user": value}},
    "file_mounts: a key": lambda value: {"file_mounts": {value: "."}},
    "cluster_synced_files.0": lambda value: {"cluster_synced_files": [value]},
    "docker.image": lambda value: {"docker": {"image": value, "container_name": "c"}},
    "docker.worker_image": lambda value: {"docker": {"image": "i", "container_name": "c", "worker_image": value}},
    "docker.container_name": lambda value: {"docker": {"image": "i", "container_name": value}},
    "available_node_types.t.docker.worker_image": lambda value: {
        "available_node_types": {"t": {"docker": {"worker_image": value}}}
    },
}


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("field", PLACES)
def test_what_ray_hands_to_a_shell_is_plain(field: str, value: Any) -> None:
    if isinstance(value, list) and "key" in field:
        value = tuple(value)
    with pytest.raises(SweepError) as refused:
        must_be_plain(LOCAL | PLACES[field](value))
    said = str(refused.value)
    assert said.startswith(f"{field} must be ") and "\n" not in said and len(said) < 300


@pytest.mark.parametrize("value", ["-x", "a\nb", 'a" -o ProxyCommand="b', "it's", "a\\", "a" * 5000])
@pytest.mark.parametrize("name", ["ssh_private_key", "ssh_public_key", "file_mounts"])
def test_paths_of_this_machine_hide_no_option(name: str, value: str) -> None:
    content = {"file_mounts": {"/a": value}} if name == "file_mounts" else {"auth": {"ssh_user": "me", name: value}}
    with pytest.raises(SweepError, match=rf"^(auth\.)?{name} must be a path without quotes"):
        must_be_plain(LOCAL | content)


@pytest.mark.parametrize("name", ["rsync_exclude", "rsync_filter", "run_options", "ssh_proxy_command"])
def test_what_is_an_argument_or_a_command_by_design_is_one_line(name: str) -> None:
    for value in ("-v /a:/b", "a\nb"):
        contents = {
            "run_options": {"docker": {"image": "i", "container_name": "c", "run_options": [value]}},
            "ssh_proxy_command": {"auth": {"ssh_user": "me", "ssh_proxy_command": value}},
        }
        content = LOCAL | contents.get(name, {name: [value]})
        if "\n" in value:
            with pytest.raises(SweepError, match=rf"{name}(\.0)? must be one line of text"):
                must_be_plain(content)
        else:
            must_be_plain(content)


def test_a_program_that_ssh_would_run_here_asks_for_consent(tmp_path: Path) -> None:
    path = write(tmp_path, LOCAL | {"auth": {"ssh_user": "me", "ssh_proxy_command": "nc %h"}})
    with foreign_imports(ForeignImports.BY_CONSENT), pytest.raises(SweepError, match=r"would run the program 'nc %h'"):
        Sweep.from_yaml(path)


@pytest.mark.skipif(shutil.which("ssh") is None or shutil.which("rsync") is None, reason="ssh and rsync are needed")
@pytest.mark.parametrize(
    ("runs", "message"),
    [("PLACE", "must be new, empty or the folder of a run"), ("a;b", "runs must be a path without")],
)
def test_a_head_fills_no_folder_but_that_of_a_run(tmp_path: Path, runs: str, message: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").touch()
    sweep = LOCAL["metadata"]["sweep"] | {"runs": runs.replace("PLACE", str(tmp_path)), "name": "own"}
    with pytest.raises(SweepError, match=message):
        submit(Sweep.from_yaml(write(tmp_path, LOCAL | {"metadata": {"sweep": sweep}})))


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
    with pytest.raises(SweepError, match=r"has no `provider`; `ffnet-search run .*digits.*` runs it here|submit needs"):
        submit(Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml"))


def test_the_archive_is_whole_and_its_name_tells_its_content(tmp_path: Path) -> None:
    sweep = Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml")
    first, again = (pack(sweep, folder) for folder in (tmp_path, _made(tmp_path / "again")))
    assert first.name == again.name and first.read_bytes() == again.read_bytes()
    assert pack(sweep.override(seed=1), tmp_path).name != first.name
    with zipfile.ZipFile(first) as content:
        sizes = [(one.compress_size, one.file_size) for one in content.infolist()]
    assert 2 * sum(packed for packed, _ in sizes) < sum(size for _, size in sizes), "ssh carries it compressed"
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
