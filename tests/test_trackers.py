"""Trackers: each trial is a run of its own, with what it tried, what came of it, and its state; so are trainings."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import yaml
from searches import CHEAP, DIGITS, Accuracy, Impatient, same

from ffnet_search.config.files import RunPaths
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.local import LocalEngine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.run.check import check_classes, check_sweep
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import STAGES
from ffnet_search.search.loop import run_search
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.search.storage.study import read_records
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.search.trial_loggers import trial_loggers

OURS = "lightning.pytorch.loggers:"


def logger(kind: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": f"{OURS}{kind}", "init_args": init_args}


def searched(folder: Path, *loggers: dict[str, Any]) -> list[TrialRecord]:
    """The trials of a search that was logged: some evaluated, some stopped after two epochs, one failed."""
    section = SearchSection.model_validate({"trials": 8, "loggers": loggers})
    problem = SearchProblem(DIGITS, section, CHEAP, 0)
    smallest = DIGITS.smallest.key  # tried first
    evaluate = Accuracy(folder / "log", {smallest: RuntimeError("no memory")}, epochs=4)
    with open_storage(problem, folder / "study.db", digest="d") as storage:
        optimizer = Optimizer(problem, storage, Impatient(limit_ms=0.01))
        context = EngineContext(partial(same, evaluate), section, optimizer.pruner, folder, DIGITS)
        run_search(optimizer, LocalEngine(context), storage, trial_loggers(section.loggers, folder))
    records = [one for one in read_records(folder / "study.db") if one.state != "infeasible"]
    assert {one.state for one in records} == {"evaluated", "stopped", "failed"}
    return records


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def events(folder: Path) -> list[Any]:
    """What TensorBoard reads of the files of a run."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):  # length, its checksum, the event, its checksum
            length = int.from_bytes(content[at : at + 8], "little")
            found.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def test_each_trial_is_a_table_of_its_own(tmp_path: Path) -> None:
    for record in searched(tmp_path, logger("CSVLogger")):
        folder = RunPaths(tmp_path).trials / record.key / "search"
        tried = yaml.safe_load((folder / "hparams.yaml").read_text())
        assert tried["state"] == record.state and tried["architecture"] == record.architecture
        assert record.params.items() <= tried.items() and len(record.params) > 3
        rows = table(folder / "metrics.csv")
        curve = [float(row["accuracy"]) for row in rows if row.get("accuracy")]
        if record.state == "failed":
            assert "no memory" in tried["reason"] and not curve
            continue
        reported = [record.reports[epoch]["accuracy"] for epoch in sorted(record.reports)]
        assert curve == pytest.approx([*reported, record.metrics["accuracy"]])
        assert float(rows[-1]["latency_ms"]) == pytest.approx(record.metrics["latency_ms"])


def test_tensorboard_shows_what_was_tried_beside_what_came_of_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    for record in searched(tmp_path, logger("TensorBoardLogger")):
        found = events(RunPaths(tmp_path).trials / record.key / "search")
        scalars = [(value.tag, one.step, value.simple_value) for one in found for value in one.summary.value]
        tags = {tag for tag, *_ in scalars}
        assert "_hparams_/experiment" in tags and "_hparams_/session_start_info" in tags
        if record.state != "failed":
            finals = {tag: value for tag, step, value in scalars if step == (record.stopped or 4)}
            assert finals["accuracy"] == pytest.approx(record.metrics["accuracy"], rel=1e-5)
            steps = [step for tag, step, _ in scalars if tag == "accuracy"]
            assert set(record.reports) <= set(steps)


def test_a_tracker_that_fails_is_said_once_and_ends_no_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "not-a-folder").write_text("")
    broken = logger("CSVLogger", save_dir=str(tmp_path / "not-a-folder"))
    records = searched(tmp_path, broken, logger("CSVLogger"))
    assert capsys.readouterr().err.count("so it gets no more trials; the search continues") == 1
    folders = [RunPaths(tmp_path).trials / one.key / "search" / "metrics.csv" for one in records]
    assert all(path.exists() for path in folders)


