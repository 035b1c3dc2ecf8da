"""A search space, or one architecture, with its costs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.formatting import plural
from ffnet_search.metrics import MACS, PARAMS
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import BLOCK_AXES
from ffnet_search.space.hyperparameters import Hyperparameter
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import spelled
from ffnet_search.tasks.base import task_of

SAMPLES = 300  # architectures of a space, for its median


def print_space(space: SearchSpace) -> None:
    """The choices of a search space, the number of its architectures and their costs, and its hyper-parameters."""
    if space.hyperparameters:
        rows = [[name, _range(one), _when(one)] for name, one in space.hyperparameters.items()]
        print_plain(make_table(["hyper-parameter", "values", "only where"], rows))
    if space.architecture:
        print_architecture(space.architecture, f"the architecture of {space.name}")
    if not space.is_elastic:
        return
    shape = space.images
    name = "" if space.name == SearchSpace.model_fields["name"].default else f" {space.name}"
    print_plain(
        f"search space{name}: {plural(space.size, 'architecture')} for {shape.channels} x "
        f"{spelled(shape.resolution)} images of {task_of(shape).outputs_words(shape.outputs)}"
    )
    print_plain(f"stem width {_choices(space.stem.width)}, stride {_choices(space.stem.stride)}")
    if space.head_axes:
        print_plain("head " + ", ".join(f"{name} {_choices(choices)}" for name, choices in space.head_axes.items()))
    rows = [
        [str(number), _choices(stage.depth), _choices(stage.width), *(_choices(stage.choices(a)) for a in BLOCK_AXES)]
        for number, stage in enumerate(space.stages, 1)
    ]
    titles = [f"{axis.replace('_', ' ')}{' (each block)' if axis in space.per_block else ''}" for axis in BLOCK_AXES]
    print_plain(make_table(["stage", "depth", "width", *titles], rows))
    rng = random.Random(0)
    drawn = sorted((space.sample(rng) for _ in range(SAMPLES)), key=lambda arch: arch.macs_m)
    named = {"smallest": space.smallest, "median": drawn[SAMPLES // 2], "largest": space.largest, **space.presets}
    costs = [[name, *_costs(arch.macs_m, arch.params_m), str(arch)] for name, arch in named.items()]
    titles = ["architecture", MACS.label, PARAMS.label, "stem width/stride | stage width: blocks"]
    print_plain(make_table(titles, costs))


def print_architecture(arch: Architecture, name: str) -> None:
    """One network, and the cost of each of its parts."""
    print_plain(f"{name}: {arch.key}  {arch}")
    print_plain(f"{arch.macs_m:.5g} M MACs, {arch.params_m:.4g} M parameters in the deployed form, for one image")
    rows = [
        [part.key, str(count), *_costs(count * part.costs.macs / 1e6, count * part.costs.params / 1e6)]
        for part, count in Counter(arch.parts).items()
    ]
    print_plain(make_table(["part", "times", MACS.label, PARAMS.label], rows, right=3))


def _costs(macs_m: float, params_m: float) -> list[str]:
    return [MACS.format(macs_m, unit=False), PARAMS.format(params_m, unit=False)]


def _range(one: Hyperparameter) -> str:
    if one.choices is not None:
        return _choices(one.choices)
    low, high = one.range
    scale = ", log" if one.log else "" if one.step is None else f", in steps of {one.step:g}"
    return f"{low:g} to {high:g}{scale}"


def _when(one: Hyperparameter) -> str:
    return ", ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in one.when.items())


def _choices(values: Sequence[object]) -> str:
    return " ".join(map(str, values))
