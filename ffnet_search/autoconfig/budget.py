"""How much of everything: epochs, trials and the size of the space, so that a run costs about what a person has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ffnet_search.autoconfig.benchmark import Throughput
from ffnet_search.autoconfig.draft import Draft
from ffnet_search.autoconfig.inspect import Found
from ffnet_search.data.dataset import TEST_SHARE
from ffnet_search.errors import SweepError

STEPS = 2000  # of training, that a supernet of few pictures wants
EPOCHS = (30, 100)  # at least and at most, for that many steps
LEAST_EPOCHS = 12  # where time is short
TRIALS = (60, 200)
SEARCH_SHARE = 0.35  # of the time, at most
PROPOSAL_S = 0.03  # of the sampler and of writing, beside an evaluation: benchmarks/search_throughput.py
ENOUGH = 0.6  # of the epochs that are wanted: below it, a cheaper draft is the better one
MEASUREMENTS = 3  # of drafts, at most
AGAIN = 1.15  # a latency table measures up to a quarter again
EXPORTED = 6


@dataclass(frozen=True)
class Budget:
    """The numbers of a sweep, and what they cost. `images`: of training, without validation."""

    draft: Draft
    pace: Throughput
    batch_size: int
    validation: float
    images: int
    calibration: int
    epochs: int
    trials: int
    imports: float  # seconds until the program can start

    @property
    def held_out(self) -> int:
        return round(self.images * self.validation / (1 - self.validation))

    @property
    def epoch_s(self) -> float:
        """Of training; after each the largest and the smallest network are looked at."""
        return self.images * self.pace.step + 2 * self.held_out * self.pace.image

    @property
    def trial_s(self) -> float:
        return self.pace.ready + (self.calibration + self.held_out) * self.pace.image + PROPOSAL_S

    @property
    def seconds(self) -> dict[str, float]:
        """Per stage."""
        pace, found = self.pace, self.draft.found
        tests = found.tests if found.tests is not None else TEST_SHARE * found.pictures
        decode = pace.picture * (found.pictures + (found.tests or 0))
        return {
            "profile": self.imports + AGAIN * pace.jobs * pace.job,
            "train": decode + self.epochs * self.epoch_s,
            "search": decode + self.trials * self.trial_s,
            "export": decode + EXPORTED * (self.trial_s + tests * pace.image + 3 * pace.job),
        }

    @property
    def minutes(self) -> float:
        return sum(self.seconds.values()) / 60


def choose_amounts(
    drafts: Sequence[Draft],
    measure: Callable[[Draft, int, float | None], Throughput],
    *,
    minutes: float,
    imports: float,
    latency_ms: float | None,
) -> Budget:
    """The largest draft that can be trained well in `minutes` and has networks within `latency_ms`; else the cheapest.

    `drafts` from the largest to the cheapest; `measure` is asked few times. Raises SweepError where even the cheapest
    has no network that is fast enough.
    """
    pace = measure(drafts[-1], _batch_size(drafts[0].found), None)
    if latency_ms is not None and pace.smallest_ms > latency_ms:
        raise SweepError(
            f"--latency-ms must be >= {pace.smallest_ms:.2g} (what the fastest network of the smallest search space "
            f"for these pictures takes on this machine), but got {latency_ms:g}"
        )
    asked = 1
    for draft in drafts[:-1]:
        guess = _scaled(pace, draft)
        if asked == MEASUREMENTS or not _is_enough(_fill(guess, minutes, imports)):
            continue
        asked += 1
        filled = _fill(measure(draft, _batch_size(draft.found), guess.step), minutes, imports)
        if _is_enough(filled) and (latency_ms is None or filled.pace.smallest_ms <= latency_ms):
            return filled
    return _fill(pace, minutes, imports)


def _fill(pace: Throughput, minutes: float, imports: float) -> Budget:
    """As many trials and epochs as `minutes` hold, within sensible bounds."""
    found = pace.draft.found
    validation = 0.2 if found.pictures < 10_000 else 0.1
    training = found.pictures if found.tests is not None else (1 - TEST_SHARE) * found.pictures
    images = max(2, round(training * (1 - validation)))
    empty = Budget(
        draft=pace.draft,
        pace=pace,
        batch_size=_batch_size(found),
        validation=validation,
        images=images,
        calibration=max(2, min(512, images)),
        epochs=0,
        trials=0,
        imports=imports,
    )
    left = 60 * minutes - sum(empty.seconds.values())
    trials = _clip(SEARCH_SHARE * left / empty.trial_s, *TRIALS)
    epochs = _clip((left - trials * empty.trial_s) / empty.epoch_s, LEAST_EPOCHS, _wanted_epochs(empty))
    return replace(empty, trials=trials, epochs=epochs)


def _is_enough(amounts: Budget) -> bool:
    return amounts.epochs >= ENOUGH * _wanted_epochs(amounts)


def _wanted_epochs(amounts: Budget) -> int:
    return _clip(STEPS * amounts.batch_size / amounts.images, *EPOCHS)


def _scaled(pace: Throughput, draft: Draft) -> Throughput:
    """What another draft may take: as much more as it computes."""
    factor = draft.step_macs / pace.draft.step_macs
    return replace(pace, draft=draft, step=pace.step * factor, image=pace.image * factor)


def _batch_size(found: Found) -> int:
    return 64 if found.pictures < 10_000 else 128


def _clip(value: float, least: int, most: int) -> int:
    return max(least, min(most, int(value)))
