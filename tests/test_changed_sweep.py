"""A sweep that has changed since its stages ran: what is refused, what runs again, and what more of it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import SPACE, write_sweep
from stage_states import recorded_stages, states

from ffnet_search.config.inputs import digest
from ffnet_search.config.resolved import left_out
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.data_changes import change_words
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import STAGES, StageState, plan


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return recorded_stages(monkeypatch)


def test_more_trials_resume_the_search_and_fewer_are_done(tmp_path: Path, ran: list[str]) -> None:
    run_sweep(write_sweep(tmp_path, search={"trials": 10}))
    ran.clear()
    run_sweep(write_sweep(tmp_path, search={"trials": 20}))
    assert ran == ["search", "export"]
    run_sweep(write_sweep(tmp_path, search={"trials": 20}, export={"top": 3}))
    assert ran == ["search", "export", "export"]
    run_sweep(write_sweep(tmp_path, search={"trials": 20}, export={"top": 3}, data={"workers": 9}))
    assert ran == ["search", "export", "export"]
    run_sweep(write_sweep(tmp_path, search={"trials": 20}, export={"top": 3, "formats": ["pt2"]}))
    assert ran == ["search", "export", "export", "export"]
    ran.clear()
    run_sweep(write_sweep(tmp_path, search={"trials": 5}, export={"top": 3}))
    assert "search" not in ran


@pytest.mark.parametrize(
    ("changed", "message", "stale"),
    [
        ({"train": {"epochs": 4}}, "train.epochs (30 -> 4) has changed", ["train", "search", "export"]),
        ({"seed": 5}, "seed (0 -> 5) has changed", ["train", "search", "export"]),
        ({"latency": {"rounds": 9}}, "latency.rounds (7 -> 9) has changed", ["profile", "search", "export"]),
        (
            {"search": {"constraints": {"macs_m": 9}}},
            "search.constraints.macs_m (nothing -> 9.0) has changed",
            ["search", "export"],
        ),
        (
            {"seed": 5, "export": {"opset": 18}},
            "seed (0 -> 5), export.opset (17 -> 18) have changed",
            ["train", "search", "export"],
        ),
        (
            {"search_space": {**SPACE, "stem": {"width": [8, 16], "stride": [1]}}},
            "search_space.stem.width ([8] -> [8, 16]) has changed",
            list(STAGES),
        ),
    ],
)
def test_a_changed_sweep_is_refused_without_fresh(
    tmp_path: Path, ran: list[str], changed: dict[str, Any], message: str, stale: list[str]
) -> None:
    before = write_sweep(tmp_path)
    run_sweep(before)
    contents = {path: path.read_bytes() for path in before.files.folder.rglob("*") if path.is_file()}
    ran.clear()
    after = write_sweep(tmp_path, **changed)
    assert {name: status.state for name, status in plan(after).items() if status.changes} == dict.fromkeys(
        stale, StageState.CHANGED
    )
    with pytest.raises(SweepError) as caught:
        run_sweep(after)
    assert f"{after.path}: {message} since {after.files.folder} was made, which invalidates " in str(caught.value)
    assert f"invalidates {', '.join(stale[:-1])} and {stale[-1]}; add --fresh" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents == {path: path.read_bytes() for path in before.files.folder.rglob("*") if path.is_file()}
    assert ran == []

    run_sweep(after, fresh=True)
    assert ran == stale
    assert states(after) == dict.fromkeys(STAGES, "done")
    (aside,) = after.files.folder.glob("previous-*")
    assert Sweep.from_yaml(aside / "sweep.yaml").digest == before.digest
    assert list(json.loads((aside / "run.json").read_text())["stages"]) == stale
    lost = {path.relative_to(before.files.folder) for path in contents} - {
        path.relative_to(root) for root in (after.files.folder, aside) for path in root.rglob("*")
    }
    assert not lost
    for stage in stale:
        old = aside / STAGES[stage].outputs(before)[-1].relative_to(before.files.folder)
        assert old.read_bytes() == contents[STAGES[stage].outputs(before)[-1]]

    run_sweep(write_sweep(tmp_path, **changed, name="tiny"), fresh=True)  # nothing to move, nothing to do
    assert ran == stale
    with pytest.raises(SweepError, match="has changed|have changed"):
        run_sweep(before)


def test_a_change_of_later_stages_does_not_stop_earlier_ones(tmp_path: Path, ran: list[str]) -> None:
    run_sweep(write_sweep(tmp_path))
    ran.clear()
    after = write_sweep(tmp_path, seed=5)
    run_sweep(after, stages=("profile",))
    assert ran == []
    for stages in (("train",), ("search",), ("export",)):
        with pytest.raises(SweepError, match="seed"):
            run_sweep(after, stages=stages)


def test_a_new_latency_table_makes_fresh_search_again(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path)
    run_sweep(sweep)
    sweep.latency_path.unlink()
    run_sweep(sweep, stages=("profile",))
    ran.clear()
    run_sweep(sweep, fresh=True)
    assert ran == ["search", "export"]
    (aside,) = sweep.files.folder.glob("previous-*")
    assert (aside / sweep.files.study.name).exists()


def made_with(sweep: Sweep, **train: Any) -> None:
    """Change the record of a run as if it had been made with other values of `train`."""
    content = json.loads(sweep.files.state.read_text())
    for record in content["stages"].values():
        if "train" in record["inputs"]:
            record["inputs"]["train"] |= train
            record["digest"] = digest(record["inputs"])
    sweep.files.state.write_text(json.dumps(content))


def test_a_default_of_another_version_is_told_and_the_old_value_continues(tmp_path: Path, ran: list[str]) -> None:
    before = write_sweep(tmp_path)
    run_sweep(before)
    made_with(before, optimizer="adamw", learning_rate=0.002)
    ran.clear()
    with pytest.raises(SweepError) as caught:
        run_sweep(write_sweep(tmp_path))
    now = before.train.learning_rate
    assert str(caught.value) == (
        f"{before.path}: train.optimizer (adamw -> muon), train.learning_rate (0.002 -> {now}) have changed to the "
        f"defaults of this version since {before.files.folder} was made; add --fresh to redo train, search and export, "
        "take another name with --name, or write the old values in the sweep to continue"
    )
    half = write_sweep(tmp_path, train={"learning_rate": 0.004})
    with pytest.raises(SweepError) as caught:
        run_sweep(half)
    assert (
        "train.optimizer (adamw -> muon, the default), train.learning_rate (0.002 -> 0.004) have changed since "
        in str(caught.value)
    )
    assert change_words(plan(half)["train"].changes, half)[0] == "train.optimizer (adamw -> muon, the default)"
    run_sweep(write_sweep(tmp_path, train={"optimizer": "adamw", "learning_rate": 0.002}))
    assert ran == []


def test_the_file_says_which_fields_are_left_out(tmp_path: Path) -> None:
    fields = ["train.epochs", "train.ema", "search.sampler.class_path", "latency.rounds", "latency.noisy", "seed"]
    content: dict[str, Any] = {"train": {"epochs": 3}, "search": {"sampler": "TPESampler"}}
    one = write_sweep(tmp_path, **content, latency={"rounds": 9})
    assert left_out(one, fields) == {"train.ema", "latency.noisy"}
    several = write_sweep(tmp_path, **content, latency=[{"name": "a", "rounds": 9}, {"name": "b"}])
    assert left_out(several, [*fields, "latency.others.b.rounds"]) == {"train.ema", "latency.noisy"}
    several.path.unlink()  # a sweep that was made in Python has no file
    assert left_out(several, fields) == set()
