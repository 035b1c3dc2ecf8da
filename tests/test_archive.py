"""The archive holds every configuration once, in one state, and counts what a search counts."""

from __future__ import annotations

import pytest
from searches import CHEAP, DIGITS, TINY

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.evaluation.outcome import Ended, Failed, Stopped
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.archive import Entry, TrialArchive
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.search_space import SearchSpace

CHOICES = {name: values[0] for name, values in DIGITS.axes().items()}


def archive(space: SearchSpace = DIGITS) -> TrialArchive:
    return TrialArchive(SearchProblem(space, SearchSection(), CHEAP))


def begun(key: str) -> TrialRecord:
    return TrialRecord(key, params=CHOICES)


def evaluated(accuracy: float = 0.5, latency_ms: float = 0.01) -> Candidate:
    return Candidate(DIGITS.smallest, {"accuracy": accuracy, "latency_ms": latency_ms})


@pytest.mark.parametrize(
    ("outcome", "state", "finished"),
    [
        (evaluated(), "evaluated", 1),
        (Stopped(2, {"accuracy": 0.3}), "stopped", 1),
        (Failed("no memory"), "failed", 1),
    ],
)
def test_a_configuration_leaves_the_pending_ones_by_its_outcome(outcome: Ended, state: str, finished: int) -> None:
    trials = archive()
    trials.note("a", Entry("pending"))
    assert "a" in trials.entries and trials.entries["a"].state == "pending" and trials.finished == 0
    trials.end(begun("a").ended(outcome, {}))
    assert (trials.entries["a"].state, trials.finished, trials.count("pending")) == (state, finished, 0)
    assert trials.entries["a"].objectives == ((0.5, 0.01) if state == "evaluated" else ())
    assert trials.entries["a"].reason == ("no memory" if state == "failed" else "")


def test_infeasible_configurations_are_free() -> None:
    trials = archive()
    trials.note("a", Entry("infeasible"))
    assert (trials.finished, trials.count("infeasible"), trials.keys("infeasible")) == (0, 1, ["a"])


def test_the_first_of_a_state_is_the_first_that_came_to_it() -> None:
    trials = archive()
    for key in "abc":
        trials.note(key, Entry("pending"))
    for key in "cab":
        trials.end(begun(key).ended(Failed(key), {}))
    assert trials.keys("failed") == ["c", "a", "b"]


def test_a_space_is_exhausted_when_every_configuration_is_known() -> None:
    trials = archive(TINY)
    for number in range(int(TINY.combinations)):
        assert not trials.is_exhausted
        trials.note(str(number), Entry("infeasible"))
    assert trials.is_exhausted


def test_a_trial_of_an_earlier_run_has_its_state_and_its_place_on_the_front() -> None:
    metrics = {"accuracy": 0.5, "latency_ms": 0.01}
    trials = archive()
    trials.end(TrialRecord("a", state="evaluated", metrics=metrics, params=CHOICES))
    trials.end(TrialRecord("b", state="stopped", metrics=metrics, stopped=3))
    trials.end(TrialRecord("c", state="infeasible"))
    assert [entry.state for entry in trials.entries.values()] == ["evaluated", "stopped", "infeasible"]
    assert trials.entries["b"].stopped == Stopped(3, metrics)
    assert [candidate.key for candidate in trials.front.candidates] == [DIGITS.build(CHOICES).key]


def test_facts_name_what_happened_and_nothing_else() -> None:
    trials = archive()
    assert trials.facts() == {"front": "0", "hypervolume": "0.0000", "infeasible": "0", "repeats": "0"}
    trials.end(begun("a").ended(evaluated(0.5, 0.0), {}))
    trials.end(begun("b").ended(Failed("x"), {}))
    facts = trials.facts()
    assert (facts["best accuracy"], facts["front"], facts["hypervolume"], facts["failed"]) == (
        "50.00 %",  # as the tables print it
        "1",
        "0.5000",
        "1",
    )
    assert "stopped" not in facts
