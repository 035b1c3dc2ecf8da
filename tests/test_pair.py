"""Two exported networks compared: told apart or not, by a table, as JSON, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import call, user_error
from written_runs import two_networks

from ffnet_search.errors import SweepError
from ffnet_search.export.pair import are_networks, pair
from ffnet_search.run.run_comparison import compare_runs
from ffnet_search.tasks.scores import mcnemar


@pytest.mark.parametrize(("right", "told"), [((180, 150), True), ((150, 180), True), ((180, 178), False)])
def test_the_answer_is_that_of_the_paired_test(tmp_path: Path, right: tuple[int, int], told: bool) -> None:
    folders = two_networks(tmp_path, right)
    found = pair(*folders)
    assert [test.split for test in found.tests] == ["search", "folds", "test"]
    test = found.tests[-1]
    assert test.p == mcnemar(0, abs(right[0] - right[1]))
    assert test.difference == pytest.approx((right[0] - right[1]) / 200) and test.error > 0
    better = folders[right[1] > right[0]].name
    assert found.verdict.startswith(f"{better} is better by accuracy on test" if told else "not told apart by accuracy")


def test_networks_are_compared_by_the_command(tmp_path: Path) -> None:
    one, other = two_networks(tmp_path, (180, 178))
    done = call("compare", one, other, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not told apart by accuracy on test, 200 images" in done.stdout and "+1.00 ± 0.71" in done.stdout
    document = json.loads(call("compare", one, other, "--json", cwd=tmp_path).stdout)
    assert [test["split"] for test in document["tests"]] == ["search", "folds", "test"]
    assert "the same; name two networks" in user_error("compare", one, one, cwd=tmp_path)


def test_only_networks_with_the_same_images_are_compared(tmp_path: Path) -> None:
    one, other = two_networks(tmp_path, (180, 178))
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "data": {"fingerprint": "f"}}))
    with pytest.raises(SweepError, match="of other data or another seed"):
        pair(one, other)
    for folder in (one, other):
        (folder / "scores.npz").unlink()
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(SweepError, match="holds no scores of images"):
        pair(one, other)


def test_a_network_beside_what_is_none_is_said_so(tmp_path: Path) -> None:
    """As where a shell finds no second network for `02-*`."""
    one, other = two_networks(tmp_path, (180, 178))
    for found in (are_networks(one, other), not are_networks(tmp_path, tmp_path / "runs")):
        assert found
    with pytest.raises(SweepError, match=rf"02-\*: must be the folder of an exported network.*{other.name}$"):
        are_networks(one, one.parent / "02-*")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SweepError, match=r"loop/a: must be the folder of a run"):
        compare_runs(tmp_path / "loop" / "a", tmp_path / "b")
    shutil.rmtree(other)
    with pytest.raises(SweepError, match=r"but is none; .*pareto holds no other$"):
        are_networks(tmp_path, one)
