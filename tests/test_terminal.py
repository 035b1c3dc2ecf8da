"""Tables, progress and errors on terminals of 80, 120 and 200 columns, each a real pseudo-terminal."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

import pytest
from pseudo_terminal import CODES, shown
from rich.console import Console
from written_runs import two_networks, written_run

from ffnet_search import progress
from ffnet_search.cli.printing import Column, Grid, make_table, print_plain
from ffnet_search.formatting import broken
from ffnet_search.progress import TerminalBar, signs_of_life

IMPORTANT = ("63.02 ± 3.48", "61.52 ± 1.00", "1.23", "12.3")


def show(columns: int, what: Path, **environment: str) -> str:
    return shown(columns, sys.executable, "-m", "ffnet_search", "show", str(what), **environment)


def compare(columns: int, first: Path, second: Path) -> str:
    image = first.parent / "both.png"
    command = [sys.executable, "-m", "ffnet_search", "compare", str(first), str(second)]
    return CODES.sub(
        "", shown(columns, *command, *(["--image", str(image)] if (first / "sweep.yaml").exists() else []))
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two exported networks, without their weights."""
    return written_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_front_keeps_keys_and_digits_at_every_width(run: Path, columns: int) -> None:
    text = CODES.sub("", show(columns, run))
    rows = [line for line in text.splitlines() if re.match(r"[12]\*? ", line)]
    assert [row.split()[0] for row in rows] == ["1*", "2"]
    for row, folder in zip(rows, sorted(path.name for path in (run / "pareto").iterdir()), strict=True):
        assert len(row.rstrip()) <= columns and folder in row
    assert all(f" {figure} " in rows[0] for figure in IMPORTANT)
    assert "…" not in text
    assert ("49.4" in text) == (columns > 80)  # whole columns are dropped
    assert (f"not shown in {columns} columns" in text) == (columns < 200)
    assert all(len(line.rstrip()) <= columns for line in text.splitlines())  # sentences are broken at blanks


