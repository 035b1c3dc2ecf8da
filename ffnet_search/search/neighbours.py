"""What is one choice away from what is known: where to look when a sampler finds nothing new that keeps the limits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ffnet_search.search.storage.study import configuration_of, distributions
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.search_space import SearchSpace


def nearby(
    space: SearchSpace, starts: Sequence[Mapping[str, Any]], rng: random.Random, most: int
) -> Iterator[Configuration]:
    """The starts, given by their parameters, each followed by its neighbours; at random, at most so many of these."""
    axes, left = distributions(space), most
    for params in rng.sample(starts, len(starts)):
        start = configuration_of(space, params)
        yield start
        moves = [(name, value) for name in axes for value in axes[name].choices if value != params[name]]
        for name in start.hyperparameters:
            one = space.hyperparameters[name]
            moves += [(name, value) for value in one.choices or (one.draw(rng),) if value != params[name]]
        for name, value in rng.sample(moves, len(moves)):
            moved = {**params, name: value}
            for other, one in space.hyperparameters.items():  # what has an effect only now
                moved.setdefault(other, one.draw(rng))
            yield configuration_of(space, moved)
            left -= 1
            if not left:
                return
