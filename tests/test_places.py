"""Adding a sibling touches the places that CONTRIBUTING states: the files that know each row of each registry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ffnet_search"
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
PLACES = 2  # the file of a sibling, and its row
BASELINE = "ffnet_search.export.formats.onnx:Onnx"  # other formats are compared with it, by the writer


def rows() -> Iterator[tuple[str, str, str]]:
    """(registry, its file, import path) of every row of a module-level dict `NAME = {name: "package.module:Class"}`."""
    for file, text in sorted(SOURCES.items()):
        for node in ast.parse(text).body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
                continue
            for value in node.value.values:
                if isinstance(value, ast.Constant) and re.fullmatch(r"ffnet_search[\w.]+:\w+", str(value.value)):
                    yield ast.unparse(node.target), file, str(value.value)


@pytest.mark.parametrize(("registry", "file", "row"), list(rows()), ids=lambda value: str(value).rpartition(".")[2])
def test_a_sibling_is_known_in_its_places(registry: str, file: str, row: str) -> None:
    module, _, name = row.partition(":")
    imported = re.compile(rf"{re.escape(row)}\b|from {re.escape(module)} import [^\n]*\b{name}\b")
    knows = {path for path, text in SOURCES.items() if imported.search(text)} | {module.replace(".", "/") + ".py"}
    assert file in knows
    assert len(knows) <= PLACES + (row == BASELINE), f"{row} is known to {sorted(knows)}"


def test_a_sampler_of_optuna_is_known_nowhere() -> None:
    for name in ("NSGAIISampler", "NSGAIIISampler", "GPSampler", "QMCSampler"):
        assert [path for path, text in SOURCES.items() if name in text] == []


def test_a_metric_is_described_in_one_place() -> None:
    """Direction, unit, label and format; what computes it is the cost model's."""
    assert [path for path, text in SOURCES.items() if '"peak memory"' in text] == ["ffnet_search/metrics.py"]
    script = (PACKAGE / "report" / "page.js").read_text(encoding="utf-8")
    for name in ("params_m", "macs_m", "weights_mb", "peak_memory_mb"):
        assert name not in script


def test_milliseconds_have_one_format() -> None:
    """That of a latency, three significant digits; the scripts of exported networks have a copy of it."""
    scripts = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py.txt")}
    odd = re.compile(r"ms[\])\"']*:[#,]?\.\d[fge]\}")
    found = {file: odd.findall(text) for file, text in {**SOURCES, **scripts}.items() if odd.search(text)}
    assert found == {"ffnet_search/cli/run_commands.py": ["ms:.3g}"]}, "which is part of a command"
    rule = SOURCES["ffnet_search/formatting.py"].partition("def figure")[2].partition("return ")[2].partition("\n")[0]
    assert {name for name, text in scripts.items() if rule in text} == {
        "predict_command.py.txt",
        "predict_series.py.txt",
    }


def test_an_axis_touches_five_files() -> None:
    knows = {path for path, text in SOURCES.items() if re.search(r"\bchannel_kernel\b", text)}
    assert len(knows) <= 5, sorted(knows)


def test_contributing_states_these_counts() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for family, count in {"mixer": 2, "data set": 2, "task": 2, "latency backend": 2, "engine": 2, "format": 2}.items():
        assert re.search(rf"\| an? (export )?{family} \|[^|]*\| {count} \|", text), family
    walk = text.partition("| where is ...")[2].partition("\n\n")[0]
    paths = re.findall(r"`([a-z_/]+(?:\.py|/))`", walk)
    assert len(paths) >= 5
    for path in paths:
        assert (PACKAGE / path).exists(), path
