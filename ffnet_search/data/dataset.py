"""A data set before it is split: images with targets, read by index, and a digest of their content.

Shape keys: N images of the set, B of a batch, C channels, H and W pixels. No torch here: checks take no time.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ffnet_search.config.schema import DataSection
from ffnet_search.data.unreadable import Unreadable
from ffnet_search.errors import SweepError
from ffnet_search.formatting import plural
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets, task_of

if TYPE_CHECKING:
    from ffnet_search.data.files import Files

TEST_SHARE = 0.2  # held out, once and for every seed, of a data set without a test split
VALIDATION_STREAM = 0  # of the random streams of a sweep's seed, see `modules.image_data`
Indices = NDArray[np.int64]
Strata = NDArray[np.int64]  # a small number per image, of which splits keep the proportions; see Task.strata
Pixels = NDArray[np.uint8]


class Images(Protocol):
    """N images of one size with their targets, without any random change unless a `key` for draws is given."""

    targets_N: Targets  # (N, ...), in memory

    def read(self, indices: Indices) -> Pixels:
        """Return those images: uint8 (B, H, W, C)."""

    def stream(self, batches: Sequence[Indices], key: Sequence[int] | None = None) -> Iterator[Pixels]:
        """Yield `read` of each batch; `key` seeds the random crops of images that are cropped while they are read."""
        return (self.read(indices) for indices in batches)


class InMemory(Images):
    """Images held as bytes, pixel by pixel: (N, H, W, C), which is the channels_last layout."""

    def __init__(self, pixels_NHWC: Pixels, targets_N: Targets) -> None:
        self.targets_N = targets_N
        self._shape = pixels_NHWC.shape[1:]
        self._rows = np.ascontiguousarray(pixels_NHWC).reshape(
            len(pixels_NHWC), math.prod(self._shape)
        )  # gathered by rows

    def read(self, indices: Indices) -> Pixels:
        return self._rows[indices].reshape(-1, *self._shape)

    def digest(self) -> str:
        """The sha256 of shape, pixels and targets."""
        sha = hashlib.sha256(repr((len(self._rows), *self._shape)).encode())
        sha.update(self._rows.data)
        little_endian = {"f": "<f8", "u": "u1"}.get(self.targets_N.dtype.kind, "<i8")
        sha.update(np.ascontiguousarray(self.targets_N, dtype=little_endian).data)
        return sha.hexdigest()


@dataclass(frozen=True)
class Source:
    """The content of a data set. Calibration is drawn from `train` later, and so is validation where the data have no
    `validation` of their own; `test` is left alone.

    `outputs` names the outputs of a network, in their order. `names`: of the images of `train`, where they have names:
    the splits then depend on them alone."""

    train: Images
    test: Images
    outputs: tuple[str, ...]
    digest: str
    validation: Images | None = None
    names: tuple[str, ...] | None = None


class OnDemand(NamedTuple):
    """Images that are opened when they are read: their number, and each of some indices, or why it cannot be read."""

    number: int
    read: Callable[[Sequence[int]], Iterable[object]]


class DataSet(ABC):
    """A data set by a registered name: a file beside this one and a row in `registry.DATASETS`."""

    tasks: ClassVar[tuple[str, ...]]  # whose targets it has
    options: ClassVar[tuple[str, ...]] = ()  # of the section `data`, that not every data set understands
    known_images: ClassVar[int | None] = None  # without those of test, where every copy has as many
    module: ClassVar[str] = "ffnet_search.data.modules.image_data:ImageData"  # made of what `read` returns

    @abstractmethod
    def read(self, section: DataSection, input: Input) -> Any:
        """Read data that `check` accepts: a `Source`, for `ImageData`. Raises SweepError if they are broken."""

    @abstractmethod
    def check(self, section: DataSection, input: Input) -> None:
        """Raise SweepError if the data are missing or do not fit `input`, in a second and without loading images."""

    def output_names(self, section: DataSection, input: Input) -> tuple[str, ...]:
        """`Source.outputs` of data that `check` accepts, without loading images; empty if only `read` knows them."""
        return ()

    def late(self, section: DataSection, input: Input) -> list[Unreadable]:
        """The images that neither `read` nor a look at each image file shows to be wrong, but training does."""
        return []

    def on_demand(self, section: DataSection, input: Input) -> OnDemand | None:
        """The images that are opened in training alone, since memory does not hold them. Raises SweepError."""
        return None

    def parts(self, section: DataSection, input: Input) -> dict[str, Files]:
        """The image files of each split that has its own; empty if the images are no files."""
        return {}

    def contents(self, section: DataSection, input: Input) -> dict[str, dict[str, str]]:
        """The files as inputs of a run: split -> class -> their number, and a digest of names and sizes. Empty if the
        data set's name fixes its content. Raises SweepError if the data are missing."""
        return {}

    def remarks(self, section: DataSection, input: Input) -> list[str]:
        """Sentences for the user on what is left out, and which folder is which split. Raises SweepError."""
        return []


