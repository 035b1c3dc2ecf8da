"""A space is a set: its size is the number of its members, its samples are in it, and choices build what they name."""

from __future__ import annotations

import copy
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Architecture, Stage, Stem
from ffnet_search.space.block import BLOCK_AXES, Block
from ffnet_search.space.input import Input
from ffnet_search.space.mixers import find_mixer
from ffnet_search.space.registry import task_outputs
from ffnet_search.space.search_space import SearchSpace

FOLDER = Path(__file__).parents[1] / "search_spaces"
SPACES = sorted(FOLDER.glob("*.yaml"))
ENOUGH = 4_000  # combinations of choices that a brute-force enumeration may walk through

TINY: dict[str, Any] = {
    "input": {"channels": 3, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [2]},
    "stages": [
        {"depth": [1], "width": [16, 24], "token_kernel": [3], "expansion": [2, 3]},
        {"depth": [1], "width": [32, 48, 64], "mixer": ["ffn_attention", "attention"], "token_kernel": [3]},
    ],
}


def random_space(rng: random.Random) -> SearchSpace:
    """A small space with any combination of per-stage and per-block choices, mixers without kernels among them."""

    def some(values: list[Any], most: int = 2) -> list[Any]:
        return rng.sample(values, rng.randint(1, min(most, len(values))))

    stages = [
        {
            "depth": some([1, 2, 3]),
            "width": some([16, 32, 48]),
            "mixer": some(["ffn_attention", "pool", "attention"], most=3),
            "token_kernel": some([3, 5, 7], most=3),
            "channel_kernel": some([3, 7]),
            "expansion": some([2, 3]),
        }
        for _ in range(rng.randint(1, 2))
    ]
    return SearchSpace.model_validate(
        {
            "input": {"resolution": 8, "classes": 10},
            "stem": {"width": some([8, 16]), "stride": some([1, 2, 4])},
            "stages": stages,
            "per_block": [axis for axis in BLOCK_AXES if rng.random() < 0.4],
        }
    )


def enumerated(space: SearchSpace) -> set[Architecture]:
    axes = space.axes()
    return {space.build(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())}


def combinations(space: SearchSpace) -> int:
    product = 1
    for values in space.axes().values():
        product *= len(values)
    return product


def small_spaces(count: int) -> list[SearchSpace]:
    rng = random.Random(0)
    spaces: list[SearchSpace] = []
    while len(spaces) < count:
        space = random_space(rng)
        if combinations(space) <= ENOUGH:
            spaces.append(space)
    return spaces


def test_size_counts_distinct_architectures() -> None:
    spaces = small_spaces(60)
    for space in spaces:
        members = enumerated(space)
        assert space.size == len(members), space
        assert all(arch in space for arch in itertools.islice(members, 50))
        assert len({arch.key for arch in members}) == len(members)
        assert space.largest in members and space.smallest in members
    assert any(space.size < combinations(space) for space in spaces)  # choices without effect did occur
    assert {axis for space in spaces for axis in space.per_block} == set(BLOCK_AXES)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_spaces(path: Path) -> None:
    space = SearchSpace.from_yaml(path)
    assert space.name == path.stem
    rng = random.Random(1)
    samples = [space.sample(rng) for _ in range(100)]
    largest, smallest = space.largest, space.smallest
    for arch in [*samples, largest, smallest, *space.presets.values()]:
        choices = space.choices_of(arch)
        assert list(choices) == list(space.axes())
        assert space.build(choices) == arch
        assert arch in space
        for stage, upper, lower in zip(arch.stages, largest.stages, smallest.stages, strict=True):
            assert lower.width <= stage.width <= upper.width
            assert lower.depth <= stage.depth <= upper.depth
            assert stage.multiplier == upper.multiplier
            for block in stage.blocks:
                assert block.token_kernel <= upper.blocks[0].token_kernel
                assert block.expansion <= upper.blocks[0].expansion
    again = random.Random(1)
    assert samples == [space.sample(again) for _ in samples]
    assert smallest.macs_m < min(arch.macs_m for arch in samples)
    assert largest.macs_m > max(arch.macs_m for arch in samples)


