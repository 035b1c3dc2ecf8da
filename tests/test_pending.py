"""What was cut off is begun with again, but not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from ffnet_search.search.storage.search_storage import STARTS, PendingTrials


def test_what_ended_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    first = PendingTrials(path)
    for key in "abc":
        first.begin(key, "sampler", {"x": key})
    first.end("b")
    assert [(one.origin, one.params) for one in PendingTrials(path).left] == [
        ("sampler", {"x": "a"}),
        ("sampler", {"x": "c"}),
    ]
    first.end("a")
    first.end("c")
    assert PendingTrials(path).left == [] and not path.exists()


def test_what_is_left_survives_until_it_has_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    first = PendingTrials(path)
    first.begin("a", "sampler", {})
    first.begin("b", "walk", {})
    PendingTrials(path).begin("a", "sampler", {})  # and is killed too
    assert [(one.origin, one.starts) for one in PendingTrials(path).left] == [("walk", 1), ("sampler", 2)]


def test_what_is_killed_again_and_again_is_not_begun_with(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    for _ in range(STARTS):
        assert len(PendingTrials(path).left) == int(path.exists())
        PendingTrials(path).begin("a", "sampler", {})
    assert PendingTrials(path).left == []


def test_a_stop_in_good_order_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    for _ in range(2 * STARTS):
        search = PendingTrials(path)
        search.begin("a", "sampler", {"x": 1})
        search.put_back()
    assert [one.params for one in PendingTrials(path).left] == [{"x": 1}]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '{"a": {"what": 1}}'])
def test_a_file_that_cannot_be_read_is_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "under_way").write_text(content)
    assert PendingTrials(tmp_path / "under_way").left == []
    assert PendingTrials(None).left == []
