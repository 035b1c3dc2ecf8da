"""Wrong YAML, JSON and CSV files through the same entry points as the command line.

`make fuzz` reads 10,000 files; FUZZ=ci reads some hundreds. A failure prints the file's change, which repeats. A kind
is read in parts, each a test with its own time, for slow machines: `make fuzz PART=part3` reads a twentieth."""

from __future__ import annotations

import shutil
from pathlib import Path

import mutations
import pytest
import yaml
from entry_points import PROFILE, RUN, call, command, in_parts, replaced
from hypothesis import given
from PIL import Image

from ffnet_search.autoconfig.inspect_table import inspect_table
from ffnet_search.config.schema import DataSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.export.network import load
from ffnet_search.files.bounded import read_json
from ffnet_search.forecasting.series import read_series
from ffnet_search.models.saved import read_supernet
from ffnet_search.report.annotate import annotate_study
from ffnet_search.report.data import read_run
from ffnet_search.report.page import page
from ffnet_search.space.input import Input

YAML = {
    "sweep": ("tiny.yaml", [["check", "tiny.yaml"], ["show", "tiny.yaml"]]),
    "space": ("space.yaml", [["show", "space.yaml"]]),
    "architecture": (f"{RUN}/pareto/01-net/architecture.yaml", [["show", f"{RUN}/pareto/01-net"], ["show", RUN]]),
    "cluster": ("cluster.yaml", [["check", "cluster.yaml"]]),
    "copy": (f"{RUN}/sweep.yaml", [["pick", RUN, "--latency-ms", "1"], ["show", RUN]]),
}
JSON = {
    "table": (f"{RUN}/latency/onnxruntime-t1-b1.json",
              [["show", f"{RUN}/latency/onnxruntime-t1-b1.json"], ["pick", RUN, "--latency-ms", "1"]]),
    "card": (f"{RUN}/pareto/01-net/card.json",
             [["show", RUN], ["export", RUN, "--table"], ["show", f"{RUN}/pareto/01-net"]]),
    "record": (f"{RUN}/run.json", [["show", RUN], ["check", "tiny.yaml"]]),
}  # fmt: skip


@in_parts
@pytest.mark.parametrize("kind", YAML)
def test_yaml(base: Path, kind: str) -> None:
    name, verbs = YAML[kind]
    tree = yaml.safe_load((base / name).read_text())

    @PROFILE
    @given(mutations.changes(mutations.RAW_YAML), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        with replaced(base / name, mutations.damaged(mutations.as_yaml(mutations.changed(tree, changes)), how)):
            for verb in verbs:
                command(*verb)

    read()


@in_parts
@pytest.mark.parametrize("kind", JSON)
def test_json(base: Path, kind: str) -> None:
    name, verbs = JSON[kind]
    tree, other = read_json(base / name), str(next(Path(f"{RUN}/pareto").glob("02-*")))

    @PROFILE
    @given(mutations.changes(mutations.RAW_JSON), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        with replaced(base / name, mutations.damaged(mutations.as_json(mutations.changed(tree, changes)), how)):
            for verb in verbs:
                command(*verb)
            if kind == "card":
                call(lambda: annotate_study(Sweep.of_run(RUN)))
                command("compare", f"{RUN}/pareto/01-net", other)

    read()


@in_parts
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "series"])
def test_csv(base: Path, kind: str) -> None:
    """Tables of images and what is known of each, and series of numbers."""
    path, pictures = base / f"{kind}.csv", base / "pictures"
    pictures.mkdir(exist_ok=True)
    for number in range(12):
        Image.new("L", (8, 8), number).save(pictures / f"{number}.png")
    rows: list[list[object]] = [["file", "a", "b", "split"]]
    rows += [[f"pictures/{number}.png", number % 2, (number + 1) % 2, ["train", "test", "val"][number % 3]]
             for number in range(12)]  # fmt: skip
    section = DataSection(name="picture_table", path=path, columns=["a"] if kind == "classification" else ["a", "b"])

    @PROFILE
    @given(mutations.cells(), mutations.damage())
    def read(changes: list[tuple[int, int, str]], how: tuple[str, int, int]) -> None:
        path.write_bytes(mutations.damaged(mutations.as_csv(rows, changes), how))
        if kind == "series":
            call(lambda: read_series(path))
        else:
            call(lambda: check_data(section, Input(1, 8, 2, kind)))
            call(lambda: inspect_table(path))

    read()


def test_the_base_is_right(base: Path) -> None:
    """Else every file would be refused for the same reason."""
    shutil.copytree(base / RUN, base / "other" / "tiny")
    for _, verbs in (*YAML.values(), *JSON.values()):
        for verb in verbs:
            command(*verb)
    annotate_study(Sweep.of_run(base / "other" / "tiny"))
    assert "<title>" in page(read_run(Sweep.of_run(RUN)))
    command("compare", *map(str, Path(f"{RUN}/pareto").glob("0?-*")))
    read_supernet(base / RUN / "supernet.ckpt")
    load(base / RUN / "pareto" / "01-net")
