"""User-supplied code that is sent to a cluster: which files, and that an archive holds them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml

from ffnet_search.cluster.archive import pack
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.sweep import Sweep

ROOT = Path(__file__).parents[1]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that imports another one, and a package."""
    (tmp_path / "own_blocks.py").write_text("import numpy\nimport own_helpers\nclass Blur: ...\n")
    (tmp_path / "own_helpers.py").write_text("import os\n")
    (tmp_path / "unused.py").write_text("")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "template.py").write_text("class {{ name }}: pass\n")
    (tmp_path / "own_package" / "data.py").write_text("from own_helpers import x\nfrom . import y\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_modules_and_packages_are_sent_with_what_they_import(own: Path) -> None:
    assert user_code({"mixer": ["pool", "own_blocks:Blur"]}) == (own / "own_blocks.py", own / "own_helpers.py")
    assert user_code([{"name": "own_package.data:Mine"}]) == (own / "own_helpers.py", own / "own_package")


@pytest.mark.parametrize(
    "name",
    ["digits", "lightning.pytorch.callbacks:EarlyStopping", "ffnet_search.data.digits:Digits", "json:JSONDecoder",
     "no_such_module:X", "localhost:8080"],
)  # fmt: skip
def test_nothing_is_sent_of_what_every_node_has(own: Path, name: str) -> None:
    assert user_code({"class_path": name}) == ()


def test_an_archive_holds_user_code(own: Path) -> None:
    content = {
        "name": "own",
        "search_space": str(ROOT / "search_spaces" / "ffnet_digits.yaml"),
        "train": {"callbacks": ["own_blocks:Blur", "own_package.data:Mine"]},
    }
    (own / "s.yaml").write_text(yaml.safe_dump(content))
    archive = pack(Sweep.from_yaml(own / "s.yaml"), own)
    names = set(zipfile.ZipFile(archive).namelist())
    assert {"own_blocks.py", "own_helpers.py", "own_package/__init__.py", "own_package/data.py"} <= names
    assert "unused.py" not in names and "ffnet_search/engines/registry.py" in names