def test_a_sentence_is_broken_at_blanks_and_a_command_never() -> None:
    command = "ffnet-search export runs/my --key 0123456789ab --top 4"
    text = f"a better one is not exported; export it with `{command}`, or ask for less"
    lines = broken(text, 60).split("\n")
    assert lines == ["a better one is not exported; export it with", f"`{command}`, or", "ask for less"]
    assert broken(f"stopped; results so far are kept; to resume: {command}", 50).split("\n")[-1] == command


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs with long names, whose networks were judged on 12,345 images."""
    runs = [tmp_path_factory.mktemp("runs") / f"flowers of a {size} garden in 2026" for size in ("large", "small")]
    for folder, right in zip(runs, ((11_000, 9_000), (10_800, 9_000)), strict=True):
        two_networks(folder, right, images=12_345)
    return runs


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_two_runs_are_compared_at_every_width(two: list[Path], columns: int) -> None:
    text = compare(columns, *two)
    rows = [line for line in text.splitlines() if re.match(r"[AB]\*? +\d", line)]
    assert len(rows) == 4 and max(len(row.rstrip()) for row in rows) <= columns and "…" not in text
    names = "|".join(path.name for path in two[0].glob("pareto/0*"))
    assert all(re.search(rf" 61\.52 ± 1\.00  +(1\.00|1\.23)  +12\.3  ({names})\b", row) for row in rows)
    assert all(f"{letter}  {folder}" in text for letter, folder in zip("AB", two, strict=True))  # at its blanks, too
    assert "A is better by accuracy on test, 12,345 images (p = " in " ".join(text.split())
    assert (f"not shown in {columns} columns" in text) == (columns == 80)


@pytest.mark.parametrize("columns", [80, 120])
def test_two_networks_are_compared_at_every_width(two: list[Path], columns: int) -> None:
    folders = sorted(two[0].glob("pareto/0*"))
    text = compare(columns, *folders)
    rows = [line for line in text.splitlines() if re.match(r"(validation|folds|test) \(12,345\) ", line)]
    assert len(rows) == 3 and all("89.10 ± 0.28 %  72.90 ± 0.40 %  +16.20 ± 0.33 " in row for row in rows)
    assert all(row.rstrip().endswith("yes") and len(row.rstrip()) <= columns for row in rows)
    assert ("not shown in 80 columns: p\n" in text) == (columns == 80)
    assert f"{folders[0].name} is better by accuracy on test, 12,345 images (p = " in " ".join(text.split())


def test_a_terminal_too_narrow_for_a_column_still_gets_whole_keys(run: Path) -> None:
    text = CODES.sub("", show(30, run)).replace("\n", "")
    assert all(path.name in text for path in (run / "pareto").iterdir())


def test_colours_mark_the_chosen_and_no_color_is_respected(run: Path) -> None:
    def colours(text: str) -> set[str]:
        codes = re.findall(r"\x1b\[([0-9;]*)m", text)
        return {part for code in codes for part in code.split(";")} & set(map(str, range(30, 48)))

    assert colours(show(80, run)) == {"32"}
    assert colours(show(80, run, NO_COLOR="1")) == set()
    error = show(80, run / "no-such")
    assert "no-such" in CODES.sub("", error) and colours(error) == {"31"}
    assert colours(show(80, run / "no-such", NO_COLOR="1")) == set()


def test_what_is_in_a_run_is_recognised(run: Path) -> None:
    front = show(200, run)
    for name in ("run.json", "study.db", "pareto"):
        assert show(200, run / name) == front
    network = next((run / "pareto").iterdir())
    for what in (network, network / "card.json", network / "model.onnx"):
        text = CODES.sub("", show(80, what))
        assert "63.02  ±3.48  %" in text and "measured latency" in text and "token_mixer" in text
        assert "away" not in text
    assert "token_mixer" in show(80, network / "architecture.yaml")
    assert "`ffnet-search list" in show(300, run.parent)
    (run.parent / "other.json").write_text('{"a": 1}')
    text = show(300, run.parent / "other.json")
    assert "must be a latency table or the card.json of an exported network, but holds ['a']" in text


def test_columns_go_whole_and_the_last_ones_first() -> None:
    key = Column("key", ["0123456789ab"], "key")
    numbers = [Column(f"n{index}", ["12345678"]) for index in range(4)]
    words = Column("why", ["a reason in words"], "words")
    grid = Grid([key, *numbers, words])
    kept, dropped = grid.within(12 + 2 * 10)
    assert [column.title for column in kept] == ["key", "n0", "n1"] and len(dropped) == 3
    assert grid.within(12 + 4 * 10 + 8)[1] == []  # words are folded first
    assert [column.title for column in grid.within(5)[0]] == ["key"]


def test_a_table_of_words_is_folded_and_complete() -> None:
    table, total, dropped = make_table(["stage", "state"], [["train", "a " * 30]]).drawn(30)
    assert (total, dropped, len(table.columns)) == (30, [], 2)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_progress_keeps_count_rate_and_time_left(columns: int) -> None:
    code = (
        "import time\nfrom ffnet_search import progress\n"
        "with progress.progress('search', 100000, 'candidates', done=2000) as bar:\n"
        "    bar.advance(500, note='n' * 300, facts={f'fact {n}': 'value' for n in range(8)})\n"
        "    time.sleep(0.6)\n"
    )
    lines = CODES.sub("", shown(columns, sys.executable, "-c", code)).splitlines()
    assert any(re.search(r"2500/100000 candidates, [\d.,]+/s, \d+s, \w+ left", line) for line in lines)
    assert max(map(len, lines)) <= columns
    assert any("fact 7 value" in line for line in lines)


def test_the_bar_takes_what_the_words_leave() -> None:
    bar = TerminalBar("search", 10, "candidates", done=2)
    bar.view(200)
    wide = bar.column.bar_width
    bar.view(50)
    assert wide is not None and bar.column.bar_width is not None and bar.column.bar_width < wide


CUT_SHORT = """
from ffnet_search.progress import progress
from rich.live import Live
def stop(self): raise KeyboardInterrupt
Live.stop = stop
with progress("train", 2, "batches") as bar: bar.advance()
"""


def test_the_cursor_is_shown_again_where_a_signal_cuts_the_end_of_a_bar_short() -> None:
    said = shown(80, sys.executable, "-c", CUT_SHORT)
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l") >= 0


def test_a_long_label_is_cut_before_the_time_left() -> None:
    bar = TerminalBar("profile onnxruntime (threads 1, batch 1)", 192, "measurements", done=0)
    bar.start -= 30
    bar.advance(40)
    stream = io.StringIO()
    Console(file=stream, width=80, force_terminal=False, color_system=None).print(bar.view(80))
    (line,) = stream.getvalue().rstrip().splitlines()
    assert re.search(r"^profile onnx.*… .*40/192 measurements, [\d.]+/s, \d+s, \dm\d\ds left$", line)


def test_a_silent_stage_says_that_it_is_in_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SILENCE_S", 0.02)

    def wait_for(words: str) -> None:
        said = ""
        while words not in said:
            time.sleep(0.01)
            said += capsys.readouterr().err

    with signs_of_life("train"):
        wait_for("train: in progress, ")
        with progress.progress("epochs", 3, "epochs") as bar:
            bar.advance()
            wait_for("epochs: 1/3 epochs")
        wait_for("train: in progress")


def test_bars_of_several_threads_end_in_any_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SILENCE_S", 0.02)
    first, second = (progress.progress(name, 2, "steps") for name in ("first", "second"))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with signs_of_life("train"):
        while "second: 0/2 steps" not in capsys.readouterr().err:
            time.sleep(0.01)
        second.__exit__(None, None, None)
        while "train: in progress, " not in capsys.readouterr().err:
            time.sleep(0.01)


def test_a_piped_table_leaves_out_details_and_obeys_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, numbers = Column("why", ["a reason " * 12], "words"), Column("n", ["1.23"], is_detail=True)
    grid = Grid([Column("key", ["0123456789ab"], "key"), words, numbers, Column("etc", ["stem " * 9], "words", True)])

    def printed(columns: str) -> list[str]:
        monkeypatch.setenv("COLUMNS", columns)
        print_plain(grid)
        lines = capsys.readouterr().out.splitlines()
        assert not any(line.endswith(" ") for line in lines)
        return lines

    for columns in ("", "0", "wide"):
        _, row, left_out = printed(columns)  # what is no detail stays, and is not folded
        assert row.split() == ["0123456789ab", *("a", "reason") * 12]
        assert left_out == f"not shown in 120 columns: n, etc; set COLUMNS to {grid.width} for all"
    assert len(printed(str(grid.width))) == 2
    assert max(map(len, printed("60")[:-1])) <= 60  # folded, as on a terminal


def test_names_in_titles_labels_and_lines_command_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    print_plain(make_table(["stage", "in \x1b[31mruns/x"], [["profile", "\x1b[2J"]]))
    with progress.progress("read \x1b[2J", 1, "files") as bar:
        bar.advance(note="\u202e.png")
    progress.say("profile: \x1b[2J exists\nreally")
    out, err = capfd.readouterr()
    assert not any(mark in out + err for mark in ("\x1b", "\u202e")) and "in \\x1b[31mruns/x" in out
    assert len(err.splitlines()) == 2 and "profile: \\x1b[2J exists\\nreally" in err


@pytest.mark.parametrize("columns", [80, 120])
def test_settings_of_two_runs_show_both_runs(tmp_path: Path, columns: int) -> None:
    images = {"channels": 1, "resolution": 8, "classes": 10}
    stage = {"depth": [1, 2, 3], "width": [16, 32, 48, 64], "token_kernel": [3, 5, 7]}
    first = written_run(tmp_path / "first", data={"name": "image_folder", "path": "/data/" + "first" * 12})
    space = {"stages": [stage, {**stage, "width": [96]}], "input": images}
    second = written_run(tmp_path / "second", data={"name": "image_folder", "path": "/p"}, search_space=space)
    command = [
        sys.executable,
        "-m",
        "ffnet_search",
        "compare",
        str(first),
        str(second),
        "--image",
        str(tmp_path / "x.png"),
    ]
    text = CODES.sub("", shown(columns, *command))
    table = text[text.index("setting ") :]
    assert max(map(len, table.splitlines()[:-1])) <= columns
    assert re.match(r"setting +A +B *\n", table) and "not shown" not in table
    assert "search_space.stages.0" in table and "[3, 5, 7]" in table
    assert table.count("first") >= 9  # of 12: each fold may cut one


FIGURES = (
    "63.02 ± 3.48 % of search validation on 192 images, 1.23 ms on laptop (measured); 12.3 M parameters, 5.7 M MACs "
    "for 32 x 32 pixels, of which 0.1 to 0.45 ms are left within ≤ 5 ms for 12,345 networks: "
    "stem 16/2 | 24: pool3+3 e1 x1"
)
TORN = re.compile(r"\d\n[A-Za-zµ%±]|\d [Mx]\n\w|[±≤≥]\n\d|\d,\n\d|\d:\n")


def test_no_line_ends_between_a_number_and_its_unit() -> None:
    for width in range(20, 120):  # as long as the longest figure with its unit
        text = broken(FIGURES, width)
        assert not TORN.search(text), text
        assert text.replace("\n", " ") == FIGURES
        column = Column("words", [FIGURES], "words")
        stream = io.StringIO()
        table = Grid([Column("key", ["0123456789ab"], "key"), column], whole=True).drawn(width + 14)[0]
        Console(file=stream, width=width + 14, color_system=None).print(table)
        folded = "\n".join(line[14:].rstrip() for line in stream.getvalue().splitlines()[1:])
        assert not TORN.search(folded), folded
