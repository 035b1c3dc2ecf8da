"""The yardstick of a front: networks scaled by hand, and what the front gains over them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from networks import SPACES, space

from ffnet_search.atomic_write import write_json
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import ExportedNetwork, write_scores
from ffnet_search.export.yardstick.gains import Gain, read_gains
from ffnet_search.export.yardstick.measure import compare
from ffnet_search.metrics import find_metric
from ffnet_search.space.by_hand import by_hand
from ffnet_search.space.registry import qualities
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.scores import Scores

ACCURACY = find_metric("accuracy", qualities())


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
def test_networks_by_hand_are_of_the_space_and_grow_with_their_widths(name: str) -> None:
    chosen = space(name)
    networks = by_hand(chosen)
    assert list(networks) == ["smallest", "width1", "width2", "width3", "largest"]
    assert all(arch in chosen for arch in networks.values())
    hand = [networks[f"width{number}"] for number in (1, 2, 3)]
    for stages in zip(*(arch.stages for arch in hand), strict=True):
        widths = [stage.width for stage in stages]
        assert widths == sorted(widths)
        assert len({tuple(stage.blocks) for stage in stages}) == 1  # nothing else differs
    assert all(block.mixer == "ffn_attention" for stage in hand[0].stages for block in stage.blocks)


def exported(folder: Path, ms: float, right: int, validation: float) -> ExportedNetwork:
    """A network that is right on the first so many of 400 test images."""
    folder.mkdir()
    scores = Scores(find_task("classification"), (np.arange(400) < right).astype(float)[:, None])
    write_scores(folder, {"test": scores, "search": scores})
    metrics = {"measured_ms": ms, "test_accuracy": right / 400, "search_accuracy": validation}
    return ExportedNetwork(folder, space("ffnet_digits").smallest, metrics)


def test_the_gain_is_at_equal_latency_and_has_an_error(tmp_path: Path) -> None:
    sweep = Sweep.from_content(
        {"name": "s", "search_space": yaml.safe_load(SPACES["ffnet_digits"].read_text())}, Path("s.yaml")
    )
    front = [
        exported(tmp_path / "01-aa", 3.0, 380, 0.95),
        exported(tmp_path / "02-bb", 2.0, 360, 0.90),
        exported(tmp_path / "03-cc", 1.0, 340, 0.91),  # ranked before bb: the search cannot know better
    ]
    hand = [exported(tmp_path / f"width{at}-k{at}", ms, right, 0.9) for at, ms, right in
            ((1, 0.5, 200), (2, 2.5, 338), (3, 3.5, 300))]  # fmt: skip
    too_quick, equal, better = compare(sweep, front, hand)
    assert too_quick.front == "" and "has no network as quick" in too_quick.words(ACCURACY)
    assert equal.front == "03-cc" and equal.difference == pytest.approx(2 / 400)
    assert equal.p > 0.05 and equal.words(ACCURACY).endswith("points, which a paired test does not tell from none")
    assert better.front == "01-aa" and better.p < 1e-6
    assert better.error == pytest.approx((0.2 * 0.8 / 400) ** 0.5, rel=0.01)
    assert "01-aa has +20.00 ± 2.00 points" in better.words(ACCURACY)


def test_a_network_of_the_front_is_no_gain_over_itself(tmp_path: Path) -> None:
    content = {"name": "s", "search_space": yaml.safe_load(SPACES["ffnet_digits"].read_text())}
    front = [exported(tmp_path / "01-aa", 3.0, 380, 0.95)]
    for number, ms in enumerate((2.9, 3.1), 1):  # measured again
        [gain] = compare(Sweep.from_content(content, Path("s.yaml")), front,
                         [exported(tmp_path / f"width{number}-aa", ms, 370, 0.9)])  # fmt: skip
        assert (gain.ms, gain.difference) == (3.0, 0.0) and gain.words(ACCURACY).endswith(": 01-aa is this network")


def test_the_gain_of_an_error_is_better_or_worse() -> None:
    mae = find_task("regression").quality
    gain = Gain("width1", "width1-k", 1.0, 50.0, "01-aa", 122.84, -72.84, 3.0, 0.0)
    assert gain.words(mae).endswith("01-aa has 72.84 ± 3.00 worse")
    assert replace(gain, difference=72.84).words(mae).endswith("01-aa has 72.84 ± 3.00 better")


def test_one_image_gives_no_error_and_json_has_no_infinity(tmp_path: Path) -> None:
    gain = Gain("width1", "width1-k", 1.0, 0.5, "01-aa", 1.0, 0.5, math.inf)
    write_json(tmp_path / "gains.json", [asdict(gain)])
    assert json.loads((tmp_path / "gains.json").read_text(), parse_constant=pytest.fail)[0]["error"] is None
    assert read_gains(tmp_path) == [gain]
    assert "01-aa has +50.00 points, which a paired test" in gain.words(ACCURACY)


def test_damaged_gains_are_none(tmp_path: Path) -> None:
    assert read_gains(tmp_path) == []
    (tmp_path / "gains.json").write_text('[{"by_hand": 1}]')
    assert read_gains(tmp_path) == []
    assert Gain("width1", "width1-k", 1.0, 0.5).p == 1.0


def test_baselines_stand_beside_a_yardstick() -> None:
    report = {"yardstick": False, "baselines": [{"class_path": "torch.nn:Identity"}]}
    content = {"search_space": yaml.safe_load(SPACES["ffnet_digits"].read_text()), "report": report}
    with pytest.raises(SweepError, match="report: baselines must be left out where yardstick is false"):
        Sweep.from_content(content, Path("s"))
