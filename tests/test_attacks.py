"""Every kind of malicious file or option, given to the command that meets it: nothing of it is run, imported or sent to
the terminal. SECURITY.md quotes the count.

Each would leave the file MARK, or show SECRET or the code TAKEN.
"""

from __future__ import annotations

import io
import pickle
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from attacks import ATTACKS, EVIL, SECRET, TAKEN, Act, Touch, sweep
from base_run import write_base
from forgotten import forgotten

from ffnet_search.cli.app import main
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import ForeignImports, foreign_imports

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_base(folder)
    (folder / "evil").mkdir()
    (folder / "secret").write_text(SECRET)
    return folder


@pytest.fixture
def folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: a run, and a package whose import leaves MARK."""
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    for name in ("__init__.py", "nets.py"):
        (tmp_path / "evil" / name).write_text(f"open({str(tmp_path / 'MARK')!r}, 'w').close()\nclass Class: ...\n")
    monkeypatch.chdir(tmp_path)
    with forgotten("evil"):
        yield tmp_path


def meet(command: str | Act, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the command, and return all that it said. It ends well or in one sentence."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        if isinstance(command, str):
            monkeypatch.setattr(sys, "argv", ["ffnet-search", *command.split()])
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code in (0, 2), said.getvalue()
        else:
            with foreign_imports(ForeignImports.REFUSED):
                try:
                    command()
                except SweepError as error:
                    said.write(str(error))
    return said.getvalue()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_of_an_attack_is_run(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ATTACKS[name].lay()
    said = meet(ATTACKS[name].command, monkeypatch)
    assert "Traceback" not in said
    assert SECRET not in said
    assert TAKEN[:1] not in said
    for mark in (folder / "MARK", folder.parent / "MARK"):
        assert not mark.exists() and not mark.is_symlink()


def test_the_attacks_would_be_noticed(folder: Path) -> None:
    """What they name does leave MARK, where somebody runs it."""
    sweep(task=EVIL)()
    with foreign_imports(ForeignImports.ALLOWED), pytest.raises(SweepError):
        Sweep.from_yaml(Path("tiny.yaml"))
    assert (folder / "MARK").exists()
    (folder / "MARK").unlink()
    pickle.loads(pickle.dumps(Touch()))  # noqa: S301
    assert (folder / "MARK").exists()


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_the_count_is_quoted(page: str) -> None:
    assert f"0 of {len(ATTACKS)} kinds" in (ROOT / page).read_text(encoding="utf-8")
