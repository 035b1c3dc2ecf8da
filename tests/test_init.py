"""`ffnet-search init`: the files that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command_line import call, user_error
from first_sweeps import compared_images, image_set, paint, throughput_of
from tables import write_table

from ffnet_search.autoconfig.budget import choose_budget
from ffnet_search.autoconfig.draft import drafts
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.start import start, start_example
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.schema import Augment, TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import SweepError
from ffnet_search.strict_yaml import parse

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("total", "side", "channels", "expected"),
    [
        (1000, 64, 3, {"randaugment": 1, "jitter": 0.2}),
        (1000, 64, 1, {"randaugment": 1}),
        (20_000, 64, 3, {}),
        (1000, 16, 3, {}),  # too small to be turned
    ],
)
def test_few_images_are_augmented_more_in_long_trainings(
    total: int, side: int, channels: int, expected: dict[str, float]
) -> None:
    """By the file that is written; in short trainings it is a comment."""
    draft = drafts(image_set(total, side, channels))[0]
    budget = choose_budget([draft], throughput_of, minutes=60, imports_s=1, latency_ms=None)
    moves = {"crop": max(1, draft.resolution // 8), "flip": True}
    for epochs, added in ((50, expected), (49, {})):
        text = "\n".join(sweep_text(replace(budget, epochs=epochs), "x", None))
        augment = yaml.safe_load(text)["data"]["augment"]
        assert augment == {**moves, **added}
        assert parse(Augment, augment, "augment").jitter == added.get("jitter", 0)
        assert all(f"{name}: {value}" in text for name, value in expected.items())


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"good": 45, "scratch": 45, "defect": 20}, None),
        ({"good": 64, "scratch": 40, "defect": 20}, "  # class_weights: auto "),
        ({"good": 202, "scratch": 40, "defect": 20}, "  class_weights: auto "),
    ],
)
def test_weights_of_uneven_classes_are_proposed_and_of_rare_ones_set(
    tmp_path: Path, counts: dict[str, int], line: str | None
) -> None:
    images = inspect(paint(tmp_path, counts, (8, 8)))
    budget = choose_budget(drafts(images)[:1], throughput_of, minutes=60, imports_s=1, latency_ms=None)
    text = "\n".join(sweep_text(budget, "x", None))
    assert line is None or f"\n{line}" in text
    assert [("class_weights" in said, "balanced_accuracy" in said) for said in (text, *images.warnings)] == (
        [(False, False)] if line is None else [(True, True)] * 2
    )


def test_unknown_official_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="--pretrained must be one of .*did you mean 'ffnet_1'"):
        start(tmp_path, tmp_path, pretrained="ffnet1")
    assert "--pretrained needs --data" in user_error("init", "--pretrained", "ffnet_1", cwd=tmp_path)


def test_the_written_sweep_is_of_those_images(tmp_path: Path) -> None:
    images = paint(tmp_path / "my flowers", {"rose": 30, "tulip": 30})
    started = start(images, tmp_path, latency_ms=50, minutes=2)
    for path, title in zip(started.files, ("A sweep of ffnet-search", "A search space of ffnet-search"), strict=False):
        first = path.read_text().partition("\n")[0]
        schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
        assert json.loads(schema.read_text())["title"] == title
    assert [path.name for path in started.files] == ["my_flowers.yaml", "my_flowers_space.yaml"]
    sweep = Sweep.from_yaml(started.sweep)
    assert sweep.data.path == images
    assert sweep.search.constraints == {"latency_ms": 50}
    check_data(sweep.data, sweep.search_space.largest.input)
    assert set(started.minutes) >= {"profile", "search", "export"}  # and train, unless networks alone cost less here
    assert any("excludes none" in line for line in started.lines)
    assert all("#" in line for line in started.sweep.read_text().splitlines() if "epochs" in line or "trials" in line)
    with pytest.raises(SweepError, match="^--data: .* there is no such folder"):
        start(tmp_path / "nowhere", tmp_path)
    with pytest.raises(SweepError, match=f"no such folder; did you mean {images}\\?$"):
        start(images.with_name("my flowrs"), tmp_path)
    for file in (next(images.rglob("*.*")), started.sweep):  # a sweep is no data, and not what would be overwritten
        with pytest.raises(SweepError, match="but is a file$"):
            start(file, tmp_path)
    with pytest.raises(SweepError, match="my_flowers.yaml exists and is not overwritten"):
        start(images, tmp_path)
    checked = call("check", started.sweep, cwd=tmp_path)
    assert checked.returncode == 0 and checked.stdout.count("pending") == 4
    compared = compared_images(sweep)
    assert f"  # of the training images: {compared} to compare networks on" in started.sweep.read_text()
    said = f"{compared} validation images tell two networks apart"
    assert said in checked.stdout and any(line.startswith(said) for line in started.lines)


def test_the_starter_comes_with_the_program(tmp_path: Path) -> None:
    done = call("init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: ffnet-search run sweeps/digits.yaml" in done.stdout
    for name in ("sweeps/digits.yaml", "search_spaces/ffnet_digits.yaml"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()
    assert call("check", "sweeps/digits.yaml", cwd=tmp_path).returncode == 0
    assert user_error("init", cwd=tmp_path).endswith("is not overwritten; move it away\n")  # an example has no --name
    (tmp_path / "closed").write_text("a file where a folder is needed")
    with pytest.raises(SweepError, match="cannot be written"):
        start_example("digits", tmp_path / "closed")


@pytest.mark.parametrize("name", ["flowers-1", "my: data", "# 3", 'été "quoted"', "word " * 40])
@pytest.mark.parametrize("latency_ms", [None, 1.0])
def test_sweeps_that_are_written_are_sweeps_that_are_read(tmp_path: Path, name: str, latency_ms: float | None) -> None:
    images = replace(image_set(), folder=tmp_path / name)
    budget = choose_budget(drafts(images), throughput_of, minutes=5, imports_s=1, latency_ms=None)
    (tmp_path / "x_space.yaml").write_text("\n".join(space_text(budget.throughput.draft, "x")))
    (tmp_path / "x.yaml").write_text("\n".join(sweep_text(budget, "x", latency_ms)))
    sweep = Sweep.from_yaml(tmp_path / "x.yaml")
    assert sweep.data.path == images.folder
    assert sweep.search.objectives == ("accuracy", "latency_ms")
    assert sweep.train.learning_rate == TrainSection().learning_rate, "the default, which the file states"
    assert sweep.search.constraints == ({} if latency_ms is None else {"latency_ms": latency_ms})


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_sweep_for_a_table_is_written(task: str, tmp_path: Path) -> None:
    started = start(write_table(tmp_path / "my data", task, 48), tmp_path, minutes=1)
    assert started.sweep.name == "table.yaml"
    sweep = Sweep.from_yaml(started.sweep)
    assert sweep.task == task and sweep.search.objectives == (sweep.quality.name, "latency_ms")
    assert any(line.startswith(f"taken as task {task}") for line in started.lines) and sum(started.minutes.values()) > 0


@pytest.mark.parametrize(("kib", "written"), [(1, "the first file"), (16, "the first of the schemas")])
def test_a_full_disk_leaves_nothing(tmp_path: Path, kib: int, written: str) -> None:
    """No file may grow beyond a size, which stands for a full disk; the sweep is smaller, the schemas are larger."""
    paint(tmp_path / "images", {"a": 30, "b": 30})
    before = sorted(tmp_path.rglob("*"))
    for words in (["init", "--data", "images", "--minutes", "1"], ["init", "--example", "cifar"]):
        if kib > 1 and "--example" in words:
            continue
        command = f"ulimit -f {kib}; exec {sys.executable} -B -m ffnet_search {' '.join(words)}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert ended.returncode == 2 and "cannot be written: File too large" in ended.stderr, ended.stderr
        assert sorted(tmp_path.rglob("*")) == before, f"left after {written}"
