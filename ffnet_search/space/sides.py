"""The sides of images and maps in pixels: one number for a square, or (height, width)."""

from __future__ import annotations

Side = int | tuple[int, int]


def height_and_width(side: Side) -> tuple[int, int]:
    """Both sides."""
    return side if isinstance(side, tuple) else (side, side)


def square(side: Side) -> int:
    """The side of a square. Raises ValueError for another rectangle."""
    if isinstance(side, tuple):
        raise ValueError(f"must be square, but is {spelled(side)}")
    return side


def pixels(side: Side) -> int:
    """The number of pixels."""
    height, width = height_and_width(side)
    return height * width


def shrunk(side: Side, stride: int) -> Side:
    """The sides of the map that a convolution of this stride gives: divided, and rounded up."""
    return -(-side // stride) if isinstance(side, int) else (-(-side[0] // stride), -(-side[1] // stride))


def growth(side: Side, larger: Side) -> int:
    """The factor, rounded up, by which the sides of a map grow to larger ones: of a rectangle the greater of both."""
    pairs = zip(height_and_width(side), height_and_width(larger), strict=True)
    return max(-(-after // before) for before, after in pairs)


def grown(side: Side, factor: int) -> Side:
    """The sides, enlarged."""
    return side * factor if isinstance(side, int) else (side[0] * factor, side[1] * factor)


def spelled(side: Side, between: str = " x ") -> str:
    """Both sides as text: `180 x 320`."""
    return between.join(map(str, height_and_width(side)))
