"""The uncertainty of a quality: scores per image, the standard error that they give, and paired tests of two networks.

A task defines the scores of an image (`Task.scores`) and the quality of many images (`Task.quality_from`); everything
else is the same for every task. No torch, so that a table of exported networks is printed at once. Shape keys: N images
of a split, in its order; S scores of an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ffnet_search.tasks.base import Task

Array = NDArray[np.float64]
RESAMPLED = 200  # sets of images of the bootstrap: its standard error is known within 5 %
MIN_IMAGES = 10  # validation images, below which nothing can be ranked
LEVEL = 0.05  # beyond this probability two networks are not told apart
DISCORDANT = 0.2  # of the images, on which two networks of one front disagree, before any is known
COARSE = 3.0  # points of difference, that a validation split should tell apart
LARGEST = 0.4  # share of validation that is proposed: the rest has to train
PROPOSED_FOLDS = 5  # of cross-validation
Z = 1.96  # of a normal distribution: 95 % lie within so many standard errors


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores (N, S) of one network on the images of one split."""

    task: Task
    values_NS: Array

    @classmethod
    def gathered(cls, task: Task, batches: Iterable[NDArray[Any]]) -> Scores:
        """The scores of all batches, each (B, S)."""
        return cls(task, np.concatenate([np.asarray(scores_BS, np.float64) for scores_BS in batches]))

    @property
    def images(self) -> int:
        return len(self.values_NS)

    @property
    def is_binary(self) -> bool:
        """True if an image is right or wrong, and the quality is the share of right ones."""
        return self.is_mean and bool(np.isin(self.values_NS, (0.0, 1.0)).all())

    @property
    def is_mean(self) -> bool:
        """True if the quality is the mean of one score per image."""
        return self.task.is_mean and self.values_NS.shape[1] == 1

    @property
    def quality(self) -> float:
        return self.task.quality_from(self.values_NS)

    @cached_property
    def error(self) -> float:
        """The standard error of the quality: binomial, of a mean, or of a bootstrap over the images.

        That of a share has two right and two wrong images added (Agresti and Coull, 1998), so that it is never 0, and
        so has that of a perfect ranking. Other qualities have none on a single image: infinite."""
        if self.is_binary:
            return binomial_error(float(self.values_NS.mean()), self.images)
        if self.images < 2:
            return math.inf
        if self.is_mean:
            return _error_of_mean(self.values_NS[:, 0])
        spread = float(np.std([self.task.quality_from(self.values_NS[at_N]) for at_N in self._resampled], ddof=1))
        is_perfect = spread < 1e-12 and 0 <= self.quality <= 1
        return binomial_error(self.quality, self.images) if is_perfect else spread

    def p_value(self, other: Scores) -> float:
        """The probability of a difference as large as this one, between equally good networks, on the same images.

        Exact McNemar where images are right or wrong, a paired t-test of a mean, else a paired bootstrap. Raises
        ValueError if the other scores are of other images."""
        if self.values_NS.shape != other.values_NS.shape:
            raise ValueError(f"scores must be of the same images, but are {len(self.values_NS)} and {other.images}")
        if self.is_binary and other.is_binary:
            gained = int((self.values_NS > other.values_NS).sum())
            return mcnemar(gained, int((self.values_NS < other.values_NS).sum()))
        error = self.error_of_difference(other)
        return _two_sided(self.quality - other.quality, error, self.images - 1 if self.is_mean else None)

    def error_of_difference(self, other: Scores) -> float:
        """The standard error of the difference of the two qualities, which share their images; infinite for one."""
        if self.images < 2:
            return math.inf
        if self.is_mean:
            return _error_of_mean((self.values_NS - other.values_NS)[:, 0])
        of, both = self.task.quality_from, (self.values_NS, other.values_NS)
        return float(np.std([of(both[0][at_N]) - of(both[1][at_N]) for at_N in self._resampled], ddof=1))

    @property
    def _resampled(self) -> Iterable[NDArray[np.int64]]:
        """The images of each resampled set, the same for every network."""
        rng = np.random.default_rng(0)
        return (rng.integers(self.images, size=self.images) for _ in range(RESAMPLED))


