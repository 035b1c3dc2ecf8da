"""Progress of a stage: plain lines for output that is no terminal, a bar and a table on one."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from ffnet_search import progress
from ffnet_search.progress import LINE_EVERY_S, Bar, NotebookBar, TerminalBar, clock, pace


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    time = Clock()
    monkeypatch.setattr(progress, "time", time)
    return time


def test_facts_are_in_the_plain_line(time: Clock) -> None:
    bar = Bar("search", 10, "candidates")
    bar.advance(4, facts={"best accuracy": "0.9", "workers busy": "2 of 3"})
    assert bar.line(102.0) == "4/10 candidates, 2/s, 3s left, best accuracy 0.9, workers busy 2 of 3"


def test_an_open_end_is_not_promised_to_be_near(time: Clock) -> None:
    bar = Bar("measure", 10, "timings")
    bar.more = 20
    bar.advance(8)
    assert bar.line(116.0) == "8/10 timings, 2s each, at most 44s left"
    bar.advance(2)
    bar.extend(4, more=16)
    assert bar.line(120.0) == "10/14 timings, 2s each, at most 40s left"
    bar.extend(-3)
    assert bar.line(120.0) == "10/11 timings, 2s each, 2s left"


@pytest.mark.parametrize(("seconds", "lines"), [(LINE_EVERY_S - 0.01, 0), (LINE_EVERY_S, 1)])
def test_plain_lines_are_some_seconds_apart(
    time: Clock, capsys: pytest.CaptureFixture[str], seconds: float, lines: int
) -> None:
    bar = Bar("train", 10, "batches")
    time.now += seconds
    bar.advance(2, note="loss 0.5")
    bar.advance(1)  # right after a line there is none
    assert capsys.readouterr().err.count("train: 2/10 batches") == lines


def test_the_last_line_says_how_long_it_took(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar("train", 10, "batches")
    time.now += 200
    bar.advance(10)
    bar.close()
    assert capsys.readouterr().err == "train: 10/10 batches, 20s each, took 3m20s\n"


def test_steps_of_an_earlier_run_are_not_in_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("train", 10, "batches", done=4) as bar:
        bar.advance(6)
    assert "train: 6/6 batches" in capsys.readouterr().err


def test_a_terminal_shows_the_note_and_the_facts_below_the_bar(time: Clock) -> None:
    bar = TerminalBar("search", 10, "candidates", done=2)
    assert len(bar.view().renderables) == 1
    time.now += 2
    bar.advance(4, note="n", facts={"best accuracy": "0.9"})
    _, note, table = bar.view().renderables
    assert str(note) == "n"
    assert table.renderables == ["[dim]best accuracy[/dim] 0.9"]  # type: ignore[union-attr]
    (task,) = bar.display.tasks
    assert (task.completed, task.fields["words"]) == (6, "6/10 candidates, 2/s, 2s, 2s left")


def test_names_are_no_markup() -> None:
    """A class may be called as one likes, and is in the name of a fact."""
    bar = TerminalBar("search [/x]", 10, "candidates", done=0)
    bar.advance(1, facts={"best recall of [/x]": "0.9 [/y]"})
    lines = io.StringIO()
    Console(file=lines, width=90).print(bar.view(90))
    assert "search [/x]" in lines.getvalue() and "best recall of [/x] 0.9 [/y]" in lines.getvalue()


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.0, "0/s"),
        (1234.5, "1,234/s"),
        (2.5, "2.5/s"),
        (1, "1/s"),
        (0.8, "1.2s each"),
        (0.0276, "36s each"),
        (0.005, "3m20s each"),
    ],
)
def test_slow_steps_are_told_by_the_time_of_each(rate: float, words: str) -> None:
    assert pace(rate) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (7500, "2h05m")],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_notebook_shows_one_line_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the two functions of IPython that it needs, which is not installed here."""
    shown: list[tuple[str, str, str]] = []
    display = ModuleType("IPython.display")
    display.HTML = str  # type: ignore[attr-defined]
    display.display = lambda html, display_id: shown.append(("first", html, display_id))  # type: ignore[attr-defined]
    display.update_display = lambda html, display_id: shown.append(("again", html, display_id))  # type: ignore[attr-defined]
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with progress.progress("train", 2, "batches") as bar:
        assert isinstance(bar, NotebookBar)
        bar.advance(1, note="loss <0.5>")
        bar.advance(1)
    kinds, texts, names = zip(*shown, strict=True)
    assert kinds[0] == "first" and set(kinds[1:]) == {"again"} and len(set(names)) == 1
    assert "1/2 batches" in texts[0] and "loss &lt;0.5&gt;" in texts[0] and "took" in texts[-1]
