"""The tree keeps its shape: few files at the root, short files and functions, few parameters, plain words, no heavy
imports on the way to a first answer. The order of the rooms is import-linter's, in `make lint`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ffnet_search.imports.module_source import read_source
from ffnet_search.imports.modules import module_file

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ffnet_search"
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES, FUNCTION_LINES, PARAMETERS, ROOT_FILES, ROOM_FILES = 300, 45, 6, 10, 16
# Phrases that CONTRIBUTING's glossary replaces.
REPLACED = re.compile(
    r"\bone's\b|\bof the user's own\b|\bsomebody|\b(is|are) told\b|\bunder way\b|\bgoe?s? on\b|\bhas got\b|\banew\b"
    r"|\bwho is at\b|\bwhose it is\b|\bwho asks\b|\bpictures?\b",
    re.IGNORECASE,
)
NOT_FIRST = re.compile(  # of a docstring
    r"(What|Whether|How|Of|By|Who|Whose|Which|Where|When|With|Without|In|On|From|For|At|To|Is|Has)\b"
)
HEAVY = {"torch", "lightning", "torchmetrics", "optuna", "ray", "sklearn", "scipy", "matplotlib", "onnx", "onnxruntime"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def test_the_root_has_few_files_and_each_room_too() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= ROOT_FILES
    for room in {path.parent for path in FILES} - {PACKAGE}:
        assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= ROOM_FILES, room.name


def test_only_the_root_has_a_public_list() -> None:
    assert [path for path in PACKAGE.rglob("*/__init__.py") if path.read_text(encoding="utf-8").strip()] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    for function in functions(path):
        where = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno + 1 <= FUNCTION_LINES, where
        assert len(parameters(function)) <= PARAMETERS, f"{where}: {parameters(function)}"


def test_no_test_states_how_long_it_waits_for_a_process() -> None:
    """On a busy machine minutes are too few: `patience.py` says how long. A second, for an answer that is asked again,
    is no wait."""
    stated = re.compile(r"\btimeout=\d\d")
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    assert [path.name for path, text in files.items() if stated.search(text)] == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "examples"])
def test_other_files_are_as_short(folder: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_benchmarks_print_milliseconds_as_the_program_does() -> None:
    """By `figure`: three significant digits, whatever the device."""
    own = re.compile(r"\{[^{}]*(?<![a-z])ms\b[^{}]*:[<>]?\d*\.\d[fg]\}|:[<>]?\d*\.\d[fg]\} ms\b")
    for path in (ROOT / "benchmarks").rglob("*.py"):
        found = own.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_what_tests_share_is_in_support() -> None:
    """No test imports another: a reader finds a helper by its name."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in named if name.startswith("test_")], f"{path.relative_to(ROOT)}: {named}"


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tests/e2e", "tests/faults", "tests/fuzz"])
def test_code_that_is_seldom_run_imports_what_exists(folder: str) -> None:
    """A renamed function would end it when it is next needed."""
    missing: list[str] = []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = str(node.module) if isinstance(node, ast.ImportFrom) else ""
            if not module.startswith(f"{PACKAGE.name}."):
                continue
            source = read_source(module)
            assert source is not None, f"{path.relative_to(ROOT)}: {module}"
            paths = [f"{module}.{one.name}" for one in node.names if one.name not in source.bound]
            missing += [f"{path.relative_to(ROOT)}: {one}" for one in paths if module_file(one) is None]
    assert missing == []


def test_json_files_are_written_by_one_function() -> None:
    """By `write_json`, which leaves no NaN and no infinity in them."""
    own = {"atomic_write.py", "latency/journal.py"}  # the function; lines that are checked when they are read
    for path in FILES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and "write" in ast.unparse(call.func):
                written = path.relative_to(PACKAGE).as_posix() in own or "json.dumps(" not in ast.unparse(call)
                assert written, f"{path}:{call.lineno}"


def test_output_of_other_programs_is_decoded_whatever_it_holds() -> None:
    """Their messages may be in any encoding, and are quoted where something failed already."""
    for path in FILES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = ast.unparse(call) if isinstance(call, ast.Call) else ""
            strict = "text=True" in words or words.endswith((".stderr.decode()", ".stdout.decode()"))
            assert not strict or "errors=" in words, f"{path}:{getattr(call, 'lineno', 0)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_words_are_the_fields(path: Path) -> None:
    """Comments, docstrings and messages."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING) or token.type == getattr(
                tokenize, "FSTRING_MIDDLE", -1
            ):
                found = REPLACED.search(token.string)
                assert not found, (
                    f"{path.relative_to(ROOT)}:{token.start[0]}: {found and found[0]!r} in {token.string!r}"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_start_with_a_noun_or_a_verb(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node) or ""
            assert not NOT_FIRST.match(text), f"{path.relative_to(ROOT)}: {getattr(node, 'name', '')}: {text[:50]}"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *sorted(p.name for p in ROOT.glob("docs/*.md"))])
def test_documents_use_the_same_words(document: str) -> None:
    path = ROOT / document if (ROOT / document).exists() else ROOT / "docs" / document
    found = REPLACED.search(path.read_text(encoding="utf-8"))
    assert not found, f"{document}: {found and found[0]!r}"


def registries() -> Iterator[tuple[str, str]]:
    """(registry, import path) of every row of a module-level dict `NAME = {name: "package.module:Class"}`."""
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
                continue
            for value in node.value.values:
                if isinstance(value, ast.Constant) and re.fullmatch(r"ffnet_search[\w.]+:\w+", str(value.value)):
                    yield ast.unparse(node.target), str(value.value)


def test_every_family_is_registered_in_one_form() -> None:
    rows = list(registries())
    assert {name for name, _ in rows} >= {"MIXERS", "TASKS", "DATASETS", "BACKENDS", "ENGINES", "FORMATS"}
    for name, row in rows:
        module, _, attribute = row.partition(":")
        spec = find_spec(module)
        assert spec is not None and spec.origin is not None, f"{name}: {row}"
        defined = {getattr(node, "name", "") for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body}
        assert attribute in defined, f"{name}: {row}"


@pytest.mark.parametrize("words", [["--help"], ["check", "sweeps/digits.yaml"], ["show", "ffnet_1"]], ids=" ".join)
def test_a_first_answer_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom ffnet_search.cli.app import main\nsys.argv[1:] = " + repr(words) + "\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.rpartition("LOADED")[2].split())
    assert loaded & (HEAVY | {"pydantic", "yaml", "numpy"} if words == ["--help"] else HEAVY) == set()
