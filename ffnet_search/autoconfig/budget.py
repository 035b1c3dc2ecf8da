"""The epochs, trials and search space of a first sweep, chosen so that a run takes about the minutes that are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ffnet_search.autoconfig.draft import Draft
from ffnet_search.autoconfig.image_set import ImageSet
from ffnet_search.config.retraining import LONGER
from ffnet_search.data.dataset import TEST_SHARE
from ffnet_search.errors import SweepError
from ffnet_search.formatting import figure
from ffnet_search.run.cost_comparison import MINUTES, CostComparison, Pace

STEPS = 2000  # of training, for a supernet on few images
EPOCHS = (30, 100)  # at least and at most, for that many steps
MIN_EPOCHS = 12  # where time is short
MIN_BATCHES, MIN_BATCH_SIZE = 6, 8  # of the images, a fifth of which validates
TRIALS = (60, 200)
SEARCH_SHARE = 0.35  # of the time, at most
PROPOSAL_S = 0.03  # of the sampler and of writing, beside an evaluation: benchmarks/search_throughput.py
MIN_EPOCH_SHARE = 0.6  # of the wanted epochs: below it, a cheaper draft is better
MEASUREMENTS = 3  # of drafts, at most
REPEATED = 1.15  # a latency table measures up to a quarter of its jobs twice
PASSES_ALONE = 10  # in which an exported network is measured: 5 to 15, until they agree
EXPORTED = 6
SEED = 0  # of the sweep, by which images are split
BUILT = EXPORTED + 5  # with the yardstick: FFNets by hand, and the ends of the space
PATCHES_OF_A_BATCH = 16
SHARES = (0.2, 0.25, 0.3, 0.35, 0.4)  # of the images, for validation: the first that holds out enough
MIN_HELD_OUT = 4  # images of validation, where there are few
MANY_IMAGES = 10_000  # from here on larger batches, and a smaller share for validation


@dataclass(frozen=True)
class Throughput:
    """The cost of one draft on this machine."""

    draft: Draft
    decode_s: float  # decoding a file
    step_s: float  # a training step of the supernet, for one image
    alone_s: float  # a step of the draft's median network alone, for one image
    deploy_s: float  # bringing one architecture into the form that is evaluated
    image_s: float  # evaluating it, for one image
    table_s: float  # measuring a latency table
    pass_s: float  # one network of it in one pass
    smallest_ms: float
    largest_ms: float


@dataclass(frozen=True)
class Budget:
    """The numbers of a sweep, and their cost."""

    throughput: Throughput
    batch_size: int
    validation: float
    images: int  # of training, without validation
    held_out: int  # images of validation
    calibration: int
    epochs: int
    trials: int
    imports_s: float  # until the program can start

    @property
    def items(self) -> int:
        """The number of training items in an epoch: images, or patches of them."""
        return self.images * self.throughput.draft.images.items

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch, after which the largest and the smallest network are validated."""
        return self.items * self.throughput.step_s + 2 * self.held_out * self.throughput.image_s

    @property
    def retrain_epochs(self) -> int:
        """The epochs of an exported network as large as the largest; the smallest have as many as the supernet."""
        return self.epochs // LONGER

    @property
    def retraining_s(self) -> float:
        """Seconds of retraining, all networks of median MACs."""
        return BUILT * self.retrain_epochs * self.throughput.draft.retrain_factor * self.alone_epoch_s

    @property
    def by_hand_s(self) -> float:
        """Seconds of training the yardstick where there is no supernet: as trials that nothing stops."""
        return (BUILT - EXPORTED) * self.epochs * self.alone_epoch_s

    @property
    def alone_epoch_s(self) -> float:
        """Seconds of an epoch of one network, after which it is recalibrated and validated."""
        return self.items * self.throughput.alone_s + (self.calibration + self.held_out) * self.throughput.image_s

    @property
    def comparison(self) -> CostComparison:
        """The minutes of this front by the supernet, and by training each network with early stopping: those that
        `check` tells of the written sweep. The yardstick is trained in both ways."""
        return self.pace.compared(self.trials, self.epochs, MINUTES)

    @property
    def pace(self) -> Pace:
        """Minutes with three digits, as the sweep has them."""
        retraining_s = self.retraining_s * min(EXPORTED, self.throughput.draft.space.size) / BUILT
        seconds = (self.epoch_s, self.alone_epoch_s, self.trial_s, retraining_s)
        return Pace(*(float(f"{one / 60:.3g}") for one in seconds))

    @property
    def uses_supernet(self) -> bool:
        return not self.epochs or self.comparison.supernet_is_cheaper

    @property
    def _decode_s(self) -> float:
        images = self.throughput.draft.images
        return self.throughput.decode_s * (images.total + (images.tests or 0) + (images.validations or 0))

    @property
    def wanted_epochs(self) -> int:
        return _clip(STEPS * self.batch_size / self.items, *EPOCHS)

    @property
    def is_enough(self) -> bool:
        return self.epochs >= MIN_EPOCH_SHARE * self.wanted_epochs

    @property
    def trial_s(self) -> float:
        """Seconds of proposing, calibrating and evaluating one architecture."""
        cost = self.throughput
        return cost.deploy_s + (self.calibration + self.held_out) * cost.image_s + PROPOSAL_S

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage."""
        cost, images = self.throughput, self.throughput.draft.images
        tests = images.tests if images.tests is not None else TEST_SHARE * images.total
        profile = self.imports_s + REPEATED * cost.table_s
        export = self._decode_s + BUILT * (self.trial_s + tests * cost.image_s + PASSES_ALONE * cost.pass_s)
        if not self.uses_supernet:
            search = self._decode_s + 60 * self.comparison.separate
            return {"profile": profile, "search": search, "export": export + self.by_hand_s}
        return {
            "profile": profile,
            "train": self._decode_s + self.epochs * self.epoch_s,
            "search": self._decode_s + self.trials * self.trial_s,
            "export": export + self.retraining_s,
        }

    @property
    def stage_minutes(self) -> dict[str, float]:
        """The minutes of each stage."""
        return {stage: seconds / 60 for stage, seconds in self.seconds.items()}

    @property
    def minutes(self) -> float:
        return sum(self.seconds.values()) / 60


def choose_budget(
    drafts: Sequence[Draft],
    measure: Callable[[Draft, int, float | None], Throughput],
    *,
    minutes: float,
    imports_s: float,
    latency_ms: float | None,
) -> Budget:
    """The largest draft that can be trained well in `minutes` and has networks within `latency_ms`; else the cheapest.

    `drafts` from the largest to the cheapest; few of them are measured. Raises SweepError if even the cheapest has
    no network that is fast enough."""
    cheapest = measure(drafts[-1], _batch_size(drafts[0].images), None)
    if latency_ms is not None and cheapest.smallest_ms > latency_ms:
        raise SweepError(
            f"--latency-ms must be >= {figure(cheapest.smallest_ms)} (the fastest network of the smallest search space "
            f"for these images on this machine), but got {latency_ms:g}"
        )
    measured = 1
    for draft in drafts[:-1]:
        guess = _guess(draft, cheapest)
        if measured == MEASUREMENTS or not _fill(guess, minutes, imports_s).is_enough:
            continue
        measured += 1
        budget = _fill(measure(draft, _batch_size(draft.images), guess.step_s), minutes, imports_s)
        if budget.is_enough and (latency_ms is None or budget.throughput.smallest_ms <= latency_ms):
            return budget
    return _fill(cheapest, minutes, imports_s)


def _guess(draft: Draft, known: Throughput) -> Throughput:
    """The cost of a draft by its MACs, from that of another one."""
    step = draft.step_macs / known.draft.step_macs
    alone = draft.median.macs_m / known.draft.median.macs_m
    return replace(
        known, draft=draft, step_s=known.step_s * step, alone_s=known.alone_s * alone, image_s=known.image_s * step
    )


def _fill(throughput: Throughput, minutes: float, imports_s: float) -> Budget:
    """The budget with as many trials and epochs as `minutes` hold, within sensible bounds."""
    image_set = throughput.draft.images
    validation = _validation(image_set)
    images, held_out = image_set.sizes(validation, SEED)
    calibration = max(2, min(512, images)) if image_set.items == 1 else 2  # networks on patches have no batch norm
    empty = Budget(
        throughput,
        _batch_size(image_set),
        validation,
        images,
        held_out,
        calibration,
        epochs=0,
        trials=0,
        imports_s=imports_s,
    )
    left_s = 60 * minutes - sum(empty.seconds.values())
    trials = min(_clip(SEARCH_SHARE * left_s / empty.trial_s, *TRIALS), throughput.draft.space.size)
    retraining_s = BUILT * throughput.draft.retrain_factor * empty.alone_epoch_s / LONGER
    epoch_s = empty.epoch_s + retraining_s
    epochs = _clip((left_s - trials * empty.trial_s) / epoch_s, MIN_EPOCHS, empty.wanted_epochs)
    return replace(empty, trials=trials, epochs=epochs)


def _validation(images: ImageSet) -> float:
    """The share for validation: larger where a fifth of few images is less than `MIN_HELD_OUT`."""
    if images.total >= MANY_IMAGES:
        return 0.1
    if images.validations is not None:
        return SHARES[0]
    return next((share for share in SHARES if images.sizes(share, SEED)[1] >= MIN_HELD_OUT), SHARES[-1])


def _batch_size(images: ImageSet) -> int:
    """The images of a batch: fewer where an epoch would have few batches, as docs/log/supernet.md has measured."""
    if images.items > 1:
        return PATCHES_OF_A_BATCH
    size = 64 if images.total < MANY_IMAGES else 128
    while size > MIN_BATCH_SIZE and images.total < MIN_BATCHES * size:
        size //= 2
    return size


def _clip(value: float, least: int, most: int) -> int:
    return max(least, min(most, int(value)))
