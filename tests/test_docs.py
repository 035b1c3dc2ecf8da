"""The documents say what the code does: every verb, every file, every YAML file, and links that lead somewhere."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
import typer

from ffnet_search.cli.app import app
from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE_WITH_WORDS = re.compile(r"/(?:work|tmp|opt|root|home)/")


def file_map() -> list[str]:
    """Paths of the map in README: the first fenced block after the heading "## Files". One file or folder (ending in
    `/`) a line, two spaces of indentation per level, and words after it:

        ffnet_search/
          architecture.py   one network
          models/
            elastic.py      layers
    """
    _, found, rest = README.partition("\n## Files\n")
    assert found, 'README must have the heading "## Files"'
    paths: list[str] = []
    folders: list[str] = []
    for line in rest.split("```")[1].splitlines()[1:]:
        if line.strip():
            name = line.split()[0]
            level = (len(line) - len(line.lstrip())) // 2
            folders = folders[:level]
            paths.append("".join(folders) + name)
            if name.endswith("/"):
                folders.append(name)
    return paths


@pytest.mark.parametrize("verb", VERBS)
def test_readme_has_every_verb(verb: str) -> None:
    assert f"ffnet-search {verb}" in README


def test_readme_names_no_verb_that_is_not_there() -> None:
    assert set(re.findall(r"ffnet-search ([a-z]+)\b", README)) <= set(VERBS)


def test_readme_opens_with_the_two_commands() -> None:
    opening = README[:3000]
    assert "make quickstart" in opening
    assert "make test" in opening


def test_the_file_map_is_the_tree() -> None:
    told = file_map()
    assert len(told) == len(set(told))
    for path in told:
        assert (ROOT / path).exists(), f"README's file map names {path}, which is not there"
        assert (ROOT / path).is_dir() == path.endswith("/"), path
    parents = {str(Path(path).parent) for path in told}
    whole = [path for path in told if path.endswith("/") and str(Path(path)) not in parents]  # folders told as one
    for path in sorted([*ROOT.glob("ffnet_search/**/*.py"), *ROOT.glob("sweeps/*"), *ROOT.glob("search_spaces/*")]):
        name = path.relative_to(ROOT).as_posix()
        if path.name not in ("__init__.py", "__pycache__"):
            assert name in told or name.startswith(tuple(whole)), f"README's file map must name {name}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("sweeps/*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_loads(path: Path) -> None:
    assert Sweep.from_yaml(path).name == path.stem


@pytest.mark.parametrize("path", sorted(ROOT.glob("search_spaces/*.yaml")), ids=lambda path: path.stem)
def test_every_search_space_loads(path: Path) -> None:
    assert SearchSpace.from_yaml(path).size > 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_readme_names_every_benchmark(path: Path) -> None:
    assert f"benchmarks/{path.name}" in README


def test_make_targets_that_documents_name_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)`", document.read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document.name} names make {target}"


def test_pins_cover_what_is_required() -> None:
    def names(lines: list[str]) -> set[str]:
        found = (re.match(r"[A-Za-z0-9_.-]+", line) for line in lines)
        return {match.group().lower().replace("_", "-") for match in found if match}

    wanted = [line for line in requires("ffnet-search") or [] if "extra ==" not in line or "'dev'" in line]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    assert "torch==2.13.0" in pins
    assert names(wanted) <= names(pins)


def test_no_document_names_a_place_on_somebodys_machine() -> None:
    for path in [*DOCUMENTS, *ROOT.glob("ffnet_search/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "Makefile"]:
        assert not CODE_WITH_WORDS.search(path.read_text(encoding="utf-8")), path.name
