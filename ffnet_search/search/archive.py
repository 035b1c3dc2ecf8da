"""The state of every configuration of a search, as key and objectives alone: searches are long, and trials are on
disk."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.pareto.front import RunningFront
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_record import TrialRecord

State = Literal["pending", "evaluated", "stopped", "infeasible", "failed"]


class Entry(NamedTuple):
    """A configuration's state, and by its state its objectives, its last metrics, or the reason of its failure."""

    state: State
    objectives: tuple[float, ...] = ()
    stopped: Stopped | None = None
    reason: str = ""


class TrialArchive:
    """Key -> entry of every configuration that was proposed, and the front of those that were evaluated."""

    def __init__(self, problem: SearchProblem) -> None:
        self.problem = problem
        self.entries: dict[str, Entry] = {}
        self.front = RunningFront(problem.objectives, problem.bounds)
        self.repeats = 0  # proposals of configurations that were known
        self._counts: Counter[State] = Counter()

    def count(self, *states: State) -> int:
        """The number of configurations in these states."""
        return sum(self._counts[state] for state in states)

    @property
    def finished(self) -> int:
        """The number of trials that count: evaluated, stopped, or failed in this run. Infeasible ones are free."""
        return self.count("evaluated", "stopped", "failed")

    @property
    def is_exhausted(self) -> bool:
        """True if every configuration of the space is known."""
        return len(self.entries) == self.problem.space.combinations

    def keys(self, state: State) -> list[str]:
        """The keys of the configurations in a state, in the order in which they came to it."""
        return [key for key, entry in self.entries.items() if entry.state == state]

    def note(self, key: str, entry: Entry) -> None:
        """Note the state of a configuration, in place of an earlier one."""
        before = self.entries.pop(key, None)
        if before is not None:
            self._counts[before.state] -= 1
        self._counts[entry.state] += 1
        self.entries[key] = entry

    def end(self, record: TrialRecord) -> None:
        """Note a trial that has ended."""
        objectives: tuple[float, ...] = ()
        if record.state == "evaluated":
            objectives = tuple(record.metrics[name] for name in self.problem.objectives)
            if record.is_feasible:
                self.front.add(record.candidate(self.problem.space))
        stopped = None if record.stopped is None else Stopped(record.stopped, record.metrics)
        self.note(record.key, Entry(record.state, objectives, stopped, record.reason))

    def facts(self) -> dict[str, str]:
        """The progress of the search, for the table of a terminal."""
        best = ((self.problem.section.metric(name), value) for name, value in self.front.best.items())
        facts = {f"best {metric.phrase}": metric.format(value) for metric, value in best}
        facts["front"] = str(len(self.front.candidates))
        if self.front.volume is not None:
            facts["hypervolume"] = f"{self.front.volume:.4f}"
        for state in ("stopped", "failed"):
            if self._counts[state]:
                facts[state] = str(self._counts[state])
        return facts | {"infeasible": str(self.count("infeasible")), "repeats": str(self.repeats)}
