"""Nothing that an untrusted file names is imported or run without consent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from forgotten import forgotten
from latency_spaces import TINY, model_of

from ffnet_search.cluster.cluster_file import check_cluster
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.network import load
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.imports.modules import module_file
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.plugins import find_class
from ffnet_search.provenance import git_state
from ffnet_search.run.check import check_sweep
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.input import Input

SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stages": [{"depth": 1, "width": 8, "token_kernel": 3}],
}
EVIL = "evil.nets:Class"  # importing `evil` leaves a mark
CLUSTER = {
    "cluster_name": "c",
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]},
    "auth": {"ssh_user": "me"},
    "metadata": {"sweep": {"search_space": SPACE}},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a package whose import leaves the file MARK."""
    (tmp_path / "evil").mkdir()
    mark = f"import pathlib; pathlib.Path({str(tmp_path / 'MARK')!r}).touch()"
    (tmp_path / "evil" / "__init__.py").write_text(mark)
    (tmp_path / "evil" / "nets.py").write_text(mark)
    monkeypatch.chdir(tmp_path)
    with forgotten("evil"):
        yield tmp_path


def test_a_module_is_found_without_importing_its_package(folder: Path) -> None:
    assert module_file("evil.nets") == folder / "evil" / "nets.py"
    assert module_file("evil") == folder / "evil" / "__init__.py"
    assert module_file("evil.none") is module_file("none.nets") is module_file("..") is module_file("") is None
    assert user_code({"callbacks": [EVIL]}) == (folder / "evil",)
    assert not (folder / "MARK").exists()
    assert str(folder) not in sys.path  # or a stranger's file could stand in for a missing optional package


@pytest.mark.parametrize(
    "content",
    [
        {"train": {"callbacks": [EVIL]}},
        {"train": {"loggers": [{"class_path": "evil.nets.Class"}]}},
        {"data": {"name": EVIL}},
        {"data": {"name": "digits", "augment": {"transforms": [EVIL]}}},
        {"search": {"sampler": EVIL}},
        {"search": {"engine": EVIL, "early_stopping": {"rule": EVIL}, "evaluator": "train"}},
        {"latency": {"backend": EVIL}},
        {"task": EVIL},
        {"search_space": {**SPACE, "stages": [{"depth": 1, "width": 8, "mixer": EVIL}]}},
    ],
)
def test_a_check_imports_nothing_of_a_stranger(folder: Path, content: dict[str, Any]) -> None:
    path = folder / "sweep.yaml"
    with (folder / "evil" / "nets.py").open("a") as source:
        source.write("\nclass Class: ...")
    path.write_text(yaml.safe_dump({"search_space": SPACE, "allow_imports": True, **content}))
    with foreign_imports(ForeignImports.REFUSED):
        if "task" in content or "search_space" in content:  # whose class decides what the networks cost
            with pytest.raises(SweepError, match="nets.py, outside the installed packages"):
                Sweep.from_yaml(path)
        else:
            check_sweep(Sweep.from_yaml(path))
    with foreign_imports(ForeignImports.BY_CONSENT):
        path.write_text(path.read_text().replace("allow_imports: true", "allow_imports: false"))
        with pytest.raises(SweepError, match=r"would import code .*nets.py .*add `allow_imports: true`"):
            Sweep.from_yaml(path)
    assert not (folder / "MARK").exists()


def test_nobody_is_asked_for_code_of_this_program(folder: Path) -> None:
    """Also where it is imported from a checkout, which is in no folder of installed packages."""
    with foreign_imports(ForeignImports.REFUSED):
        assert find_class("ffnet_search.forecasting.series:Series", "data.name").__name__ == "Series"


def test_a_run_imports_what_the_sweep_allows(folder: Path) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "allow_imports": True, "task": EVIL}))
    with foreign_imports(ForeignImports.BY_CONSENT), pytest.raises(SweepError, match="Class does not exist"):
        Sweep.from_yaml(path)
    assert (folder / "MARK").exists()


@pytest.mark.parametrize("listed", [False, True])
def test_a_program_of_a_sweep_is_run_by_consent(folder: Path, listed: bool) -> None:
    """Asked for before anything runs, and refused by the backend itself where nobody was asked."""
    arguments = {"command": ["touch", str(folder / "MARK"), "{model}"], "device": "any"}
    device = {"name": "phone", "backend": "command", "init_args": arguments}
    path = folder / "sweep.yaml"
    content = {"search_space": SPACE, "latency": [device] if listed else device}
    path.write_text(yaml.safe_dump(content))
    with foreign_imports(ForeignImports.REFUSED):
        check_sweep(Sweep.from_yaml(path))
        backend = make_backend(Sweep.from_yaml(path).latency[0])
        with pytest.raises(SweepError, match=r"touch .* is not run unasked; .* `allow_imports: true`"):
            backend.load(model_of(TINY.smallest), 1)
    with foreign_imports(ForeignImports.BY_CONSENT):
        with pytest.raises(SweepError, match=r"would run the program \['touch', .*or give --allow-imports"):
            Sweep.from_yaml(path)
        path.write_text(yaml.safe_dump({**content, "allow_imports": True}))
        allowed = make_backend(Sweep.from_yaml(path).latency[0])
        with pytest.raises(SweepError, match="must print the milliseconds"):
            allowed.load(model_of(TINY.smallest), 1)()
    assert (folder / "MARK").exists()


