"""Size limits of what may be built, far beyond the networks of the family: an untrusted file must not exhaust memory.

They are checked before anything is built, of search spaces and of architectures alike."""

from __future__ import annotations

from collections.abc import Sequence

from ffnet_search.errors import shown

SIZE = 1 << 16  # of a width, in channels
PIXELS = 1 << 14  # a side of an image
OUTPUTS = 10**7
KERNEL, EXPANSION = 255, 64
STAGES, BLOCKS = 16, 1000  # of a network
CHOICES = 64  # on an axis
COMBINATIONS = 50_000  # of the choices of a stage, all stages together
ARCHITECTURES = 10**300  # of a space: a float holds more, and no text has so many digits
VALUES, HYPERPARAMETERS, CONDITIONS, STEPS = 256, 100, 5000, 10**9  # of hyper-parameters


def check_whole(most: int = SIZE, **sizes: object) -> None:
    """Raise ValueError if one of the named `sizes` is no whole number, or is beyond `most`."""
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} must be a whole number, but got {shown(value)}")
        if value > most:
            raise ValueError(f"{name} must be at most {most}, but got {shown(value)}")


def check_depths(depths: Sequence[int]) -> None:
    """Raise ValueError if stages of these depths are more than a network may have."""
    if len(depths) > STAGES or sum(depths) > BLOCKS:
        raise ValueError(
            f"a network must have at most {STAGES} stages and {BLOCKS} blocks, but has {len(depths)} and {sum(depths)}"
        )
