"""Exported folders of strangers: `show` and `compare` read an odd card or odd scores as one sentence."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import written_run

from ffnet_search.cli.app import main
from ffnet_search.errors import LINE, SweepError
from ffnet_search.export import exported
from ffnet_search.export.exported import SCORES, read_network, write_scores
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import Scores

ODD: dict[str, tuple[dict[str, Any], str]] = {
    "details of another type": ({"details": "x" * 10**6}, "details must be a mapping, but is"),
    "a figure that is a word": ({"metrics": {"test_accuracy": "nan"}}, "test_accuracy"),
    "figures that are a list": ({"metrics": [1]}, "metrics must be a mapping, but is"),
    "data of another version": ({"data": "digits"}, "data must be a mapping"),
    "a setting of another version": ({"latency": [1, 2]}, "latency must be a mapping"),
    "recall by number": ({"details": {"recall": [0.1]}}, "details.recall must be a mapping"),
    "recall in words": ({"details": {"recall": {"a": "all"}}}, "details.recall.a must be a number"),
    "precision of other classes": ({"details": {"recall": {"a": 1}, "precision": {"b": 1}}}, "of the same classes"),
    "pairs of one": ({"details": {"confused": [["a"]]}}, "details.confused.0"),
    "a picture elsewhere": ({"details": {"errors": "https://example.org/a.png"}}, "details.errors is not valid"),
    "an order in words": ({"order": ["first"]}, "order.0 must be a number"),
    "a nest": ({"details": json.loads("[" * 60 + "]" * 60)}, "levels"),
    "a latency beyond reason": ({"metrics": {"measured_ms": 1e300}}, "a number must be within +-1e+39"),
    "a latency that no network has": ({"metrics": {"latency_ms@phone": 1e-300}}, "@phone must be 0 or within"),
    "a quality that is no number": ({"metrics": {"test_accuracy": float("nan")}}, "number must be finite, but is NaN"),
    "negative MACs": ({"metrics": {"macs_m": -3.0}}, "macs_m must be 0 or within 1e-12 and 1e+12, but is -3.0"),
    "a share beyond one": ({"details": {"recall": {"a": 1.5}}}, "details.recall.a is not valid"),
    "images below none": ({"details": {"images": {"a": -3}}}, "details.images.a is not valid"),
    "a day beyond the calendar": ({"date": "99999-01-01T00:00:00+00:00"}, "date is not valid"),
    "a format that takes no time": ({"formats": {"ncnn": {"files": [], "latency_ms": 1e-300}}}, "formats.ncnn must"),
    "a huge number": ({"metrics": {"params_m": 10**400}}, "cannot be read"),
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return written_run(tmp_path / "run")


def networks(run: Path) -> list[Path]:
    return sorted((run / "pareto").iterdir())


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """What a command that ends with 2 says, one bounded line."""
    monkeypatch.setattr(sys, "argv", ["ffnet-search", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(line) <= LINE + len("ffnet-search: ")
    return line


@pytest.mark.parametrize("name", ODD)
def test_an_odd_card_is_one_sentence(
    name: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = networks(run)
    change, message = ODD[name]
    card = json.loads((first / "card.json").read_text())
    (first / "card.json").write_text(json.dumps({**card, **change}))
    for words in (("show", first), ("show", run), ("compare", second, first)):
        line = said(capsys, monkeypatch, *words)
        assert message in line and "card.json" in line


def bomb() -> bytes:
    """An array of 512 MB of zeros, in half a megabyte."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("test.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {"descr": "<f4", "fortran_order": False, "shape": (1 << 27, 1)},
        )
        for _ in range(1 << 9):
            file.write(bytes(1 << 20))
    return content.getvalue()


def arrays(**content: object) -> Callable[[], bytes]:
    def written() -> bytes:
        file = io.BytesIO()
        np.savez(file, **{name: np.array(value) for name, value in content.items()})
        return file.getvalue()

    return written


@pytest.mark.parametrize(
    "content",
    [bomb, arrays(test=[1.0]), arrays(test=[[np.nan]]), arrays(test=[["x"]]), arrays(test=np.zeros((0, 1))),
     arrays(test=[[1e300]]), arrays(search=[[1.0]]), arrays(test=[[{}]]), lambda: b"PK\3\4", lambda: b""],
)  # fmt: skip
def test_odd_scores_are_one_sentence(content: Callable[[], bytes], run: Path) -> None:
    folder = networks(run)[0]
    (folder / SCORES).write_bytes(content())
    with pytest.raises(SweepError, match=r"scores\.npz: cannot be read as the scores of a network"):
        read_network(folder).scores("test")


def test_a_large_file_that_holds_no_scores_is_not_read_whole(run: Path) -> None:
    folder = networks(run)[0]
    (folder / SCORES).touch()
    os.truncate(folder / SCORES, 1 << 40)
    with pytest.raises(SweepError, match=r"scores\.npz: cannot be read as the scores of a network"):
        read_network(folder).scores("test")


def test_scores_of_any_size_are_read_where_they_were_hardly_compressed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = networks(run)[0]
    many = Scores(task_of(read_network(folder).network.input), np.random.default_rng(0).random((2000, 1)))
    write_scores(folder, {"search": many, "test": many})
    monkeypatch.setattr(exported, "UNPACKED", 1000)
    read = read_network(folder).scores("test")
    assert read is not None and np.allclose(read.values_NS, many.values_NS)


def test_scores_of_other_images_are_not_compared(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = networks(run)
    (first / SCORES).write_bytes(arrays(search=[[1.0]], test=[[1.0], [0.0]])())
    (second / SCORES).write_bytes(arrays(search=[[1.0, 1.0]], test=[[1.0, 0.0], [0.0, 1.0]])())
    assert "holds no scores of images" in said(capsys, monkeypatch, "compare", first, second)
