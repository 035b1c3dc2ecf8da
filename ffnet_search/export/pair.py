"""A paired comparison of two exported networks on the same images: is the difference significant?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.errors import SweepError
from ffnet_search.export.exported import CARD, ExportedNetwork, read_network
from ffnet_search.formatting import first_few
from ffnet_search.metrics import JUDGED, Metric
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import LEVEL


@dataclass(frozen=True)
class PairedTest:
    """Two networks on the same images of a split. `difference`: of the qualities, positive where the first is better;
    `error`: its standard error; `p`: the probability of such a difference between equally good networks."""

    split: str
    images: int
    qualities: tuple[float, float]
    errors: tuple[float, float]
    difference: float
    error: float
    p: float

    @property
    def is_significant(self) -> bool:
        """True if a paired test tells them apart, at 5 %."""
        return self.p < LEVEL


@dataclass(frozen=True)
class Pair:
    """Two exported networks, and what paired tests say of them on each split that both were judged on."""

    networks: tuple[ExportedNetwork, ExportedNetwork]
    quality: Metric
    tests: Sequence[PairedTest]

    @property
    def names(self) -> tuple[str, str]:
        """The folders' names, or their paths where these are alike."""
        first, second = (one.folder for one in self.networks)
        return (first.name, second.name) if first.name != second.name else (str(first), str(second))

    @property
    def verdict(self) -> str:
        """The answer, by test images, which chose neither."""
        return self.verdict_of(self.names)

    def verdict_of(self, names: tuple[str, str]) -> str:
        """The answer with these names of the two."""
        test = self.tests[-1]
        name = names[test.difference < 0]
        where = f"{JUDGED[test.split]}, {test.images:,} images"
        if test.is_significant:
            return f"{name} is better by {self.quality.phrase} {where} (p = {test.p:.2g})"
        return f"not told apart by {self.quality.phrase} {where} (p = {test.p:.2g}): the difference may be luck"


def are_networks(*folders: Path) -> bool:
    """True for folders of exported networks. Raises SweepError if one is such a folder, and another is not."""
    found = [os.path.exists(folder / CARD) for folder in folders]
    if not any(found) or all(found):
        return all(found)
    network, other = folders[found.index(True)], folders[found.index(False)]
    beside = sorted(card.parent.name for card in network.parent.glob(f"*/{CARD}"))
    there = [name for name in beside if name != network.resolve().name]
    raise SweepError(
        f"{other}: must be the folder of an exported network, as {network} is, but is none; {network.parent} holds "
        f"{f'beside it {first_few(there)}' if there else 'no other'}"
    )


def pair(first: Path, second: Path) -> Pair:
    """Compare two exported networks. Raises SweepError if they were not judged on the same images."""
    networks = read_network(first), read_network(second)
    if os.path.realpath(first) == os.path.realpath(second):
        raise SweepError(f"{second}: must be another network than {first}, but is the same; name two networks")
    task, other = (task_of(one.network.input) for one in networks)
    prints = [one.read_card().get("data", {}).get("fingerprint") for one in networks]
    if task.name != other.name or prints[0] != prints[1]:
        raise SweepError(
            f"{second}: must be judged on the images that {first} was, but is of other data or another seed; name two "
            "networks of one data set and seed"
        )
    tests = []
    for split in ("search", *(name for name in JUDGED if name not in ("search", "test")), "test"):
        one, two = (network.scores(split) for network in networks)
        if one is None or two is None or one.values_NS.shape != two.values_NS.shape:
            continue
        qualities = one.quality, two.quality
        difference = -task.quality.sign * (one.quality - two.quality)
        error, p = one.error_of_difference(two), one.p_value(two)
        tests.append(PairedTest(split, one.images, qualities, (one.error, two.error), difference, error, p))
    if not tests:
        raise SweepError(f"{first}: holds no scores of images, by which networks are compared; export it again")
    return Pair(networks, task.quality, tests)
