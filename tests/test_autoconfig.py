"""`ffnet-search init`: the inspection of a folder, the choice of a draft and a budget, and the written files."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import call, user_error
from first_sweeps import compared_images, paint, throughput_of
from masks import write_masks
from PIL import Image
from tables import COLUMNS, write_rows, write_table

from ffnet_search.autoconfig.benchmark import measure_throughput
from ffnet_search.autoconfig.budget import EPOCHS, TRIALS, Throughput, choose_budget
from ffnet_search.autoconfig.draft import Draft, drafts
from ffnet_search.autoconfig.image_set import ImageSet, Sample
from ffnet_search.autoconfig.inspect import MaskSet, inspect
from ffnet_search.autoconfig.inspect_table import guess, holds_table, inspect_table
from ffnet_search.autoconfig.start import remarks, start, start_example
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.schema import Augment
from ffnet_search.config.start import OFFICIAL
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.files import Files
from ffnet_search.data.layout import TRAIN
from ffnet_search.data.registry import check_data
from ffnet_search.errors import SweepError
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse

ROOT = Path(__file__).parents[1]


def image_set(total: int = 1000, side: int = 64, channels: int = 3, classes: int = 4) -> ImageSet:
    names = tuple(f"class{i}" for i in range(classes))
    counts = tuple(total // classes for _ in names)
    labels_N = np.repeat(np.arange(classes), total // classes)
    sample = Sample(side, (side, side), channels)
    files = tuple(f"{number}.png" for number in range(len(labels_N)))
    return ImageSet(Path("x"), names, counts, sample, {TRAIN: Files(files, files, labels_N)})


def test_an_inspection_has_classes_counts_sizes_and_colour(tmp_path: Path) -> None:
    seen = inspect(paint(tmp_path / "flat", {"b": 3, "a": 5}))
    assert (seen.classes, seen.counts, seen.tests) == (("a", "b"), (5, 3), None)
    assert (seen.sample.side, seen.sample.sides, seen.sample.channels) == (17, (17, 17), 3)
    paint(tmp_path / "split" / "train", {"a": 4, "b": 4}, grey=True)
    paint(tmp_path / "split" / "valid", {"a": 2, "b": 1}, grey=True)
    seen = inspect(tmp_path / "split")
    assert (seen.total, seen.validations, seen.tests, seen.sample.channels) == (8, 3, None, 1)
    assert "8 images of 2 classes and 3 for comparing networks, grey" in str(seen)
    assert any("networks are compared on the images in valid/" in line for line in seen.warnings)
    paint(tmp_path / "split" / "TEST", {"a": 1, "b": 1}, grey=True)
    assert "of 2 classes, 3 for comparing networks and 2 for testing, grey" in str(inspect(tmp_path / "split"))


@pytest.mark.parametrize(
    ("size", "turned", "sides"),
    [
        ((64, 64), False, 64),
        ((80, 64), False, (64, 80)),  # height and width
        ((64, 80), False, (80, 64)),
        ((64, 80), True, (64, 80)),  # by its EXIF, as phones do
        ((70, 64), False, 64),  # nearly square
        ((640, 64), False, (64, 256)),
    ],
)
def test_images_of_one_shape_keep_it(
    size: tuple[int, int], turned: bool, sides: int | tuple[int, int], tmp_path: Path
) -> None:
    folder = paint(tmp_path / "x", {"a": 6, "b": 6}, size)
    for file in folder.rglob("*.png") if turned else ():
        exif = Image.Exif()
        exif[274] = 6
        Image.open(file).save(file, exif=exif)
    for draft in drafts(inspect(folder)):
        if draft.resolution == 64:
            assert draft.sides == draft.space.images.resolution == sides
    text = "\n".join(space_text(draft, "x"))
    assert ("cut square" in text) == isinstance(sides, int)


def test_images_with_masks_keep_their_shape(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for name in ("images", "masks"):
        paint(folder, {name: 6}, (80, 64), grey=name == "masks")
    for mask in (folder / "masks").iterdir():
        Image.fromarray(np.eye(64, 80, dtype=np.uint8)).save(mask)
    [largest, *_] = drafts(inspect(folder))
    assert largest.sides == largest.space.images.resolution == (64, 80)
    assert "images are resized whole to the resolution (height, width)" in "\n".join(space_text(largest, "x"))


def test_images_of_many_shapes_are_cut_square(tmp_path: Path) -> None:
    folder = paint(tmp_path / "x", {"a": 6}, (80, 64))
    paint(folder, {"b": 6}, (64, 80))
    masks = write_masks(tmp_path / "masks", 6)
    assert all(isinstance(draft.sides, int) for data in (folder, masks) for draft in drafts(inspect(data)))


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


def test_warnings_of_a_folder(tmp_path: Path) -> None:
    folder = paint(tmp_path, {"many": 44, "few": 4})
    (folder / "many" / "broken.png").write_text("not an image")
    few, uneven, broken = inspect(folder).warnings
    assert "few (4)" in few and "uneven" in uneven and "broken.png" in broken
    assert image_set().warnings == []


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="must hold a folder per class, two at least, but holds none"):
        inspect(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(SweepError, match="must hold images in its folders a, b, but holds none"):
        inspect(tmp_path)
    (tmp_path / "a" / "x.jpg").write_text("no")
    with pytest.raises(SweepError, match="none of the sampled images .* can be read: .*x.jpg"):
        inspect(tmp_path)
    with pytest.raises(SweepError, match="there is no such folder"):
        inspect(tmp_path / "nowhere")


@pytest.mark.parametrize("side", [4, 8, 17, 28, 32, 50, 96, 150, 224, 3000])
@pytest.mark.parametrize("total", [100, 20_000])
def test_every_draft_is_a_space_that_fits_the_images(side: int, total: int) -> None:
    made = drafts(image_set(total, side, channels=1, classes=7))
    for draft in made:
        space = draft.space
        assert (space.input.channels, space.input.outputs) == (1, 7)
        assert space.input.resolution <= max(8, side)
        assert space.smallest.macs_m < space.largest.macs_m and space.size > 1000
    assert made[-1].step_macs == min(draft.step_macs for draft in made)
    sizes = {draft.size.name for draft in made}
    assert sizes == ({"tiny", "small"} if total < 4000 else {"tiny", "small", "medium"})


@pytest.mark.parametrize("weights", ["ffnet_1", "ffnet_2_distillation", "ffnet_4_384"])
def test_a_space_to_start_from_official_weights_holds_their_network(tmp_path: Path, weights: str) -> None:
    made = drafts(image_set(1000, 100, classes=7), weights)
    macs = [draft.step_macs for draft in made]
    assert macs == sorted(macs, reverse=True) and len(macs) > 2
    for draft in made:
        assert OFFICIAL[weights] in draft.space.presets
        assert draft.space.smallest.macs_m < 0.3 * draft.space.largest.macs_m
    budget = choose_budget(made, throughput_of, minutes=5, imports_s=1, latency_ms=None)
    (tmp_path / "x_space.yaml").write_text("\n".join(space_text(budget.throughput.draft, "x")))
    (tmp_path / "x.yaml").write_text("\n".join(sweep_text(budget, "x", None)))
    sweep = Sweep.from_yaml(tmp_path / "x.yaml")
    assert sweep.train.start_from == Path(weights)
    assert sweep.search_space.size == budget.throughput.draft.space.size


def test_a_head_that_segments_is_as_fine_as_the_time_allows() -> None:
    """Its strides are the two finest of the stages, as in the shipped sweep, and finer ones cost more training."""
    [shipped] = {Sweep.from_yaml(ROOT / "sweeps/segment.yaml").search_space.axes()["head.stride"]}
    for side, finest in ((16, [1, 2]), (64, [1, 2, 4]), (96, [2, 4]), (224, [2, 4])):
        images = MaskSet(**vars(image_set(100, side)), masks=("y",) * 100)
        strides = {
            draft.stride: draft.space.axes()["head.stride"] for draft in drafts(images) if draft.resolution == side
        }
        assert sorted(strides) == finest and all(min(head) == stem for stem, head in strides.items())
        assert side != 96 or strides[2] == shipped


def test_unknown_official_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="--pretrained must be one of .*did you mean 'ffnet_1'"):
        start(tmp_path, tmp_path, pretrained="ffnet1")
    assert "--pretrained needs --data" in user_error("init", "--pretrained", "ffnet_1", cwd=tmp_path)


def test_a_budget_fills_the_time() -> None:
    some = drafts(image_set(2000, 96))
    chosen = [
        choose_budget(some, throughput_of, minutes=minutes, imports_s=5, latency_ms=None)
        for minutes in (1, 5, 30, 300, 3000)
    ]
    macs = [budget.throughput.draft.step_macs for budget in chosen]
    assert macs == sorted(macs) and macs[0] < macs[-1]
    for budget, minutes in zip(chosen, (1, 5, 30, 300, 3000), strict=True):
        assert TRIALS[0] <= budget.trials <= TRIALS[1]
        assert budget.epochs <= EPOCHS[1]
        if minutes > 5:
            assert budget.minutes <= minutes
    assert chosen[0].minutes > 1  # a remark says so


def test_the_minutes_of_retraining_are_planned() -> None:
    budget = choose_budget(drafts(image_set(2000, 96)), throughput_of, minutes=15, imports_s=5, latency_ms=None)
    sweep = yaml.safe_load("\n".join(sweep_text(budget, "x", None)))
    assert sweep["export"]["retrain"] == {"epochs": budget.epochs // 2}
    networks = sweep["export"]["top"] + 5  # and the yardstick
    without = replace(budget, throughput=replace(budget.throughput, alone_s=0.0))
    saved_s = budget.seconds["export"] - without.seconds["export"]
    assert saved_s == pytest.approx(networks * (budget.epochs // 2) * budget.images * budget.throughput.alone_s)
    assert 0.8 * 15 < budget.minutes <= 15
    assert any("cheaper is a supernet" in line for line in remarks(budget, 15, None))


def test_where_a_supernet_does_not_pay_each_network_trains() -> None:
    """To bring a network into the form that is evaluated takes as long as its training here."""

    def slow(draft: Draft, batch_size: int, step_s: float | None) -> Throughput:
        return replace(throughput_of(draft), deploy_s=300.0)

    budget = choose_budget(drafts(image_set(2000, 32)), slow, minutes=300, imports_s=5, latency_ms=None)
    sweep = yaml.safe_load("\n".join(sweep_text(budget, "x", None)))
    assert (sweep["search"]["evaluator"], sweep["search"]["early_stopping"]) == ("train", {"rule": "asha"})
    assert "retrain" not in sweep["export"]
    assert "train" not in budget.seconds
    assert any("cheaper is training each of them" in line for line in remarks(budget, 300, None))


def test_few_drafts_are_measured() -> None:
    asked: list[Draft] = []

    def measure(draft: Draft, batch_size: int, step_s: float | None) -> Throughput:
        asked.append(draft)
        slow = throughput_of(draft)
        return replace(slow, step_s=100 * slow.step_s) if len(asked) > 1 else slow  # never as expected

    some = drafts(image_set(20_000, 224))
    chosen = choose_budget(some, measure, minutes=600, imports_s=0, latency_ms=None)
    assert len(asked) == len(set(asked)) <= 3
    assert chosen.throughput.draft == some[-1]


def test_a_latency_that_no_network_keeps_is_refused() -> None:
    some = drafts(image_set())
    least = throughput_of(some[-1]).smallest_ms
    with pytest.raises(SweepError, match=f"--latency-ms must be >= {least:.2g} .* but got 0.0001"):
        choose_budget(some, throughput_of, minutes=10, imports_s=0, latency_ms=0.0001)
    within = choose_budget(some, throughput_of, minutes=1e5, imports_s=0, latency_ms=1.01 * least)
    assert within.throughput.smallest_ms <= 1.01 * least


def test_measurements_are_positive(tmp_path: Path) -> None:
    [*_, cheapest] = drafts(inspect(paint(tmp_path, {"a": 30, "b": 30})))
    cost = measure_throughput(cheapest, 16)
    assert (
        min(cost.decode_s, cost.step_s, cost.alone_s, cost.deploy_s, cost.job_s, cost.smallest_ms) > 0
        and cost.image_s >= 0
    )
    assert cost.smallest_ms < cost.largest_ms


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
    assert "is not overwritten" in user_error("init", cwd=tmp_path)
    (tmp_path / "closed").write_text("a file where a folder is needed")
    with pytest.raises(SweepError, match="cannot be written"):
        start_example("digits", tmp_path / "closed")


def test_spaces_that_are_written_are_spaces_that_are_read(tmp_path: Path) -> None:
    for draft in drafts(image_set(20_000, 64)):
        file = tmp_path / f"{draft.size.name}{draft.resolution}.yaml"
        file.write_text("\n".join(space_text(draft, "x")))
        assert SearchSpace.from_yaml(file).model_copy(update={"name": "space"}) == draft.space


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
    assert sweep.search.constraints == ({} if latency_ms is None else {"latency_ms": latency_ms})


@pytest.mark.parametrize("split", [False, True])
def test_images_beside_masks_are_for_segmentation(split: bool, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data" / "train" if split else tmp_path / "data", 24)
    if split:
        write_masks(tmp_path / "data" / "val", 6, seed=1)
    seen = inspect(tmp_path / "data")
    assert (seen.task, seen.total, seen.validations, seen.sample.channels) == (
        "segmentation",
        24,
        6 if split else None,
        3,
    )
    assert seen.classes == ("0", "1", "2") and seen.counts[0] == 24 and "24 images with masks of 3 classes" in str(seen)
    for draft in drafts(seen):
        images = draft.space.images
        assert (images.task, images.outputs) == ("segmentation", 3)
        budget = choose_budget([draft], throughput_of, minutes=10, imports_s=0, latency_ms=None)
        (tmp_path / "m.yaml").write_text("\n".join(sweep_text(budget, "m", None)))
        (tmp_path / "m_space.yaml").write_text("\n".join(space_text(draft, "m")))
        sweep = Sweep.from_yaml(tmp_path / "m.yaml")
        assert sweep.task == "segmentation" and sweep.search_space.size == draft.space.size
        check_data(sweep.data, images)
    (folder / "masks" / "003.png").write_bytes(b"no image")
    with pytest.raises(SweepError, match="003.png cannot be read as an image"):
        inspect(tmp_path / "data")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((0, 0, 0), "must hold two classes at least, but no pixel has 1 .255 counts nowhere.$"),
        ((255, 255, 255), "no pixel has 0, 1 .*; where 255 marks an object, write 1"),
        ((0, 255, 255), "no pixel has 1 .*; where 255 marks an object, write 1"),
        ((0, 200, 200), "of 0 to 200 hold only 0, 200: renumber them, or name 201 classes in classes.json"),
    ],
)
def test_masks_that_nothing_can_be_learnt_from_are_refused(ids: tuple[int, ...], message: str, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data", 4)
    for path in (folder / "masks").iterdir():
        with Image.open(path) as mask:
            changed = np.array(ids, np.uint8)[np.asarray(mask)]
        Image.fromarray(changed).save(path)
    with pytest.raises(SweepError, match=message):
        inspect(folder)


def test_a_class_that_only_test_masks_hold_is_a_class(tmp_path: Path) -> None:
    write_masks(tmp_path / "train", 4)
    test = write_masks(tmp_path / "test", 2) / "masks" / "000.png"
    with Image.open(test) as mask:
        changed = np.array(mask)
    changed[0, 0] = 3
    Image.fromarray(changed).save(test)
    seen = inspect(tmp_path)
    assert seen.classes == ("0", "1", "2", "3") and "no sampled mask for training holds 3" in seen.warnings


@pytest.mark.parametrize("task", COLUMNS)
def test_a_table_is_for_what_its_columns_hold(task: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", task, 40, tests=8)
    for place in (table, table.parent):
        assert holds_table(place)
        seen = inspect_table(place)
        assert (seen.task, seen.columns, seen.total, seen.tests) == (task, COLUMNS[task], 32, 8)
    for draft in drafts(seen):
        images = draft.space.images
        assert (images.task, images.outputs) == (task, len(seen.classes))
    budget = choose_budget([draft], throughput_of, minutes=10, imports_s=0, latency_ms=None)
    (tmp_path / "m.yaml").write_text("\n".join(sweep_text(budget, "m", None)))
    (tmp_path / "m_space.yaml").write_text("\n".join(space_text(draft, "m")))
    sweep = Sweep.from_yaml(tmp_path / "m.yaml")
    assert (sweep.task, sweep.data.columns, sweep.search_space.size) == (task, COLUMNS[task], draft.space.size)
    check_data(sweep.data, images)
    assert budget.held_out == compared_images(sweep)


def test_a_guess_is_stated_and_leaves_words_out(tmp_path: Path) -> None:
    kind = {"n": [str(n % 7) for n in range(20)], "id": [str(n) for n in range(20)], "who": ["me", "you"] * 10}
    assert guess(kind) == ("regression", ("n",))
    assert guess({"a": ["0", "1"] * 10, "b": ["1", "0"] * 10, **kind}) == ("regression", ("a", "b", "n"))
    assert guess({"a": ["0", "1"] * 10, "b": ["1", "0"] * 10, "who": kind["who"]}) == ("multilabel", ("a", "b"))
    assert guess({"a": ["0", "1"] * 10}) == ("classification", ("a",))
    assert guess({"Label": kind["n"], "n": kind["n"]}) == ("classification", ("Label",))
    assert guess({"who": kind["who"], "note": [f"n{n}" for n in range(20)]}) == ("classification", ("who",))
    assert guess({"a": ["True", "False"] * 10, "b": ["no", "Yes"] * 10}) == ("multilabel", ("a", "b"))
    assert guess({"a": ["True", "False"] * 10, "n": kind["n"]}) == ("regression", ("n",))
    assert guess({"a": ["0", "1"] * 10, "b": ["", *["1", "0"] * 9, "1"]}) == ("multilabel", ("a", "b"))
    with pytest.raises(SweepError, match="a column must have classes, labels or numbers, but same have none"):
        guess({"same": ["1"] * 20})
    table = write_table(tmp_path / "data", "regression", 24)
    gap = [dict(row) for row in csv.DictReader(table.read_text().splitlines())]
    gap[3]["discs"] = ""
    with pytest.raises(SweepError, match="line 5: discs must be a number, but is ''"):
        inspect_table(write_rows(tmp_path / "data" / "gap.csv", gap, gap[0]))
    (tmp_path / "data" / "gap.csv").unlink()
    rows = [{**row, "who": "me"} for row in csv.DictReader(table.read_text().splitlines())]
    seen = inspect_table(write_rows(table, rows, rows[0]))
    assert "24 images with numbers (discs 0.00 to 3.00" in str(seen)
    assert seen.warnings[:2] == [
        "taken as task regression, from the columns discs, area [px]",
        "not learnt: who; to learn others, change data.columns and task",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,count\n0.png,1\n1.png,2\n".encode("utf-16"), "must be a CSV file in UTF-8, but cannot be read so"),
        ("file,größe\n0.png,1\n1.png,2\n".encode("latin-1"), "must be a CSV file in UTF-8, but cannot be read so"),
        (b"file,count\n0.png,1\n1.png\n", "line 3 must have 2 cells, but has 1"),
        (b"file,count\n", "must have a line of names and then rows, but has no rows"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_and_not_folders_of_classes(
    content: bytes, message: str, tmp_path: Path
) -> None:
    for number in range(2):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{number}.png")
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(SweepError, match=rf"^--data: .*table.csv,? ?.*{message}"):
        start(tmp_path, tmp_path / "out")


def test_a_series_whose_first_row_has_gaps_is_no_table_of_images(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("date,a,b\nx,,\n" + "".join(f"{i},{i % 7},{i % 5}\n" for i in range(300)))
    with pytest.raises(SweepError, match=r"s.csv, line 2: a must be a number, but is ''"):
        start(tmp_path / "s.csv", tmp_path / "out")


@pytest.mark.parametrize("name", ["labels.csv", "LABELS.CSV", "labels.tsv"])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_table_without_a_column_of_files_is_told_which_one_it_lacks(name: str, place: str, tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{number}.png")
    rows = ["picture,kind", "0.png,a", "1.png,b", "2.png,a"]
    (tmp_path / name).write_text("\n".join(rows).replace(",", "\t" if "tsv" in name else ","))
    lacks = r"must have a column with the image file of each row \(file, .*\), but has picture, kind; "
    with pytest.raises(SweepError, match=f"^--data: .*{name} {lacks}") as found:
        start(tmp_path / name if place == "file" else tmp_path, tmp_path / "out")
    assert all(words in str(found.value) for words in ("folder per class", "--task super_resolution", "to forecast"))


def test_words_alone_are_no_series_and_several_tables_are_told(tmp_path: Path) -> None:
    (tmp_path / "only.csv").write_text("day;price\nmon;1,5\ntue;2,5\n")
    with pytest.raises(SweepError, match=r"with the image file of each row .* of numbers \(decimals with a point\)"):
        start(tmp_path, tmp_path / "out")
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SweepError, match=r"must hold one CSV file, .* holds only.csv, two.csv; give the path of one"):
        start(tmp_path, tmp_path / "out")


def test_folders_of_classes_and_masks_are_no_tables(tmp_path: Path) -> None:
    folder = paint(tmp_path / "classes", {"a": 2, "b": 2})
    (folder / "notes.csv").write_text("file,discs\na/0.png,1\n")
    assert not holds_table(folder) and not holds_table(tmp_path / "nowhere")
    masks = write_masks(tmp_path / "masks", 4)
    (masks / "kinds.csv").write_text("file,kind\nimages/000.png,1\n")
    assert not holds_table(masks)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_sweep_for_a_table_is_written(task: str, tmp_path: Path) -> None:
    started = start(write_table(tmp_path / "my data", task, 48), tmp_path, minutes=1)
    assert started.sweep.name == "table.yaml"
    sweep = Sweep.from_yaml(started.sweep)
    assert sweep.task == task and sweep.search.objectives == (sweep.quality.name, "latency_ms")
    assert any(line.startswith(f"taken as task {task}") for line in started.lines) and sum(started.minutes.values()) > 0


def test_a_draft_with_masks_is_timed(tmp_path: Path) -> None:
    [*_, cheapest] = drafts(inspect(write_masks(tmp_path / "data", 24)))
    cost = measure_throughput(cheapest, 8)
    assert min(cost.decode_s, cost.step_s, cost.deploy_s, cost.job_s, cost.smallest_ms) > 0 and cost.image_s >= 0


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
