"""Drafts of a search space for the images of a user."""

from __future__ import annotations

from pathlib import Path

import pytest
from first_sweeps import image_set, throughput_of

from ffnet_search.autoconfig.budget import choose_budget
from ffnet_search.autoconfig.draft import drafts
from ffnet_search.autoconfig.inspect import MaskSet
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.start import OFFICIAL
from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]


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


def test_spaces_that_are_written_are_spaces_that_are_read(tmp_path: Path) -> None:
    for draft in drafts(image_set(20_000, 64)):
        file = tmp_path / f"{draft.size.name}{draft.resolution}.yaml"
        file.write_text("\n".join(space_text(draft, "x")))
        assert SearchSpace.from_yaml(file).model_copy(update={"name": "space"}) == draft.space
