"""`ffnet-search fidelity` on a tiny supernet of digits: what is trained alone, resumed, refused, written, printed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from patience import BUSY_S
from tiny_sweep import TINY
from tiny_sweep import sweep as tiny
from typer.testing import CliRunner

from ffnet_search.cli.app import app
from ffnet_search.cli.tables.fidelity import print_fidelity
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.fidelity import Fidelity, read_fidelity
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.standalone import StandaloneFactory, standalone_sweep
from ffnet_search.evaluation.trained import WEIGHTS, TrialEvaluator
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.report.fidelity import fidelity_of
from ffnet_search.run.fidelity.measure import TABLE, FidelityPlan, measure_fidelity
from ffnet_search.run.fidelity.trainings import ALONE
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.space.hyperparameters import Configuration

PLAN = FidelityPlan(networks=4, repeated=2)


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A run whose supernet is trained, for copies."""
    sweep = tiny(tmp_path_factory.mktemp("supernet"), epochs=2)
    run_sweep(sweep, stages=("train",))
    return sweep


@pytest.fixture(scope="module")
def measured(supernet: Sweep, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Fidelity]:
    """The comparison of that supernet, without an interruption; not to be changed."""
    sweep = copy_of(supernet, tmp_path_factory.mktemp("measured"))
    return sweep, measure_fidelity(sweep, PLAN)


def copy_of(sweep: Sweep, runs: Path, **search: object) -> Sweep:
    """The same run in another folder, and other fields of `search`."""
    shutil.copytree(sweep.files.folder, runs / sweep.name)
    changed = sweep.search.model_copy(update=search)
    return sweep.model_copy(update={"runs": str(runs), "search": changed})


def test_networks_are_trained_as_trials_are_and_the_first_seed_is_the_sweeps(
    measured: tuple[Sweep, Fidelity], tmp_path: Path
) -> None:
    sweep, found = measured
    one = next(one for one in found.networks if one.name == "smallest")
    alone = standalone_sweep(sweep, 0, 4).model_copy(update={"runs": str(tmp_path)})
    trial = TrialEvaluator(alone)(Configuration(one.architecture), lambda epoch, metrics: True)
    assert isinstance(trial, Candidate)
    assert one.alone["validation"] == trial.metrics["accuracy"]
    assert alone.seed == sweep.seed and alone.train == sweep.train and alone.data == sweep.data
    shared = Evaluator.from_sweep(sweep)(Configuration(one.architecture))
    assert one.inherited["validation"] == shared.metrics["accuracy"]


def test_a_second_training_has_other_weights_and_order_but_the_same_split(measured: tuple[Sweep, Fidelity]) -> None:
    sweep, found = measured
    first, second = (StandaloneFactory(standalone_sweep(sweep, repeat, 4), sweep.seed)() for repeat in (0, 1))
    before, after = (evaluator.target.data(evaluator.sweep) for evaluator in (first, second))
    assert before.fingerprint == after.fingerprint  # type: ignore[attr-defined]
    batches = [next(iter(data.train_dataloader()))[1].tolist() for data in (before, after)]
    assert batches[0] != batches[1]
    twice = [one for one in found.networks if one.again]
    assert [one.name for one in twice] == ["smallest", "largest"]
    for one in twice:
        weights = [
            torch.load(sweep.files.fidelity / f"seed-{repeat}" / "trials" / one.architecture.key / WEIGHTS)
            for repeat in (0, 1)
        ]
        assert not torch.equal(*(next(iter(state.values())) for state in weights))


