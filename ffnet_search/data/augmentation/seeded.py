"""Seeded random numbers for user-supplied code in a block: those of torch (on the CPU), NumPy and Python."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the three generators for the body, and put them back. The GPUs' generators, which training draws from, are
    left alone."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (what it seeds is other people's)
    try:
        with torch.random.fork_rng(devices=[]):
            seed_all(key)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def seed_all(key: Sequence[int]) -> int:
    """Seed the three generators, inside `seeded`, and return the seed."""
    seed = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    return seed