def test_the_names_of_devices_and_classes_suit_every_tracker(tmp_path: Path) -> None:
    record = TrialRecord("k", metrics={"latency_ms@phone": 2.0, "recall@defect": 0.5}, state="evaluated")
    section = SearchSection.model_validate({"loggers": [logger("CSVLogger")]})
    trial_loggers(section.loggers, tmp_path)(record)
    (row,) = table(tmp_path / "trials" / "k" / "search" / "metrics.csv")
    assert row["latency_ms/phone"] == "2.0" and row["recall/defect"] == "0.5"


def test_trainings_are_runs_too_and_loggers_invalidate_nothing(tmp_path: Path) -> None:
    content = tiny_sweep.sweep(tmp_path, epochs=1).model_dump(mode="json")
    content |= {"latency": [{"noisy": True}], "export": {"top": 1, "retrain": {"epochs": 1}}}
    content["report"] = {"yardstick": False}
    content["search"] = {"trials": 4}
    plain = Sweep.model_validate(content)
    content["train"]["loggers"] = [logger("CSVLogger", name="own")]
    content["search"]["loggers"] = [logger("CSVLogger")]
    sweep = Sweep.model_validate(content)
    for name in ("train", "search", "export"):
        assert STAGES[name].digest(sweep) == STAGES[name].digest(plain)
    run_sweep(sweep, stages=("train",))
    settings = yaml.safe_load((sweep.files.training / "own" / "version_0" / "hparams.yaml").read_text())
    assert settings["learning_rate"] == sweep.train.learning_rate and settings["epochs"] == 1
    assert (sweep.files.training / "own" / "version_0" / "metrics.csv").exists()


def test_loggers_of_a_search_are_checked_before_it(tmp_path: Path) -> None:
    content = tiny_sweep.sweep(tmp_path).model_dump(mode="json")
    for named, message in (
        (logger("CometLogger"), "search.loggers.0.class_path 'CometLogger' needs comet_ml, which is not"),
        ({"class_path": "absent.module:Logger"}, "search.loggers.0.class_path: .* there is no module"),
        (logger("CSVLogger", nam="x"), "search.loggers.0.init_args must fit CSVLogger.*did you mean 'name'"),
    ):
        sweep = Sweep.model_validate({**content, "search": {"loggers": [named]}})
        with pytest.raises(SweepError, match=message):
            check_classes(sweep, ["search"])


def test_wandb_gets_offline_runs(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    records = searched(tmp_path, logger("WandbLogger", project="flowers", offline=True))
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == len(records)
    assert all(list(folder.glob("run-*.wandb")) for folder in folders)


def test_mlflow_gets_runs_with_their_names_and_states(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = searched(tmp_path, logger("MLFlowLogger", experiment_name="flowers", tracking_uri=uri))
        client = tracking.MlflowClient(uri)
        experiment = client.get_experiment_by_name("flowers")
        found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert found.keys() == {record.key for record in records}
    for record in records:
        run = found[record.key]
        assert run.info.status == ("FAILED" if record.state == "failed" else "FINISHED")
        assert run.data.params["state"] == record.state
        assert json.loads(json.dumps(run.data.params)).keys() >= record.params.keys()
        if record.state != "failed":
            assert run.data.metrics["accuracy"] == pytest.approx(record.metrics["accuracy"])


def test_the_sweeps_of_the_page_are_whole(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "trackers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n# ([\w.]+)\n(.*?)^```$", page, re.M | re.S)
    assert [name for name, _ in blocks] == ["tracked.yaml", "mlflow.yaml", "wandb.yaml"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
        sweep = Sweep.from_yaml(tmp_path / name)
        assert sweep.search.loggers
        package = {"mlflow.yaml": "mlflow", "wandb.yaml": "wandb"}.get(name)
        if package is None or importlib.util.find_spec(package):
            check_sweep(sweep)
            check_classes(sweep, ["search"])
        else:
            with pytest.raises(SweepError, match=f"needs {package}, which is not installed"):
                check_sweep(sweep)
