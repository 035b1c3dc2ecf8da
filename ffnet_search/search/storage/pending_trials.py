"""The trials in evaluation, on disk, so that an interrupted search begins with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ffnet_search.atomic_write import set_aside, write_json
from ffnet_search.errors import one_line
from ffnet_search.files.bounded import read_json
from ffnet_search.progress import say

STARTS = 3  # of one trial: what ended the process so often is the cause, by its memory for example
PREEMPTIONS = 20  # of one trial, without one more epoch in between: it may be the cause, and gives way to another


class PendingTrial(NamedTuple):
    """A trial without a result: who proposed it, its parameters, the number of times that it was started, and that it
    was preempted since it last got further; `epoch`: the last one that it reported."""

    origin: str
    params: dict[str, Any]
    starts: int = 0
    preempted: int = 0
    epoch: int = 0

    @property
    def fault(self) -> str:
        """Why it is given up; empty where it is not."""
        if self.starts >= STARTS:
            return f"it ended the whole process {self.starts} times (by its memory, a signal or native code)"
        return ""


class PendingTrials:
    """The trials in evaluation by key, in the file `path`, so that an interrupted search begins with them the next
    time. With None nothing is kept; a damaged file is set aside, since it holds no results.

    `counts`: they are evaluated in this process, so each start without an end counts against a trial. `left` are the
    trials to begin with, `later` those to begin after another trial, since they were preempted so often, `given_up`
    those that were started too often. `is_valid`: whether parameters are of the space. `reached`: the last epoch that a
    trial has reported in this search."""

    def __init__(
        self,
        path: Path | None = None,
        is_valid: Callable[[Mapping[str, Any]], bool] = lambda params: True,
        *,
        counts: bool = True,
    ) -> None:
        self._path, self._counts = path, counts
        self._trials = {} if path is None else _read_pending(path, is_valid)
        self._begun: set[str] = set()  # by this search
        self.reached: Callable[[str], int] = lambda key: 0
        again = [trial for trial in self._trials.values() if not trial.fault]
        self.left = [trial for trial in again if trial.preempted < PREEMPTIONS]
        self.later = [trial for trial in again if trial.preempted >= PREEMPTIONS]
        self.given_up = {key: trial for key, trial in self._trials.items() if trial.fault}

    def begin(self, key: str, origin: str, params: Mapping[str, Any]) -> None:
        """Note that a trial is started."""
        before = self._trials.pop(key, PendingTrial(origin, {}))
        self._trials[key] = before._replace(origin=origin, params=dict(params), starts=before.starts + self._counts)
        self._begun.add(key)
        self._write()

    def end(self, key: str) -> None:
        """Note that a trial has ended."""
        self._trials.pop(key, None)
        self._write()

    def put_back(self, *, preempted: bool = False, by_itself: bool = False) -> None:
        """Keep the pending trials for the next search, at the end of this one in good order, by a signal too: the
        starts of those that are left are not counted, unless a trial ended the search `by_itself`. Each that was
        `preempted` before it got further counts apart."""
        for key in self._begun & self._trials.keys():
            trial = self._trials[key]
            reached = self.reached(key)
            times = 0 if reached > trial.epoch else trial.preempted + (preempted and self._counts)
            starts, epoch = trial.starts - (self._counts and not by_itself), max(reached, trial.epoch)
            self._trials[key] = trial._replace(starts=starts, preempted=times, epoch=epoch)
        self._begun = set()
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            if self._trials:
                trials = {key: trial._asdict() for key, trial in self._trials.items()}
                write_json(self._path, trials, durable=False)  # without it, what was interrupted begins again
            else:
                self._path.unlink(missing_ok=True)


def _read_pending(path: Path, is_valid: Callable[[Mapping[str, Any]], bool]) -> dict[str, PendingTrial]:
    try:
        content = read_json(path)
        trials = {str(key): PendingTrial(**fields) for key, fields in content.items()}
        for key, one in trials.items():
            counts = (one.starts, one.preempted, one.epoch)
            if not isinstance(one.params, dict) or not all(isinstance(count, int) and count >= 0 for count in counts):
                raise ValueError(f"{key} has no parameters or counts")
            if not is_valid(one.params):
                raise ValueError(f"{key} is no trial of this search")
        return trials
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = one_line(error)[:100]
        say(
            f"search: {path} is damaged ({reason}) and set aside as {set_aside(path).name}; interrupted trials begin "
            "again when they are proposed again"
        )
        return {}
