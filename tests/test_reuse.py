"""Work that is done is kept: the front of a stopped search is exported; a new limit re-uses what was evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.run.folder.run_folder import open_run
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import StageState, plan
from ffnet_search.search.storage.study import read_candidates, read_records

SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [2]},
    "stages": [{"depth": [1, 2, 3], "width": [8, 16, 24], "token_kernel": [3], "expansion": [1, 2]}],
}


def sweep_of(folder: Path, **search: object) -> Sweep:
    content = {
        "name": "mine",
        "runs": str(folder / "runs"),
        "search_space": SPACE,
        "data": {"validation": 0.25, "calibration": 64},
        "train": {"epochs": 1, "sampled": 0},
        "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0},
        "search": {"trials": 6, "sampler": "RandomSampler", **search},
        "export": {"top": 2, "retrain": {"epochs": 0}},
    }
    return Sweep.from_content(content, folder / "mine.yaml")


@pytest.mark.slow
def test_work_that_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, more = sweep_of(tmp_path), sweep_of(tmp_path, trials=9)
    run_sweep(sweep, stages=("profile", "train", "search"))
    first = {one.key: one.metrics["accuracy"] for one in read_candidates(sweep.files.study, sweep.search_space)}

    # `more` is wanted, so its search counts as stopped
    assert plan(more)["search"].state is StageState.INCOMPLETE
    assert run_sweep(more, stages=("export",))
    assert "the search is not done, so this is the front of 6 candidates" in capsys.readouterr().err
    assert plan(more)["export"].state is StageState.INCOMPLETE, "it is made again when the search is done"
    assert plan(sweep)["export"].state is StageState.DONE

    # another objective and another limit: nothing that is known is evaluated again
    evaluated: list[str] = []
    evaluate = Evaluator.__call__

    def counted(self, configuration, report=None):
        evaluated.append(configuration.key)
        return evaluate(self, configuration, report)

    monkeypatch.setattr(Evaluator, "__call__", counted)
    limit = sorted(one.metrics["params_m"] for one in read_candidates(sweep.files.study, sweep.search_space))[3]
    tighter = sweep_of(tmp_path, trials=8, objectives=["accuracy", "params_m"], constraints={"params_m": limit})
    run_sweep(tighter, stages=("search",), fresh=True)
    assert "candidates that" in capsys.readouterr().err
    assert evaluated and not set(evaluated) & first.keys()
    records = [one for one in read_records(sweep.files.study) if one.state == "evaluated"]
    known = {one.key: one.metrics["accuracy"] for one in records if one.origin == "known"}
    assert known and known.items() <= first.items() and len(records) == 8
    assert all(one.metrics["params_m"] <= limit for one in records)


@pytest.mark.slow
def test_more_epochs_go_on_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ffnet_search.training.modules import FFNetModule

    epochs: list[int] = []
    begin = FFNetModule.on_train_epoch_start
    monkeypatch.setattr(
        FFNetModule, "on_train_epoch_start", lambda self: (epochs.append(self.current_epoch), begin(self))
    )
    sweep = sweep_of(tmp_path)
    run_sweep(sweep, stages=("train",))
    longer = sweep.model_copy(update={"train": sweep.train.model_copy(update={"epochs": 3})})
    run_sweep(longer, stages=("train",), fresh=True)
    assert epochs == [0, 1, 2] and "train: resumes from the 1 epoch of" in capsys.readouterr().err
    other = longer.model_copy(update={"seed": 1})
    other = other.model_copy(update={"train": longer.train.model_copy(update={"epochs": 4})})
    run_sweep(other, stages=("train",), fresh=True)
    assert epochs[3:] == [0, 1, 2, 3], "another seed is another training"


def test_a_search_by_other_weights_gives_nothing(tmp_path: Path) -> None:
    from ffnet_search.run.folder.run_folder import StageRecord
    from ffnet_search.run.reuse import earlier_candidates
    from ffnet_search.run.stages import STAGES

    sweep = sweep_of(tmp_path)
    inputs = STAGES["search"].inputs(sweep)
    with open_run(sweep) as folder:
        for name in ("train", "search"):
            folder.begin(name, StageRecord(STAGES[name].digest(sweep), STAGES[name].inputs(sweep)))
            folder.finish(name)
        folder.set_aside({"search": []})
        assert earlier_candidates(sweep, inputs) is None, "there is no study"
        other = replace(folder.records["train"], number=9)
        folder.write_records({"train": other})
    assert earlier_candidates(sweep, inputs) is None