def test_what_is_installed_is_imported_unasked(folder: Path) -> None:
    with foreign_imports(ForeignImports.REFUSED):
        assert find_class("lightning.pytorch.callbacks:Callback", "x").__name__ == "Callback"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit(0)", r"cannot be imported: SystemExit: 0 \(.*nets.py, line 1\)"),
        ("\n1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(.*nets.py, line 2\)"),
        ("import", "cannot be imported: SyntaxError"),
        ("import no_such_package", "needs no_such_package, which is not installed"),
        ("raise ImportError('a\\nb')", "cannot be imported: ImportError: a"),
    ],
)
def test_a_module_that_fails_is_one_sentence(folder: Path, code: str, message: str) -> None:
    (folder / "evil" / "nets.py").write_text(code)
    with pytest.raises(SweepError, match=message) as caught:
        find_class(EVIL, "train.callbacks.0.class_path")
    assert "\n" not in str(caught.value)


def test_an_exported_folder_of_a_stranger_imports_nothing(folder: Path) -> None:
    content = Architecture.preset("ffnet_1", Input(1, 8, 10)).to_dict()
    content["stages"][0]["blocks"][0]["mixer"] = EVIL
    (folder / "architecture.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SweepError, match="outside the installed packages"):
        load(folder)
    assert not (folder / "MARK").exists()


def git(*words: str, folder: Path) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["evil", "e\fvil", "e\u2028vil", b"e\xffvil"], ids=ascii)
def test_git_runs_nothing_that_a_repository_names(folder: Path, name: str | bytes) -> None:
    name = os.fsdecode(name)
    mark = f"touch {folder / 'MARK'}; cat"
    git("init", "-q", folder=folder)
    git("config", "user.email", "a@b", folder=folder)
    git("config", "user.name", "a", folder=folder)
    (folder / "file.txt").write_text("1")
    (folder / ".gitattributes").write_bytes(os.fsencode(f"*.txt filter={name}\n"))
    git("add", ".", folder=folder)
    git("commit", "-qm", "1", folder=folder)
    git("config", f"filter.{name}.clean", mark, folder=folder)
    git("config", f"filter.{name}.required", "true", folder=folder)
    git("config", "core.fsmonitor", f"{mark} #", folder=folder)
    hook = folder / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\n{mark}\n")
    hook.chmod(0o755)
    os.utime(folder / "file.txt", (1, 1))  # git has to read it again
    state = git_state()
    assert state is not None
    assert state["changed"] is False
    (folder / "file.txt").write_text("2")
    assert git_state() == {**state, "changed": True}
    assert not (folder / "MARK").exists()
    git("config", "filter.a=b.clean", mark, folder=folder)  # `git -c` cannot name it
    (folder / ".gitattributes").write_text("*.txt filter=a=b\n")
    assert git_state() is None
    assert not (folder / "MARK").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auth": {"ssh_user": "-oProxyCommand=touch MARK"}}, "auth.ssh_user must be the name of a user or a host"),
        (
            {"auth": {"ssh_user": "me", "ssh_private_key": "-F/x"}},
            r"where it begins with .-., write ./ before it",
        ),
        ({"provider": {"type": "local", "head_ip": "-oProxyCommand=x", "worker_ips": []}}, "provider.head_ip must be"),
        ({"provider": {"type": "local", "head_ip": "a", "worker_ips": ["a b"]}}, "provider.worker_ips.0 must be"),
        ({"provider": {"type": "external", "module": "evil.nets.Class"}}, "provider.type must be one of Ray's own"),
        ({"file_mounts": {"/a": "--rsh=touch MARK"}}, r"where it begins with .-., write ./ before it"),
    ],
)
def test_values_of_a_cluster_file_are_no_options(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({**CLUSTER, **change}))
    with pytest.raises(SweepError, match=message):
        check_cluster(path)
    assert not (folder / "MARK").exists()


@pytest.mark.parametrize("arguments", [{}, {"device": "any"}, {"command": None}, {"command": []}], ids=str)
def test_consent_is_asked_only_for_a_program_that_is_named(folder: Path, arguments: dict[str, object]) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "latency": {"backend": "command", "init_args": arguments}}))
    with foreign_imports(ForeignImports.BY_CONSENT):
        sweep = Sweep.from_yaml(path)
        with pytest.raises(SweepError, match=r"latency\.init_args: command must ") as raised:
            check_sweep(sweep)
    assert "None" not in str(raised.value)
