"""What is one choice away from what is known: where to look when a sampler finds nothing new that keeps the limits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ffnet_search.proposal import Proposal
from ffnet_search.search.study import distributions, proposal_of
from ffnet_search.search_space import SearchSpace


def nearby(
    space: SearchSpace, starts: Sequence[Mapping[str, Any]], rng: random.Random, most: int
) -> Iterator[Proposal]:
    """The starts, given by their parameters, each followed by its neighbours; at random, at most so many of these."""
    axes, left = distributions(space), most
    for params in rng.sample(starts, len(starts)):
        start = proposal_of(space, params)
        yield start
        moves = [(name, value) for name in axes for value in axes[name].choices if value != params[name]]
        for name in start.hyperparameters:
            one = space.hyperparameters[name]
            moves += [(name, value) for value in one.choices or (one.draw(rng),) if value != params[name]]
        for name, value in rng.sample(moves, len(moves)):
            moved = {**params, name: value}
            for other, one in space.hyperparameters.items():  # what has an effect only now
                moved.setdefault(other, one.draw(rng))
            yield proposal_of(space, moved)
            left -= 1
            if not left:
                return
