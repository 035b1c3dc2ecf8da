"""The inspection of a CSV of images: its task and columns, and what is no such table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from first_sweeps import compared_images, paint, throughput_of
from masks import write_masks
from PIL import Image
from tables import COLUMNS, write_rows, write_table

from ffnet_search.autoconfig.budget import choose_budget
from ffnet_search.autoconfig.draft import drafts
from ffnet_search.autoconfig.inspect_table import guess, holds_table, inspect_table
from ffnet_search.autoconfig.start import start
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import SweepError


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
    assert "24 images with numbers (discs 0 to 3, " in str(seen)
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