def binomial_error(share: float, images: int) -> float:
    """The standard error of a share of so many images, two right and two wrong ones added."""
    adjusted = (share * images + 2) / (images + 4)
    return math.sqrt(adjusted * (1 - adjusted) / (images + 4))


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test, from the numbers of images that only one, and only the other,
    network gets right."""
    discordant = gained + lost
    if not discordant:
        return 1.0
    tail, ways = 0, 1
    for count in range(min(gained, lost) + 1):
        tail += ways
        ways = ways * (discordant - count) // (count + 1)
    return min(1.0, tail / 2 ** (discordant - 1))


def letters(networks: Sequence[Scores]) -> list[str]:
    """Letters for each network: two networks that share one do not differ significantly, two that share none do.

    The compact letter display of all pairs (Piepho, 2004), whose tests have a common level of 5 % (Holm, 1979). The
    letters are in the order of the networks."""
    count = len(networks)
    differ = _differing(networks)
    groups = [set(range(count))]
    for a, b in sorted(differ):
        split = [part for group in groups if {a, b} <= group for part in (group - {a}, group - {b})]
        groups = [group for group in groups if not {a, b} <= group]
        for part in split:
            if not any(part <= group for group in groups):
                groups = [group for group in groups if not group <= part] + [part]
    groups.sort(key=sorted)
    return ["".join(_letter(number) for number, group in enumerate(groups) if index in group) for index in range(count)]


def _differing(networks: Sequence[Scores]) -> set[tuple[int, int]]:
    pairs = list(combinations(range(len(networks)), 2))
    tested = sorted((networks[a].p_value(networks[b]), a, b) for a, b in pairs)
    differ = set()
    for rank, (p, a, b) in enumerate(tested):
        if p * (len(pairs) - rank) >= LEVEL:
            break
        differ.add((a, b))
    return differ


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"[{number}]"


def least_difference(images: int, discordant: float = DISCORDANT) -> float:
    """The smallest difference of two accuracies that McNemar's test detects on so many images, approximately;
    `discordant`: the share of the images that only one of the networks gets right."""
    return Z * math.sqrt(discordant / images)


def few_words(images: int) -> str:
    """A sentence on a validation split of few images; empty if there are `MIN_IMAGES` or more."""
    if images >= MIN_IMAGES:
        return ""
    noun = "image tells" if images == 1 else "images tell"
    return f"{images} validation {noun} hardly any networks apart: more images help, or a larger data.validation"


def split_words(images: int, of: int | None, validation: float, folds: int = 0) -> str:
    """The smallest difference of two networks that a validation split can detect, as a sentence. If it is large, also
    advice: a larger `validation` share of `of` images (at most two fifths), and folds of them all, unless the user
    supplied the split. `folds`: those that the sweep has."""
    points = 100 * least_difference(images)
    words = f"{images:,} validation images tell two networks apart that differ by {points:.1f} points or more, about"
    if points <= COARSE and not folds:
        return words
    words = f"{words}: differences below that are luck"
    if of is None:
        return f"{words}, more images alone help"
    all_of = f"{of:,} images, for {100 * least_difference(of):.1f} points"
    if folds:
        return f"{words}; export.folds: {folds} judges the exported networks on {all_of}"
    offers = [f"export.folds: {PROPOSED_FOLDS} judges the exported networks on {all_of}"]
    wanted = min(LARGEST, Z**2 * DISCORDANT / (COARSE / 100) ** 2 / of)
    share = math.ceil(20 * wanted) / 20
    if share > validation + 0.05 / 2:
        count = round(share * of)
        offers.insert(0, f"data.validation: {share:g} has {count:,}, for {100 * least_difference(count):.1f} points")
    return f"{words}; {', or '.join(offers)}"


def _error_of_mean(values_N: Array) -> float:
    return float(values_N.std(ddof=1) / math.sqrt(len(values_N)))


def _two_sided(difference: float, error: float, freedom: int | None) -> float:
    """The probability of a difference of so many standard errors: by Student's distribution, or the normal one; 1 where
    the error is not known."""
    if difference == 0 or math.isinf(error):
        return 1.0
    if error == 0:
        return 0.0
    z = abs(difference) / error
    if freedom is None or not math.isfinite(z):
        return math.erfc(z / math.sqrt(2))
    from scipy.special import stdtr  # slow to import

    return float(2 * stdtr(freedom, -z))
