"""A data set before it is split: labelled images that are read by index as bytes, and a digest of their content.

Shape keys: N images of the set, B of a batch, C channels, H and W pixels. No torch up to here: checks take no time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ffnet_search.config.schema import DataSection
from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Input

TEST_SHARE = 0.2  # held out, once and for every seed, where a data set comes without a test split
Indices = NDArray[np.int64]
Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Labelled images, all of one size: N of them, without any random change unless a `key` for draws is given."""

    labels_N: Labels

    def read(self, indices: Indices) -> Pixels:
        """uint8 (B, H, W, C)."""
        ...

    def stream(self, batches: Sequence[Indices], key: Sequence[int] | None = None) -> Iterator[Pixels]:
        """`read` of each batch; `key` seeds the random crops of those that crop while they read."""
        ...


class InMemory:
    """Images that are held as bytes, pixel by pixel: (N, H, W, C), which is the channels_last layout."""

    def __init__(self, pixels_NHWC: Pixels, labels_N: Labels) -> None:
        self.labels_N = labels_N
        self._shape = pixels_NHWC.shape[1:]
        self._rows = np.ascontiguousarray(pixels_NHWC).reshape(len(pixels_NHWC), -1)  # gathered by whole rows

    def read(self, indices: Indices) -> Pixels:
        return self._rows[indices].reshape(-1, *self._shape)

    def stream(self, batches: Sequence[Indices], key: Sequence[int] | None = None) -> Iterator[Pixels]:
        return (self.read(indices) for indices in batches)

    def digest(self) -> str:
        """sha256 of shape, pixels and labels."""
        sha = hashlib.sha256(repr((len(self._rows), *self._shape)).encode())
        sha.update(self._rows.data)
        sha.update(self.labels_N.astype("<i8").data)
        return sha.hexdigest()


@dataclass(frozen=True)
class Source:
    """A data set as it was found. Validation and calibration are drawn from `train` later; `test` is left alone."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    digest: str


class DataSet(Protocol):
    """What `DATASETS` holds under a name."""

    def read(self, data: DataSection, input: Input) -> Source:
        """Raises SweepError where the data are missing, broken or do not fit `input`."""
        ...

    def check(self, data: DataSection, input: Input) -> None:
        """The same errors as far as they can be found in a second, without loading images."""
        ...


def stratified_order(labels_N: Labels, rng: np.random.Generator) -> Indices:
    """All indices, in a random order of which every prefix holds every class in proportion (to within one image)."""
    shuffled = rng.permutation(len(labels_N))
    by_class = shuffled[np.argsort(labels_N[shuffled], kind="stable")]
    sizes = np.bincount(labels_N)
    rank = np.arange(len(labels_N)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + 0.5) / np.repeat(sizes, sizes)  # of an image within its class, in (0, 1)
    order: Indices = by_class[np.lexsort((rng.random(len(labels_N)), place))]
    return order


def split(labels_N: Labels, share: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of (the rest, a held-out share), disjoint, ascending and both stratified by class."""
    order = stratified_order(labels_N, rng)
    count = round(share * len(order))
    return np.sort(order[count:]), np.sort(order[:count])


def split_test(labels_N: Labels) -> tuple[Indices, Indices]:
    """Indices of (train, test) for a data set without a test split: always the same ones, whatever the sweep's seed."""
    return split(labels_N, TEST_SHARE, np.random.default_rng(0))


def must_match(data: DataSection, input: Input, *, channels: int, resolution: int, classes: int) -> None:
    """Raises SweepError where fixed data differ from the input of the search space."""
    found = {"channels": channels, "resolution": resolution, "classes": classes}
    for field, value in found.items():
        wanted = input.to_dict()[field]
        if wanted != value:
            raise SweepError(
                f"data.name: {data.name!r} has {field} {value}, but the search space has input.{field} {wanted}; "
                f"set input.{field}: {value} in the search space's file, or choose other data"
            )