def test_what_the_shipped_spaces_promise() -> None:
    digits, cifar, imagenet = (
        SearchSpace.from_yaml(FOLDER / f"ffnet_{name}.yaml") for name in ("digits", "cifar", "imagenet")
    )
    assert digits.presets == cifar.presets == {}
    assert set(imagenet.presets) == {"ffnet_1", "ffnet_2", "ffnet_3"}
    assert all(imagenet.presets[name] == Architecture.preset(name, Input(resolution=256)) for name in imagenet.presets)
    assert cifar.size == 20_336_812_153_195_618_080
    assert imagenet.size > 10**20  # beyond floats and 64 bits: an exact integer
    assert 9 < cifar.smallest.macs_m < 11 and cifar.largest.macs_m > 600
    assert all(width % 16 == 0 for stage in cifar.stages for width in stage.width)


def test_membership_is_that_of_the_enumerated_set() -> None:
    spaces = small_spaces(30)
    rng = random.Random(0)
    found = {True: 0, False: 0}
    for space in spaces:
        members = enumerated(space)
        for other in spaces:
            arch = other.sample(rng)
            assert (arch in space) == (arch in members)
            found[arch in space] += 1
    assert min(found.values()) > 30


def test_membership_sees_every_field() -> None:
    space = SearchSpace.model_validate(TINY)
    arch = space.smallest
    first, second = arch.stages
    (block,) = first.blocks
    assert arch in space
    for other in (
        Architecture(Stem(9, 2), arch.stages, arch.input),
        Architecture(Stem(8, 1), arch.stages, arch.input),
        Architecture(arch.stem, arch.stages, Input(1, 8, 10)),
        Architecture(arch.stem, (first,), arch.input),
        Architecture(arch.stem, (first, second, second), arch.input),
        Architecture(arch.stem, (Stage(17, first.blocks), second), arch.input),
        Architecture(arch.stem, (Stage(16, (block,) * 9), second), arch.input),
        Architecture(arch.stem, (first, Stage(second.width, second.blocks, second.multiplier + 1)), arch.input),
        Architecture(arch.stem, (Stage(16, (Block("pool", 3, 3, 2),)), second), arch.input),
        Architecture(arch.stem, (Stage(16, (Block("ffn_attention", 5, 3, 2),)), second), arch.input),
        Architecture(arch.stem, (Stage(16, (Block("ffn_attention", 3, 3, 5),)), second), arch.input),
    ):
        assert other not in space
        with pytest.raises(ValueError, match=r"must be|differs"):
            space.choices_of(other)
    assert "not an architecture" not in space


def test_largest_holds_every_choice_as_a_crop() -> None:
    for space in small_spaces(30):
        largest = space.largest
        assert largest.stem.stride == min(space.stem.stride)  # the stem with most pixels
        for choices, stage in zip(space.stages, largest.stages, strict=True):
            assert (stage.width, stage.depth) == (max(choices.width), max(choices.depth))
            with_kernel = [name for name in choices.mixer if find_mixer(name).has_kernel]
            assert {block.mixer for block in stage.blocks} == {[*with_kernel, *choices.mixer][0]}
            assert {block.expansion for block in stage.blocks} == {max(choices.expansion)}
            assert {block.channel_kernel for block in stage.blocks} == {max(choices.channel_kernel)}


def test_sampling_is_uniform_over_every_axis() -> None:
    space = SearchSpace.model_validate(TINY)
    rng = random.Random(0)
    drawn = [space.choices_of(space.sample(rng)) for _ in range(2000)]
    for name, values in space.axes().items():
        counts = [sum(choices[name] == value for choices in drawn) for value in values]
        assert sum(counts) == len(drawn)
        assert max(counts) - min(counts) < 200, name  # 4 standard deviations


def test_build_needs_every_axis_that_has_an_effect() -> None:
    space = SearchSpace.model_validate(TINY)
    choices = space.choices_of(space.largest)
    for name in choices:
        with pytest.raises(KeyError, match=name):
            space.build({other: value for other, value in choices.items() if other != name})


