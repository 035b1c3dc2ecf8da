"""Tables of images: layouts, delimiters, columns, splits, sizes, and mistakes in one sentence."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import all_prints, section
from PIL import Image
from tables import COLUMNS, space, write_rows, write_table

from ffnet_search.autoconfig.inspect_table import holds_table
from ffnet_search.data.registry import build_data, check_data
from ffnet_search.errors import SweepError

TASK = pytest.mark.parametrize("task", COLUMNS)


def build(path: Path, task: str = "regression", **fields: Any) -> Any:
    fields = {"batch_size": 8, "workers": 0, **fields}
    return build_data(section("picture_table", path=path, **fields), 0, space(task).images)


def check(path: Path) -> None:
    check_data(section("picture_table", path=path, batch_size=8, workers=0), space("regression").images)


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def targets(loader: Any) -> torch.Tensor:
    return torch.cat([target_B for _, target_B in loader])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "data", "regression", 24)


@TASK
def test_targets_are_those_of_the_rows(task: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", task, 40, tests=8)
    data, rows = build(table, task), read_rows(table)
    found = targets(data.test_dataloader())
    if task == "classification":
        assert data.outputs == ("box", "disc", "ring")
        assert [data.outputs[label] for label in found] == [row["commonest"] for row in rows[-8:]]
    else:
        assert data.outputs == COLUMNS[task]
        assert found.tolist() == [[float(row[name]) for name in COLUMNS[task]] for row in rows[-8:]]
    assert 24 <= data.train_images < 32


def test_images_are_resized_whole_but_for_classification(tmp_path: Path) -> None:
    """A column of red at the left edge is lost in a centred square."""
    pixels_HWC = np.zeros((20, 60, 3), np.uint8)
    pixels_HWC[:, :15, 0] = 255
    (tmp_path / "data").mkdir()
    for number in range(12):
        Image.fromarray(pixels_HWC).save(tmp_path / f"data/{number}.png")
    rows = [{"file": f"{n}.png", "discs": n, "area [px]": n, "commonest": "abc"[n % 3]} for n in range(12)]
    for task, columns in COLUMNS.items():
        if task == "multilabel":
            continue
        path = write_rows(tmp_path / "data/table.csv", rows, ["file", *columns])
        images_NCHW = build(path, task, validation=0.4).calibration
        assert (images_NCHW[:, 0].std() > 0.1) == (task == "regression")


def test_layouts_give_the_same_images_and_targets(table: Path, tmp_path: Path) -> None:
    splits = ("train", "train", "val", "test")
    rows = [{**row, "split": splits[number % 4]} for number, row in enumerate(read_rows(table))]
    whole, folder = build(write_rows(table, rows, rows[0])), table.parent
    expected = all_prints(whole.val_dataloader()), targets(whole.test_dataloader())

    def same(path: Path, **fields: Any) -> bool:
        data = build(path, **fields)
        return (
            all_prints(data.val_dataloader()) == expected[0]
            and torch.equal(targets(data.test_dataloader()), expected[1])
        )  # fmt: skip

    assert same(folder)  # the folder with one CSV
    renamed = table.read_text().replace("area [px]", '"area\n  [px]"', 1)
    table.write_text(renamed)
    assert same(table) and build(table).outputs == COLUMNS["regression"]
    for delimiter in ";\t":
        write_rows(table, rows, rows[0], delimiter)
        assert same(table)
    names = ["", *rows[0]]  # as pandas writes it, with row numbers; another name for the files, in capitals; with BOM
    write_rows(table, [{"": number, **row} for number, row in enumerate(rows)], names)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"file", b"Image", 1))
    assert same(table)
    absolute = [{**row, "file": folder.resolve() / row["file"]} for row in rows]
    assert same(write_rows(tmp_path / "elsewhere.csv", absolute, rows[0]))
    shutil.move(folder / "shapes", folder / "images")
    assert same(write_rows(table, [{**row, "file": Path(row["file"]).name} for row in rows], rows[0]))
    noted = [{**row, "file": Path(row["file"]).name, "who": "me"} for row in rows]
    assert same(write_rows(table, noted, noted[0]), columns=["discs", "area [px]"])
    assert same(table, columns=["discs", "area [px]"], in_memory_mb=0)


@pytest.mark.parametrize("name", ["valid", "test"])
def test_two_tables_are_two_splits(name: str, table: Path) -> None:
    rows = read_rows(table)
    write_rows(table.with_name("train.csv"), rows[:16], rows[0])
    write_rows(table.with_name(f"{name}.csv"), rows[16:], rows[0])
    data = build(table.parent)
    loader = data.test_dataloader() if name == "test" else data.val_dataloader()
    assert sorted(targets(loader)[:, 0].tolist()) == sorted(float(row["discs"]) for row in rows[16:])


@pytest.mark.parametrize(("words", "tests"), [("train test val", 8), ("train val", 12), ("Train TEST", 12)])
def test_the_split_column(words: str, tests: int, table: Path) -> None:
    """Rows of val compare networks; where there are none for testing, some of train are held out."""
    rows, names = read_rows(table), words.split()
    path = write_rows(
        table, [{**row, "split": names[i % len(names)]} for i, row in enumerate(rows)], [*rows[0], "split"]
    )
    data = build(path)
    for name, loader in (("test", data.test_dataloader()), ("val", data.val_dataloader())):
        assert (len(targets(loader)) == tests) == (name in words.lower())
    assert data.outputs == COLUMNS["regression"]


def test_the_fingerprint_knows_cells_and_images(table: Path) -> None:
    before, rows = build(table).fingerprint, read_rows(table)
    assert build(table.parent).fingerprint == before
    write_rows(table, [{**rows[0], "discs": 9}, *rows[1:]], rows[0])
    changed = build(table).fingerprint
    assert changed != before
    shutil.copy(table.parent / rows[1]["file"], table.parent / rows[0]["file"])
    assert build(table).fingerprint != changed


def test_statistics_are_of_the_training_targets(table: Path) -> None:
    data = build(table)
    mean_K, spread_K = data.target_statistics
    train = targets(build(table, batch_size=data.train_images).train_dataloader())
    torch.testing.assert_close(mean_K, train.mean(0))
    torch.testing.assert_close(spread_K, train.std(0, correction=0))


def cell(name: str, value: str, row: int = 3) -> Callable[[Path], None]:
    """Change one cell."""

    def change(table: Path) -> None:
        rows = read_rows(table)
        rows[row][name] = value
        write_rows(table, rows, rows[0])

    return change


def text(old: str, new: str) -> Callable[[Path], None]:
    return lambda table: (table.write_text(table.read_text().replace(old, new, 1)), None)[1]


def pipe(table: Path) -> None:
    (table.parent / "shapes/003.png").unlink()
    os.mkfifo(table.parent / "shapes/003.png")


def constant(table: Path) -> None:
    rows = [{**row, "discs": 7} for row in read_rows(table)]
    write_rows(table, rows, rows[0])


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "word": (cell("discs", "many"), r"table.csv, line 5: discs must be a number, but is 'many'; .*data.columns"),
    "empty": (cell("discs", ""), r"line 5: discs must be a number, but is ''"),
    "infinite": (cell("discs", "1e99"), r"line 5: discs must be a number, but is '1e99'"),
    "nan": (cell("discs", "nan"), r"line 5: discs must be a number, but is 'nan'"),
    "comma": (cell("discs", "3,5"), r"line 5: discs must be a number, but is '3,5'"),
    "lost": (lambda table: (table.parent / "shapes/003.png").unlink(), r"003.png cannot be read .*line 5 names it"),
    "ending": (cell("file", "shapes/003"), r"shapes/003 cannot be read .*line 5 names it; did you mean '003.png'"),
    "broken": (lambda table: (table.parent / "shapes/003.png").write_text("no"), r"be read as an image.*003.png"),
    "pipe": (pipe, r"003.png must be a file, but is a pipe"),
    "twice": (cell("file", "shapes/000.png"), r"line 5 must not repeat shapes/000.png, which is in .*line 2 too"),
    "nameless": (cell("file", ""), r"line 5 must name a file, but is ''; name one, or remove the row"),
    "ragged": (text("shapes/003.png,", "shapes/003.png,1,"), r"line 5 must have 3 cells, but has 4; give"),
    "header": (text("file", "what"), r"must have a column with the image file of each row \(file, .*has what"),
    "alone": (lambda table: table.write_text("file\na.png\n"), r"must have a column beside the files"),
    "repeated": (text("area [px]", "discs"), r"must name each column once, but repeats discs; rename some"),
    "rows": (lambda table: table.write_text("file,discs\n"), r"must have a line of names and then rows, but has no"),
    "void": (lambda table: table.write_text(""), r"but has no rows"),
    "bytes": (lambda table: table.write_bytes(b"file,discs\n\xff\xfe,1\n"), r"must be a CSV file in UTF-8"),
    "null": (cell("file", "a\0b"), r"line 5 must name a file, but is 'a.x00b'"),
    "quote": (text("shapes/003.png", '"shapes'), r"must be a CSV file in UTF-8, but cannot be read so"),
    "constant": (constant, r"every column to learn must vary among the training images, but discs does not"),
    "split": (text("area [px]", "split"), r"line 2: split must be train, val or test, but is"),
    "outputs": (text("area [px]", "Unnamed: 0"), r"has targets 1, but the search space has input.targets 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str, table: Path) -> None:
    change, message = MISTAKES[name]
    change(table)
    with pytest.raises(SweepError, match=message) as found:
        (build if name == "broken" else check)(table)  # a check opens no image
    assert "\n" not in str(found.value)


@TASK
def test_one_image_is_one_sentence(task: str, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"must (vary among .* or add images|hold two classes at least)"):
        build(write_table(tmp_path / "one", task, 1), task)


def test_mistakes_of_labels_and_classes(tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels", "multilabel", 12)
    cell("ring", "2")(table)
    with pytest.raises(SweepError, match="line 5: ring must be 0 or 1, but is '2'"):
        build(table, "multilabel")
    with pytest.raises(
        SweepError, match="data.columns must name one column for task 'classification', but there are disc"
    ):
        build(table, "classification")
    table = write_table(tmp_path / "classes", "classification", 12, tests=4)
    cell("commonest", "star", 10)(table)
    with pytest.raises(SweepError, match="line 12: commonest must be a class of the training rows, but is 'star'"):
        build(table, "classification")
    cell("commonest", "", 10)(table)
    with pytest.raises(SweepError, match="line 12: commonest must be the name of a class, but is empty"):
        build(table, "classification")


def test_hidden_files_and_folders_are_no_tables(table: Path) -> None:
    """As archives of Macs have them, beside each file."""
    table.with_name("._table.csv").write_bytes(b"\0\5\26\7")
    table.with_name("more.csv").mkdir()
    check(table.parent)


def test_places_and_names_of_tables(table: Path) -> None:
    with pytest.raises(SweepError, match="must be a CSV file, or a folder that holds one, but there is no such file"):
        build(table.with_name("no.csv"))
    shutil.copy(table, table.with_name("other.csv"))
    with pytest.raises(
        SweepError, match="must hold one CSV file, or train.csv and test.csv, but holds other.csv, table"
    ):
        build(table.parent)
    os.mkfifo(table.with_name("train.csv"))
    with pytest.raises(SweepError, match=r"train.csv must be a CSV file .*a regular file"):
        build(table.parent)
    assert holds_table(table.parent)  # and no pipe is waited for
    table.with_name("train.csv").unlink()
    with pytest.raises(SweepError, match="data.path must be given for picture_table"):
        build_data(section("picture_table"), 0, space("regression").images)
    with pytest.raises(SweepError, match="'disks' is none; did you mean 'discs'"):
        build(table, columns=["disks"])
    with pytest.raises(SweepError, match="data.columns is for picture_table, but data.name is 'digits'"):
        check_data(section("digits", columns=["a"]), space("classification").images)
    shutil.copy(table, table.with_name("train.csv"))
    for name in ("val.csv", "valid.tsv"):
        shutil.copy(table, table.with_name(name))
    with pytest.raises(SweepError, match="must hold one CSV for validation, but holds val.csv and valid.tsv; merge or"):
        build(table.parent)
    table.with_name("valid.tsv").unlink()
    table.with_name("test.csv").write_text("file,discs,x\nx.png,1,1\n")
    with pytest.raises(
        SweepError, match=r"test.csv must have the columns .*n.csv, but lacks area \[px\] and also has x$"
    ):
        build(table.parent)


def test_a_check_finds_a_lost_image(table: Path) -> None:
    check_data(section("picture_table", path=table), space("regression").images)
    (table.parent / "shapes/003.png").unlink()
    with pytest.raises(SweepError, match="003.png cannot be read .*line 5 names it"):
        check_data(section("picture_table", path=table), space("regression").images)