def test_all_is_written_and_the_run_stays_as_it_is(measured: tuple[Sweep, Fidelity], supernet: Sweep) -> None:
    sweep, found = measured
    assert read_fidelity(sweep.files.fidelity) == found == fidelity_of(sweep)
    with (sweep.files.fidelity / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [one.architecture.key for one in found.networks]
    assert [float(row["alone_test"]) for row in rows] == [one.alone["test"] for one in found.networks]
    assert [row["again_validation"] == "" for row in rows] == [not one.again for one in found.networks]
    assert sweep.files.supernet.read_bytes() == supernet.files.supernet.read_bytes()
    assert found.record["data"] and found.record["epochs"] == 2 and found.cost == "macs_m"
    assert len(found.networks) == 4 and found.failed == {}


def test_another_split_trains_nothing(measured: tuple[Sweep, Fidelity], tmp_path: Path) -> None:
    sweep = copy_of(measured[0], tmp_path)
    shutil.rmtree(sweep.files.fidelity / "seed-0")
    found = measure_fidelity(sweep, FidelityPlan(4, 2, "test"))
    assert found.networks == measured[1].networks and found.split == "test"
    assert not (sweep.files.fidelity / "seed-0").exists()
    assert found.alone != measured[1].alone


def test_interrupted_in_a_network_and_resumed_is_never_interrupted(
    supernet: Sweep, measured: tuple[Sweep, Fidelity], tmp_path: Path
) -> None:
    sweep = copy_of(supernet, tmp_path, engine="own_engine:InterruptedEngine")
    with pytest.raises(KeyboardInterrupt):
        measure_fidelity(sweep, PLAN)
    kept = json.loads((sweep.files.fidelity / ALONE).read_text())
    assert len(kept["0"]) == 3  # a report each, and the fourth was interrupted
    assert len(list(sweep.files.fidelity.glob("seed-0/trials/*/last.ckpt"))) == 1
    found = measure_fidelity(copy_of(sweep, tmp_path / "moved", engine="local"), PLAN)
    assert found.networks == measured[1].networks


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_engine_ray_gives_the_same(
    supernet: Sweep, measured: tuple[Sweep, Fidelity], tmp_path: Path, ray_cluster: str
) -> None:
    found = measure_fidelity(copy_of(supernet, tmp_path, engine="ray"), PLAN)
    assert found.networks == measured[1].networks


def test_a_changed_recipe_is_refused_and_fresh_moves_the_old_ones_aside(
    measured: tuple[Sweep, Fidelity], tmp_path: Path
) -> None:
    sweep = copy_of(measured[0], tmp_path)
    changed = sweep.model_copy(update={"train": sweep.train.model_copy(update={"epochs": 1})})
    with pytest.raises(
        SweepError, match=r"fidelity needs the supernet, but train is changed \(train.epochs \(2 -> 1\)"
    ):
        measure_fidelity(changed, PLAN)
    run_sweep(changed, stages=("train",), fresh=True)
    assert fidelity_of(changed) is None  # it is of the supernet before
    with pytest.raises(SweepError, match=r"train.epochs \(2 -> 1\) has changed since networks were trained alone"):
        measure_fidelity(changed, PLAN)
    found = measure_fidelity(changed, FidelityPlan(4, 0), fresh=True)
    assert found.record["epochs"] == 1 and fidelity_of(changed) == found
    assert len(list(changed.files.folder.glob("previous-*/fidelity/fidelity.json"))) == 1


def test_without_a_supernet_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"fidelity needs the supernet, but train is pending; run `ffnet-search train"):
        measure_fidelity(tiny(tmp_path), PLAN)
    sweep = tiny(tmp_path)
    trained = Sweep.model_validate(sweep.model_dump() | {"search": {"evaluator": "train"}})
    with pytest.raises(SweepError, match="search.evaluator must be 'supernet', or search.warm_start true"):
        measure_fidelity(trained, PLAN)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"networks": 3}, "--networks must be >= 4"),
        ({"repeated": 17}, "--repeated must be from 0 to 16"),
        ({"repeated": -1}, "--repeated must be from 0 to 16"),
        ({"split": "train"}, "--split must be validation or test, but got 'train'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        FidelityPlan(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(("networks", "repeats"), [(16, 4), (17, 5), (4, 1)])
def test_a_quarter_is_trained_twice(networks: int, repeats: int) -> None:
    assert FidelityPlan(networks).repeats == repeats


def test_the_tables_fit_a_terminal_of_80_columns(
    measured: tuple[Sweep, Fidelity], capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured[1]
    print_fidelity(found)
    out = capsys.readouterr().out
    *tables, sentence = out.splitlines()
    assert sentence == found.sentence
    assert max(map(len, tables)) <= 80
    assert "smallest" in out and "near the front (2)" in out and "2 networks trained twice" in out


def test_the_verb_prints_one_document(measured: tuple[Sweep, Fidelity], tmp_path: Path) -> None:
    sweep, found = measured
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(sweep.model_dump(mode="json")))
    words = ["fidelity", str(file), "--networks", "4", "--repeated", "2", "--json", "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["verdict"] == found.verdict and len(document["networks"]) == 4


def test_a_space_of_too_few_networks_is_refused_before_any_is_trained(tmp_path: Path) -> None:
    stage = {"depth": [1], "width": [8], "token_kernel": [3], "expansion": [1, 2, 3]}
    space = {"input": TINY["input"], "stages": [stage]}
    sweep = Sweep.model_validate(tiny(tmp_path, epochs=1).model_dump() | {"search_space": space})
    run_sweep(sweep, stages=("train",))
    with pytest.raises(SweepError, match="a ranking needs 4 networks, but the search space has 3; widen it"):
        measure_fidelity(sweep, PLAN)
    assert not (sweep.files.folder / ALONE).exists()