def space_with(path: str, value: Any) -> dict[str, Any]:
    """`TINY` with the value at a dotted path replaced."""
    data = copy.deepcopy(TINY)
    place: Any = data
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("stages.1.widht", [8], "stages.1.widht is not a known key; did you mean 'width'?"),
        ("sterm", {}, "sterm is not a known key; did you mean 'stem'?"),
        (
            "zzz",
            1,
            "zzz is not a known key; known: architecture, head, hyperparameters, input, .*, stages, stem",
        ),
        ("stages.0.depth", [], "stages.0.depth must have at least 1 item, but got "),
        ("stages", [], "must have stages, an architecture or hyperparameters"),
        ("stages.0", {"width": [8]}, "stages.0.depth must be given"),
        ("stages.0.width", ["wide"], "stages.0.width.0 must be a whole number, but got 'wide'"),
        ("stages.0.width", [16, True], "stages.0.width.1 must be a whole number, but got True"),
        ("stages.0.depth", "2", "stages.0.depth.0 must be a whole number, but got '2'; remove the quotes"),
        ("input.resolution", [8, True], "input.resolution must be a whole number, but got True"),
        ("head", {"width": True}, "head.width.0 must be a whole number, or text, but got True$"),
        ("stages.0.width", [0], "stages.0.width.0 must be > 0, but got 0"),
        ("stages.0.width", [16, 16], r"stages.0.width: must not repeat a choice, but got \[16, 16\]"),
        (
            "stages.0.mixer",
            ["poll"],
            "stages.0.mixer must be one of ffn_attention, .*:Class, but got 'poll'; did you mean 'pool'?",
        ),
        ("stages.0.token_kernel", [4], "stages.0.token_kernel must be odd and >= 3, but got 4"),
        ("stages.0.channel_kernel", 1, "stages.0.channel_kernel must be odd and >= 3, but got 1"),
        ("stages.1.width", [24], "stages.1.width must be multiples of 16 for mixer 'attention', but got 24"),
        ("stem.stride", [3], "stem.stride must be 1, 2 or 4, but got 3"),
        ("input", {"resolution": 8}, "input.classes must be given"),
        ("input.classes", 1, "input.classes must be > 1, but got 1"),
        ("input.clases", 3, r"input.clases is not a known key; did you mean 'classes'\?"),
        ("input.outputs", 3, "input.outputs is not a known key"),
        ("input.task", "clasification", "input: task must be one of classification, .* did you mean 'classification'"),
        ("input.task", None, "input.task must be text, but got nothing"),
        ("per_block", ["width"], "per_block.0: must be one of mixer, .* but got 'width'"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, path: str, value: Any, message: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(space_with(path, value)))
    with pytest.raises(SweepError, match=message) as caught:
        SearchSpace.from_yaml(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_single_values_may_stand_without_brackets() -> None:
    assert SearchSpace.model_validate(space_with("stages.0.expansion", 2)).stages[0].expansion == (2,)


def test_a_task_names_its_outputs_in_files() -> None:
    """Keys and files of the default task hold neither the task nor another word than `classes`."""
    shape = {"channels": 1, "resolution": 8, "numbers": 5, "task": "user_task:Regression"}
    space = SearchSpace.model_validate({**TINY, "input": shape})
    assert space.images == Input(1, 8, 5, "user_task:Regression")
    arch = space.smallest
    assert arch.to_dict()["input"] == shape
    assert Architecture.from_dict(arch.to_dict()) == arch
    fixed = SearchSpace.model_validate({"architecture": arch.to_dict()})
    for again in (space, fixed):
        assert SearchSpace.model_validate_json(again.model_dump_json()) == again
    assert SearchSpace.model_validate(TINY).smallest.to_dict()["input"] == TINY["input"]


def test_outputs_are_counted_in_words() -> None:
    assert [task_outputs("regression").outputs_words(count) for count in (1, 2)] == ["1 target", "2 targets"]
    assert [task_outputs("classification").outputs_words(count) for count in (1, 2)] == ["1 class", "2 classes"]
