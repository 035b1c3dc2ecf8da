"""What surrounds the package: its metadata and description, container, citation, notebooks, and other systems."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ffnet_search.space.architecture import Architecture

ROOT = Path(__file__).parents[1]
INDEX = "https://download.pytorch.org/whl/cpu"
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def code_cells(path: Path) -> list[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert not any(cell.get("outputs") for cell in content["cells"]), f"{path.name} has outputs; clear them"
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    script = "\n".join(code_cells(path))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


def test_an_architecture_draws_itself() -> None:
    drawing = Architecture.preset("ffnet_1")._repr_svg_()
    assert drawing.strip().startswith("<svg") and "FFNet" not in drawing.partition(">")[0]


@pytest.fixture
def hatch_build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("hatch_build")


def test_the_description_of_the_package_has_absolute_links_or_none(hatch_build: ModuleType) -> None:
    readme, page = (ROOT / "README.md").read_text(encoding="utf-8"), "https://example.org/tree"
    text = hatch_build.absolute(readme, page)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert len(targets) > 20 and all("://" in target for target in targets)
    assert f"]({page}/raw/main/docs/front.png)" in text  # an image, not the page that shows it
    assert f"]({page}/blob/main/CHANGELOG.md)" in text
    text = hatch_build.absolute(readme, None)
    assert all("://" in target for target in re.findall(r"\]\(([^)#\s]+)", text))
    assert "docs/front.png" not in text and "MetaMixer, arXiv 2406.02021](https://arxiv.org" in text


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b"),
        ("https://example.org/a/b/", "https://example.org/a/b"),
        ("git@example.org:a/b.git", "https://example.org/a/b"),
        ("ssh://git@example.org:22/a/group/b.git", "https://example.org/a/group/b"),
        ("https://name:password@example.org:8443/a/b", "https://example.org:8443/a/b"),
        ("/srv/git/b.git", None),
        ("../b", None),
        ("file:///srv/b", None),
        ("C:\\b", None),
        ("host:b", None),
        ("https://example.org", None),
        ("", None),
    ],
)
def test_the_page_of_a_repository(hatch_build: ModuleType, remote: str, page: str | None) -> None:
    assert hatch_build.address(remote) == page


def test_the_repository_is_the_one_that_the_source_is_of(hatch_build: ModuleType, tmp_path: Path) -> None:
    """A checkout says so by its remote, and a source distribution by its metadata; a folder alone does not."""
    assert hatch_build.repository(tmp_path) is None
    for words in (["init", "-q"], ["remote", "add", "origin", "https://example.org/a/b.git"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert hatch_build.repository(tmp_path) == "https://example.org/a/b"
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nProject-URL: Paper, https://example.org/paper\n\ntext\n")
    assert hatch_build.repository(tmp_path) is None
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nProject-URL: Repository, https://example.org/a/c\n\nx\n")
    assert hatch_build.repository(tmp_path) == "https://example.org/a/c"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in PYPROJECT
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


def test_the_container_is_made_of_what_exists() -> None:
    """What a linter asks for, where no daemon builds it: pinned base, existing files, no root, the index for CPUs."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    names = [name for name, _ in steps]
    assert set(names) <= {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}
    assert re.fullmatch(r"python:3\.\d+-slim", steps[0][1]) and names[0] == "FROM"
    for name, words in steps:
        if name == "COPY":
            for source in words.split()[:-1]:
                assert (ROOT / source).exists(), f"COPY {source}"
    assert names.index("USER") < names.index("ENTRYPOINT") and ["USER", "root"] not in steps
    assert json.loads(next(words for name, words in steps if name == "ENTRYPOINT")) == ["ffnet-search"]
    assert f"INDEX={INDEX}" in text and "--constraint constraints.txt" in text
    included = re.findall(r'^(\w+) = "ffnet_search/', PYPROJECT, re.M)  # beside the package, in the wheel inside it
    assert all(f"COPY {name} {name}" in text for name in included)


@pytest.mark.parametrize("document", ["README.md", "docs/index.md"])
def test_the_first_command_brings_no_gigabytes_of_cuda(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    (first, *_) = re.findall(r"^pip install .*$", text, re.M)
    assert INDEX in first


def test_windows_gets_a_sentence(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['fcntl'] = None\nfrom ffnet_search.cli.app import main\n"
        "sys.platform = 'win32'\nsys.argv[1:] = ['run', 'x.yaml']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "WSL 2" in done.stderr and "docs/windows.md" in done.stderr


def test_networks_load_without_what_windows_lacks() -> None:
    code = (
        "import os, sys\nsys.modules['fcntl'] = None\ndel os.O_NONBLOCK\nimport ffnet_search\n"
        "assert all([ffnet_search.load, ffnet_search.Architecture, ffnet_search.SearchSpace, ffnet_search.MetaMixer])\n"
        "ffnet_search.SearchSpace.from_yaml('search_spaces/ffnet_digits.yaml')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


MODULES = {"PIL": "pillow", "sklearn": "scikit_learn", "yaml": "pyyaml"}  # named otherwise than their packages
BROUGHT = {  # with a declared package, as a part of what that offers
    "IPython", "httpx2", "markupsafe", "pydantic_core", "threadpoolctl", "typing_extensions",
}  # fmt: skip
UNSEEN = {"onnx"}  # imported by torch's exporter and ONNX Runtime's quantiser


def imported() -> set[str]:
    """Packages that any module of ours imports, wherever in it."""
    names: set[str] = set()
    for path in (ROOT / "ffnet_search").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - {"ffnet_search", *sys.stdlib_module_names}


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    _, _, rest = PYPROJECT.partition("\ndependencies = [")
    always, _, extras = rest.partition("[project.optional-dependencies]")
    needed, optional = (
        {name.lower().replace("-", "_") for name in re.findall(r'"([A-Za-z][\w-]*)', part)}
        for part in (always, extras.partition("[project.scripts]")[0])
    )
    found = {MODULES.get(name, name) for name in imported() - BROUGHT}
    assert found <= needed | optional
    assert needed - found == UNSEEN


def classifiers() -> list[Any]:
    return re.findall(r"Python :: (3\.\d+)", PYPROJECT)


def test_supported_pythons_are_the_same_everywhere() -> None:
    first, *_, last = classifiers()
    assert f'requires-python = ">={first}"' in PYPROJECT
    assert f"Python {first} to {last}" in (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
