"""The front of retrained networks: which weights are kept, and both accuracies in the export."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from retraining_sweep import DIRECTIONS, EPOCHS, SupernetRun, retraining_in, write_sweep
from training_steps import ObservedStep, assert_trained

from ffnet_search.cli.resolve import Front
from ffnet_search.cli.tables.front import print_run
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.export.groups import read_groups
from ffnet_search.export.network import load
from ffnet_search.export.picks import draw_front, shortlist
from ffnet_search.models.deployed import fuse
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data
from ffnet_search.training.modules import FFNetModule

TASK = find_task("classification")


@pytest.mark.slow
def test_the_export_retrains_and_shows_both_accuracies(
    tmp_path: Path, steps: list[ObservedStep], capsys: pytest.CaptureFixture[str]
) -> None:
    export = {"top": 2, "retrain": {"epochs": EPOCHS, "candidates": 3, "distil": 0.5}, "folds": 2}
    sweep = write_sweep(tmp_path, export=export)
    networks = run_sweep(sweep)
    assert_trained(steps)  # the supernet, its retrained networks, and those of the folds
    evaluator, data = Evaluator.from_sweep(sweep), sweep_data(sweep)
    for network in networks:
        shown = {name: network.metrics[name] for name in network.metrics if name.endswith("accuracy")}
        folds = network.scores("folds")
        assert folds is not None and folds.images == network.metrics["folds_images"]
        assert shown.pop("folds_accuracy") == pytest.approx(folds.quality, abs=1e-6)
        before, after = fuse(evaluator.calibrated(network.network)), load(network.folder)
        assert shown == {
            "search_accuracy": pytest.approx(quality(after, data.val_dataloader(), TASK)),
            "test_accuracy": pytest.approx(quality(after, data.test_dataloader(), TASK)),
            "inherited_search_accuracy": pytest.approx(quality(before, data.val_dataloader(), TASK)),
            "inherited_test_accuracy": pytest.approx(quality(before, data.test_dataloader(), TASK)),
        }
        assert shown["search_accuracy"] > shown["inherited_search_accuracy"]
        card = network.read_card()["retraining"]
        epochs = retraining_in(sweep).epochs_for(network.network.macs_m)
        expected = {"epochs": epochs, "rate": 1.0, "distil": 0.5, "from": "inherited", "kept": True}
        assert {name: card[name] for name in expected} == expected
        assert card["resolved"]["train"]["epochs"] == epochs
        page = (network.folder / "README.md").read_text()
        assert "inherited from the supernet" in page and "by cross-validation, 2 folds, 1,438 images" in page
    capsys.readouterr()
    print_run(Front(sweep, networks))
    table = " ".join(capsys.readouterr().out.split())
    assert "inherited" in table and "trained 2 times from new weights" in table
    assert "ranked first by accuracy by cross-validation" in table
    assert set(read_groups(sweep.files.pareto)["folds"]) == {network.folder.name for network in networks}
    html = sweep.files.report.read_text()
    assert '<th scope="col" class="number">folds</th>' in html and "by cross-validation (" in html
    best = networks[0].metrics["inherited_test_accuracy"]
    assert "test, inherited" in html and f"{100 * best:.2f} %" in html
    with sweep.files.front_csv.open() as file:
        assert float(next(csv.DictReader(file))["inherited_test_accuracy"]) == best


def test_the_front_is_of_what_was_retrained(run_copy: SupernetRun) -> None:
    front = draw_front(run_copy.sweep, run_copy.candidates)
    assert 1 <= len(front) <= 2  # export.top
    assert len(pareto_front([pick.judged for pick in front], run_copy.sweep.search.directions)) == len(front)
    for pick in front:
        assert pick.judged.metrics["accuracy"] > pick.candidate.metrics["accuracy"]
        assert pick.judged.metrics["latency_ms"] == pick.candidate.metrics["latency_ms"]


def test_a_network_that_gets_worse_keeps_its_weights(run_copy: SupernetRun, tmp_path: Path) -> None:
    """A rate that destroys them."""
    sweep = write_sweep(tmp_path, export={"top": 2, "retrain": {"epochs": 1, "rate": 3000.0}})
    front = draw_front(sweep, run_copy.candidates)
    assert front
    for pick in front:
        assert pick.judged == pick.candidate
        assert pick.network(sweep) is None


def test_a_network_that_cannot_be_retrained_keeps_its_weights(
    run_copy: SupernetRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = run_copy.chosen(1)[0].key
    step = FFNetModule.training_step

    def failing(self: FFNetModule, *arguments: Any) -> Any:
        if self.net.largest.key == broken:
            raise MemoryError("no room")
        return step(self, *arguments)

    monkeypatch.setattr(FFNetModule, "training_step", failing)
    front = draw_front(run_copy.sweep, [one for one in run_copy.candidates if one.key == broken])
    assert f"{broken} failed, and its weights stay: MemoryError: no room" in capsys.readouterr().err
    assert [pick.judged for pick in front] == [pick.candidate for pick in front]
    assert front[0].retrained is None


def test_a_shortlist_takes_the_next_front_where_one_is_short(supernet_run: SupernetRun) -> None:
    arch = supernet_run.sweep.search_space.smallest
    rows = [(0.9, 3.0), (0.8, 2.0), (0.7, 1.0), (0.85, 3.0), (0.75, 2.0), (0.5, 2.5)]
    points = [Candidate(arch, {"accuracy": a, "latency_ms": ms}, {"x": a}) for a, ms in rows]
    for count, expected in (
        (1, [0]),
        (2, [0, 2]),
        (3, [0, 1, 2]),
        (4, [0, 1, 2, 3]),
        (5, [0, 1, 2, 3, 4]),
        (9, range(6)),
    ):
        assert shortlist(points, DIRECTIONS, count) == [points[index] for index in expected]  # type: ignore[arg-type]
