"""The documents match the code: every verb, every room, every benchmark, every YAML file; links lead to files."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
import typer

from ffnet_search.cli.app import app
from ffnet_search.config import schema, search_schema
from ffnet_search.config.binding import NOT_SEARCHED
from ffnet_search.config.sweep import Sweep
from ffnet_search.space.registry import TASKS, task_outputs
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import Section

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE_WITH_WORDS = re.compile(r"/(?:work|tmp|opt|root|home)/")


def tree() -> list[str]:
    """Paths of the tree in README, the first fenced block after the heading "## The house": one file or folder (ending
    in `/`) a line, two spaces of indentation per level, and words after it."""
    _, heading, rest = README.partition("\n## The house\n")
    assert heading, 'README must have the heading "## The house"'
    paths: list[str] = []
    folders: list[str] = []
    for line in rest.split("```")[1].splitlines()[1:]:
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2]
        paths.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


@pytest.mark.parametrize("verb", VERBS)
def test_readme_has_every_verb(verb: str) -> None:
    assert f"ffnet-search {verb}" in README


def test_readme_names_no_unknown_verb() -> None:
    assert set(re.findall(r"ffnet-search ([a-z]+)\b", README)) <= set(VERBS)


def test_readme_opens_with_the_two_commands() -> None:
    opening = README[:3000]
    assert "make quickstart" in opening
    assert "make test" in opening


def test_readme_has_every_room_and_no_other() -> None:
    rooms = {f"ffnet_search/{path.parent.name}/" for path in ROOT.glob("ffnet_search/*/__init__.py")}
    named = {path for path in tree() if path.startswith("ffnet_search/") and path.endswith("/")} - {"ffnet_search/"}
    assert named == rooms
    for path in tree():
        assert list(ROOT.glob(path)), f"README's tree names {path}, which does not exist"


@pytest.mark.parametrize("path", sorted(ROOT.glob("sweeps/*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_loads(path: Path) -> None:
    assert Sweep.from_yaml(path).name == path.stem


@pytest.mark.parametrize("path", sorted(ROOT.glob("search_spaces/*.yaml")), ids=lambda path: path.stem)
def test_every_search_space_loads(path: Path) -> None:
    assert SearchSpace.from_yaml(path).size > 1


SECTIONS: dict[str, type[Section]] = {
    "# The sweep file": Sweep,
    "## `data`": schema.DataSection,
    "## `data.augment`": schema.Augment,
    "## `train`": schema.TrainSection,
    "## `latency`": schema.LatencySection,
    "## `search`": search_schema.SearchSection,
    "## `search.early_stopping`": search_schema.EarlyStoppingSection,
    "## `export`": schema.ExportSection,
    "## `export.retrain`": schema.RetrainSection,
    "## `report`": schema.ReportSection,
    "## The search space": SearchSpace,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_of_the_sweep_has_every_field_and_its_default(heading: str) -> None:
    page = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    table = page.partition(f"{heading}\n")[2].partition("\n#")[0]
    rows = dict(re.findall(r"^\| (`[^|]+) \|([^|]*)\|", table, re.MULTILINE))
    defaults = {name: default for names, default in rows.items() for name in re.findall(r"`(\w+)`", names)}
    fields = {field.alias or name: field for name, field in SECTIONS[heading].model_fields.items()}
    assert sorted(defaults) == sorted(fields)
    for name, field in fields.items():
        if isinstance(field.default, bool | int | float | str):
            wanted = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert defaults[name].strip() == f"`{wanted}`", name


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_the_sweep_has_the_defaults_of_each_task(task: str) -> None:
    page = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    for name, value in task_outputs(task).recipe.items():
        [row] = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        wanted = "null" if value is None else f"{value:g}" if isinstance(value, float) else value
        assert f"; {task.replace('_', '-')}: `{wanted}`" in row, name


def test_the_page_of_hyperparameters_has_the_fields_that_are_not_searched() -> None:
    page = (ROOT / "docs/hyperparameters.md").read_text(encoding="utf-8")
    listed = page.partition("a field of `train` by its name (any but ")[2].partition(")")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == NOT_SEARCHED


def test_the_page_of_fidelity_has_the_form_of_the_answer() -> None:
    page = (ROOT / "docs/fidelity.md").read_text(encoding="utf-8")
    assert f"\n{task_outputs('classification').quality.label}, on validation\n" in page


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_the_page_of_benchmarks_has_every_benchmark(path: Path) -> None:
    assert f"benchmarks/{path.name}" in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


def test_make_targets_in_documents_exist() -> None:
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


def test_no_document_names_a_path_of_one_machine() -> None:
    for path in [*DOCUMENTS, *ROOT.glob("ffnet_search/**/*.py"), *ROOT.glob("benchmarks/**/*.py"), ROOT / "Makefile"]:
        assert not CODE_WITH_WORDS.search(path.read_text(encoding="utf-8")), path.name
