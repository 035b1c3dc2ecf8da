"""Architectures are values that survive files, have one spelling, keep their keys, and cost what the reference does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from networks import PRESET_FORMS

from ffnet_search.space.architecture import PRESETS, Architecture, Stage, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input
from ffnet_search.space.mixers import HEAD_DIM

REFERENCE = Path(__file__).parents[1] / "../shared/reference/ffnet_family.json"

MIXED = Architecture(
    Stem(24, 2),
    (
        Stage(32, (Block("ffn_attention", 5, 3, 2), Block("pool", 3, 7, 4))),
        Stage(48, (Block("attention", 7, 3, 3),) * 2, multiplier=3),
    ),
    Input(channels=1, resolution=28, outputs=7),
)
KEYS = {
    "ffnet_1": "ea51266ddeb5",
    "ffnet_2": "afcf35c96372",
    "ffnet_3": "eaf265916807",
    "ffnet_4": "128e74b9aaec",
}
MIXED_KEY = "2eb0197c998d"


@pytest.mark.parametrize("arch", [MIXED, *map(Architecture.preset, PRESETS)], ids=["mixed", *PRESETS])
@pytest.mark.parametrize("through", [lambda d: json.loads(json.dumps(d)), lambda d: yaml.safe_load(yaml.safe_dump(d))])
def test_survives_a_file(arch: Architecture, through: Callable[[Any], Any]) -> None:
    again = Architecture.from_dict(through(arch.to_dict()))
    assert again == arch
    assert hash(again) == hash(arch)
    assert again.key == arch.key
    assert str(again) == str(arch)


def test_keys_are_those_of_existing_studies() -> None:
    """A changed key orphans every cache, study and file that users have: change these only with a migration."""
    assert {name: Architecture.preset(name).key for name in PRESETS} == KEYS
    assert MIXED.key == MIXED_KEY


def test_keys_tell_all_fields_apart() -> None:
    first, second = MIXED.stages
    plain = second.blocks[0]
    others = [
        Architecture(Stem(25, 2), MIXED.stages, MIXED.input),
        Architecture(Stem(24, 4), MIXED.stages, MIXED.input),
        Architecture(MIXED.stem, (first, Stage(64, second.blocks, 3)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, second.blocks, 2)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, (plain,), 3)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, (plain, Block("attention", 7, 5, 3)), 3)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, (plain, Block("attention", 7, 3, 2)), 3)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, (plain, Block("pool", 7, 3, 3)), 3)), MIXED.input),
        Architecture(MIXED.stem, (first, Stage(48, (plain, Block("pool", 5, 3, 3)), 3)), MIXED.input),
        Architecture(MIXED.stem, (first,), MIXED.input),
        Architecture(MIXED.stem, MIXED.stages, Input(3, 28, 7)),
        Architecture(MIXED.stem, MIXED.stages, Input(1, 32, 7)),
        Architecture(MIXED.stem, MIXED.stages, Input(1, 28, 10)),
    ]
    assert len({MIXED.key, *(arch.key for arch in others)}) == 1 + len(others)


def test_what_has_no_effect_has_one_spelling() -> None:
    assert Block("attention", token_kernel=3) == Block("attention", token_kernel=9)
    first, *rest = MIXED.stages
    respelt = Architecture(MIXED.stem, (Stage(first.width, first.blocks, multiplier=5), *rest), MIXED.input)
    assert respelt == MIXED
    assert respelt.key == MIXED.key


@pytest.mark.parametrize("name", PRESETS)
def test_presets_cost_what_the_reference_costs(name: str) -> None:
    if not REFERENCE.exists():
        pytest.skip(f"needs the reference's counts, {REFERENCE.name}")
    reference = json.loads(REFERENCE.read_text())[name]
    arch = Architecture.preset(name, Input(resolution=256))
    assert sum(part.costs.macs for part in arch.parts) == reference["fused_macs_256"]
    # The reference's fused form keeps the last norm and the layer scales; ours folds them.
    kept = 2 * arch.stages[-1].width
    if PRESET_FORMS[name].layer_scale is not None:
        kept += sum(2 * stage.width * stage.depth for stage in arch.stages)
    assert sum(part.costs.params for part in arch.parts) + kept == reference["fused_parameters"]


def test_parts_follow_the_map_from_input_to_logits() -> None:
    assert [part.kind for part in MIXED.parts] == (
        ["stem"] + ["token_mixer", "channel_mixer"] * 2 + ["merging"] + ["token_mixer", "channel_mixer"] * 2 + ["head"]
    )
    for before, after in zip(MIXED.parts, MIXED.parts[1:], strict=False):
        assert before.out_width == after.in_width
        stride = {"stem": before.stride, "merging": 2}.get(before.kind, 1)
        assert after.resolution == -(-before.resolution // stride)
    assert MIXED.parts[0].resolution == MIXED.input.resolution
    assert MIXED.parts[-1].out_width == MIXED.input.outputs
    assert len({part.key for part in MIXED.parts}) == len(set(MIXED.parts))


def test_odd_maps_round_up() -> None:
    arch = Architecture(Stem(8, 4), (Stage(16, (Block(),)), Stage(16, (Block(),)), Stage(16, (Block(),))), Input(3, 45))
    assert [part.resolution for part in arch.parts if part.kind == "token_mixer"] == [12, 6, 3]


def test_str_is_one_line_that_a_person_can_read() -> None:
    assert str(MIXED) == "stem 24/2 | 32: k5+3 e2 x1, pool3+7 e4 x1 | 48: attention+3 e3 x2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Block("conv"), "mixer must be one of ffn_attention, pool, attention or .*:Class, but got 'conv'"),
        (lambda: Block(token_kernel=4), "token_kernel must be odd and >= 3, but got 4"),
        (lambda: Block(token_kernel=1), "token_kernel must be odd and >= 3, but got 1"),
        (lambda: Block(channel_kernel=2), "channel_kernel must be odd and >= 3, but got 2"),
        (lambda: Block(expansion=0), "expansion must be >= 1, but got 0"),
        (lambda: Stage(0, (Block(),)), "a stage must have width >= 1, .* but got width=0, multiplier=2, 1 block"),
        (lambda: Stage(8, ()), "at least one block, but got width=8, multiplier=2, 0 blocks"),
        (lambda: Stage(8, (Block(),), 0), "multiplier >= 1 .* but got width=8, multiplier=0"),
        (
            lambda: Stage(HEAD_DIM + 8, (Block("attention"),)),
            f"width must be a multiple of {HEAD_DIM} for mixer 'attention', but got {HEAD_DIM + 8}",
        ),
        (lambda: Stem(8, 3), "stride 1, 2 or 4, or width 0 and stride 1, but got width=8, stride=3"),
        (lambda: Stem(0, 2), "width >= 1 .* but got width=0, stride=2"),
        (lambda: Input(outputs=1), "classes >= 2, but got channels=3, resolution=224, classes=1"),
        (lambda: Input(resolution=0), "resolution >= 1 .* resolution=0"),
        (lambda: Architecture(Stem(), ()), "an architecture must have at least one stage"),
        (lambda: Architecture.preset("ffnet_9"), "preset must be one of ffnet_1, .*, but got 'ffnet_9'"),
    ],
)
def test_errors_say_what_must_hold_and_what_was_found(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("data", [{}, {"stages": []}, {"stages": [{"width": 8}]}, {"stages": 3}, {"stages": [3]}])
def test_what_is_no_architecture_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Architecture.from_dict(data)


@pytest.mark.parametrize("axis", ["token_kernel", "channel_kernel"])
def test_an_axis_is_declared_once(axis: str) -> None:
    """The places to edit for another axis: all that lists axes iterates over the declaration in `space/block.py`."""
    package = Path(__file__).parents[1] / "ffnet_search"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if axis in path.read_text()}
    assert files == {
        "space/block.py",  # its declaration, and the part that it changes (whose costs are in `space/parts.py`)
        "models/layers.py",  # the elastic layer and its deployed form
        "models/reference.py",  # its values in official checkpoints,
        "space/architecture.py",  # in published networks,
        "autoconfig/draft.py",  # and in a first search space: where it is left out, its default holds
    }