def stratified_order(strata_N: Strata, rng: np.random.Generator) -> Indices:
    """All indices, in a random order of which every prefix holds every stratum in proportion (to within one image)."""
    shuffled = rng.permutation(len(strata_N))
    by_stratum = shuffled[np.argsort(strata_N[shuffled], kind="stable")]
    sizes = np.bincount(strata_N)
    rank = np.arange(len(strata_N)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + 0.5) / np.repeat(sizes, sizes)  # of an image within its stratum, in (0, 1)
    order: Indices = by_stratum[np.lexsort((rng.random(len(strata_N)), place))]
    return order


def split(strata_N: Strata, share: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of (the rest, a held-out share): disjoint, ascending, and both stratified."""
    order = stratified_order(strata_N, rng)
    count = round(share * len(order))
    return np.sort(order[count:]), np.sort(order[:count])


@dataclass(frozen=True)
class Fold:
    """One of `count` folds of the images of training and search validation, the first is number 0."""

    number: int
    count: int

    def of(self, strata_N: Strata, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Indices of (the rest, this fold), ascending. Folds differ by at most an image, and so do their strata.

        Raises SweepError for less than an image a fold."""
        refuse_many_folds(self.count, len(strata_N))
        shuffled = rng.permutation(len(strata_N))
        dealt = shuffled[np.argsort(strata_N[shuffled], kind="stable")]  # round-robin: every `count`-th image
        held_N = np.zeros(len(strata_N), bool)
        held_N[dealt[self.number :: self.count]] = True
        return np.nonzero(~held_N)[0], np.nonzero(held_N)[0]


def split_digest(content: str, *splits: Indices) -> str:
    """The sha256 of the content of a data set, as text, and of the indices of its splits."""
    sha = hashlib.sha256(content.encode())
    for indices in splits:
        sha.update(hashlib.sha256(indices.astype("<i8").tobytes()).digest())
    return sha.hexdigest()


def refuse_many_folds(count: int, images: int) -> None:
    """Raise SweepError for less than an image a fold."""
    if images < count:
        known = plural(images, "image")
        raise SweepError(f"export.folds must be <= the {known} of training and validation, but is {count}")


def refuse_given_validation(validation: object) -> None:
    """Raise SweepError if the data have a validation split of their own, which folds would mix with training."""
    if validation is not None:
        raise SweepError(
            "export.folds must be left out where the data have validation images of their own, which folds would mix "
            "with those of training; remove it, or give these images to training"
        )


def split_by_name(names: Sequence[str], strata_N: Strata, share: float, key: str) -> tuple[Indices, Indices]:
    """Indices of (the rest, a held-out share), each image by its own name and `key` alone: added images move no others.

    The share holds on average. A stratum that should hold out an image and holds out none gives the one that is
    nearest; a stratum that holds out all keeps one. All images together give half of the share at least, and two where
    the share is two: of few images chance may hold out one, by which nobody can judge."""
    places = [hashlib.blake2b(f"{key}\0{name}".encode(errors="surrogateescape"), digest_size=8) for name in names]
    place_N = np.array([int.from_bytes(place.digest(), "big") / 2**64 for place in places])
    held_N = place_N < share
    for stratum in np.unique(strata_N):
        (members,) = np.nonzero(strata_N == stratum)
        wanted = round(share * len(members))
        if wanted and not held_N[members].any():
            held_N[members[place_N[members].argmin()]] = True
        elif held_N[members].all():
            held_N[members[place_N[members].argmax()]] = False
    wanted = round(share * len(place_N))
    for index in place_N.argsort(kind="stable"):
        if held_N.sum() >= max(min(wanted, 2), wanted // 2):
            break
        held_N[index] |= np.count_nonzero(~held_N[strata_N == strata_N[index]]) > 1
    if wanted and not held_N.any():  # each image is the only one of its stratum
        held_N[place_N.argmin()] = True
    return np.nonzero(~held_N)[0], np.nonzero(held_N)[0]


def hold_out(names: Sequence[str] | None, strata_N: Strata, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of (training, search validation), of the images that are not for testing: by name where they have names,
    so that added images move no others."""
    if names is None:
        return split(strata_N, share, np.random.default_rng([seed, VALIDATION_STREAM]))
    return split_by_name(names, strata_N, share, f"validation {seed}")


def split_test(strata_N: Strata) -> tuple[Indices, Indices]:
    """Indices of (train, test) for a data set without a test split: the same for every seed of a sweep."""
    return split(strata_N, TEST_SHARE, np.random.default_rng(0))


def must_match(section: DataSection, input: Input, **fixed: int) -> None:
    """Raise SweepError if `fixed` figures of the data (channels, resolution, outputs) differ from `input`."""
    for name, value in fixed.items():
        wanted = getattr(input, name)
        field = task_of(input).outputs_word if name == "outputs" else name
        if wanted != value:
            raise SweepError(
                f"data.name: {section.name!r} has {field} {value}, but the search space has input.{field} {wanted}; "
                f"set input.{field}: {value} in the search space's file, or choose other data"
            )
