"""What was cut off is begun with again, but not for ever."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import pytest
from optuna.trial import TrialState
from searches import CHEAP, DIGITS, Run

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.errors import Terminated
from ffnet_search.run.interrupt import interruptible
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.pending_trials import PREEMPTIONS, STARTS, PendingTrials
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.search.storage.trial_params import params_of
from ffnet_search.space.hyperparameters import Configuration


def test_what_ended_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    first = PendingTrials(path)
    for key in "abc":
        first.begin(key, "sampler", {"x": key})
    first.end("b")
    assert [(one.origin, one.params) for one in PendingTrials(path).left] == [
        ("sampler", {"x": "a"}),
        ("sampler", {"x": "c"}),
    ]
    first.end("a")
    first.end("c")
    assert PendingTrials(path).left == [] and not path.exists()


def test_what_is_left_survives_until_it_has_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    first = PendingTrials(path)
    first.begin("a", "sampler", {})
    first.begin("b", "walk", {})
    PendingTrials(path).begin("a", "sampler", {})  # and is killed too
    assert [(one.origin, one.starts) for one in PendingTrials(path).left] == [("walk", 1), ("sampler", 2)]


def test_what_is_killed_again_and_again_is_not_begun_with(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    for _ in range(STARTS):
        assert len(PendingTrials(path).left) == int(path.exists())
        PendingTrials(path).begin("a", "sampler", {})
    assert PendingTrials(path).left == []


def test_a_stop_in_good_order_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    for _ in range(2 * STARTS):
        search = PendingTrials(path)
        search.begin("a", "sampler", {"x": 1})
        search.put_back()
    assert [one.params for one in PendingTrials(path).left] == [{"x": 1}]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_trial_that_signals_its_own_process_is_failed_after_three_starts(
    tmp_path: Path, sent: signal.Signals
) -> None:
    if signal.getsignal(sent) == signal.SIG_IGN:
        pytest.skip("this signal is ignored here, as SIGHUP is under nohup")
    key = DIGITS.smallest.key
    run = Run(tmp_path, broken={key: sent}, resumable=True)
    for _ in range(STARTS):
        with pytest.raises((KeyboardInterrupt, Terminated)), interruptible():
            run.search(trials=4)
    assert key not in {candidate.key for candidate in run.search(trials=4)}
    assert run.evaluated.count(key) == STARTS
    (failed,) = run.trials(TrialState.FAIL)
    assert failed.user_attrs["reason"].startswith("it ended the whole process 3 times (by its memory, a signal or")


def preempted(run: Run, times: int) -> None:
    """Leave the smallest network as a trial that was preempted so often."""
    for _ in range(times):
        pending = PendingTrials(run.study.with_name("study.db.pending"))
        pending.begin(DIGITS.smallest.key, "smallest", params_of(DIGITS, Configuration(DIGITS.smallest)))
        pending.put_back(preempted=True)


@pytest.mark.parametrize("sent", ["preempt", "preempt further"])
def test_a_trial_that_is_preempted_again_and_again_is_begun_again(tmp_path: Path, sent: str) -> None:
    key = DIGITS.smallest.key
    run = Run(tmp_path, broken={key: sent}, resumable=True)
    preempted(run, PREEMPTIONS - 2)
    for _ in range(3):
        with pytest.raises(Terminated), interruptible():
            run.search(trials=4)
    gives_way = sent == "preempt"  # and not, where it trained one epoch more
    assert run.evaluated[:2] == [key, key] and (run.evaluated[2] != key) == gives_way and run.evaluated[-1] == key
    run.broken = {}
    assert key in {candidate.key for candidate in run.search(trials=4)}
    assert not run.trials(TrialState.FAIL)


def test_a_search_ends_though_a_trial_is_preempted_at_each_start(tmp_path: Path) -> None:
    """It may have sent the signal in a way that nobody sees: each start makes another trial first."""
    run = Run(tmp_path, broken={DIGITS.smallest.key: "preempt"}, resumable=True)
    preempted(run, PREEMPTIONS)
    for _ in range(3):
        with pytest.raises(Terminated), interruptible():
            run.search(trials=4)
    assert len(run.search(trials=4)) == 4 and not run.trials(TrialState.FAIL)


WRONG_STARTS = '{"a": {"origin": "x", "params": {}, "starts": "x"}}'


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '{"a": {"what": 1}}', WRONG_STARTS, "[" * 5000])
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "under_way"
    path.write_text(content)
    assert PendingTrials(path).left == []
    assert not path.exists() and path.with_name("under_way.damaged").read_text() == content
    assert "under_way is damaged" in capfd.readouterr().err
    assert PendingTrials(None).left == []


def test_parameters_of_another_space_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    PendingTrials(path).begin("a", "sampler", {"x": 9})
    assert PendingTrials(path, lambda params: params == {"x": 1}).left == []
    assert path.with_name("under_way.damaged").exists()


def test_what_is_evaluated_elsewhere_is_never_given_up(tmp_path: Path) -> None:
    path = tmp_path / "under_way"
    for _ in range(2 * STARTS):
        PendingTrials(path, counts=False).begin("a", "sampler", {"x": 1})
    assert [one.params for one in PendingTrials(path).left] == [{"x": 1}]


@pytest.mark.parametrize("is_stuck", [False, True], ids=["in good order", "native code does not return"])
def test_preemptions_are_no_deaths(tmp_path: Path, is_stuck: bool) -> None:
    """Batch systems send SIGTERM often: a trial may be preempted more often than it may end the process."""
    problem = SearchProblem(DIGITS, SearchSection(trials=1), CHEAP)
    params = params_of(DIGITS, Configuration(DIGITS.largest))
    path = tmp_path / "study.db.pending"
    for _ in range(2 * STARTS):
        with suppress(Terminated), open_storage(problem, tmp_path / "study.db", resumable=True) as storage:
            storage.pending.begin("a", "sampler", params)
            assert PendingTrials(path).left[0].starts == 1
            if is_stuck:
                for act in Terminated.last_acts:
                    act()
                assert PendingTrials(path).left[0].starts == 0
            raise Terminated(143)
        assert [one.starts for one in PendingTrials(path).left] == [0] and not Terminated.last_acts
