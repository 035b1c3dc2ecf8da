"""One answer to a budget, wherever it is asked for; and exported folders that nothing deletes."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
from networks import space

from ffnet_search.config.files import RunPaths
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.answer import Offer, answer, answers, hint, offers
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.folders import folder_names, recover_front, replace_front, write_names
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import find_metric
from ffnet_search.space.registry import qualities

ACCURACY = find_metric("accuracy", qualities())
SHOWN = ExportedNetwork(Path("pareto/01-a"), space("ffnet_digits").smallest, {})


def offer(key: str, quality: float, ms: float, *, exported: bool = False, compared: float | None = None) -> Offer:
    before = quality if compared is None else compared
    return Offer(key, quality, before, ms, None, SHOWN if exported else None, exported)


RUN = [
    offer("large", 0.95, 5.0, exported=True, compared=0.90),  # retrained: exported weights are better
    offer("small", 0.85, 1.0, exported=True, compared=0.80),
    offer("middle", 0.88, 3.0),
    offer("worse", 0.75, 2.0),
    offer("lucky", 0.91, 6.0),
]


@pytest.mark.parametrize(
    ("latency_ms", "exported", "better"),
    [
        (0.9, None, None),
        (1.0, "small", None),
        (2.9, "small", None),
        (3.0, "small", "middle"),  # 0.88 as it was compared, where the exported one had 0.80
        (5.0, "large", None),  # 0.88 is no more than 0.90: what retraining added counts for neither
        (6.0, "large", "lucky"),
        (math.inf, "large", "lucky"),
    ],
)
def test_the_best_within_a_budget(latency_ms: float, exported: str | None, better: str | None) -> None:
    found = answer(RUN, ACCURACY, latency_ms)
    assert [one and one.key for one in (found.exported, found.better)] == [exported, better]


def test_where_all_exported_networks_have_folds_they_rank_by_them() -> None:
    """And others are called better only where they are that as the search compared them."""

    def folded(one: Offer, accuracy: float) -> Offer:
        return replace(one, exported=replace(SHOWN, metrics={"folds_accuracy": accuracy}))

    networks = [folded(RUN[0], 0.80), folded(RUN[1], 0.90), *RUN[2:]]
    found = answer(networks, ACCURACY, 5.0)
    assert [one and one.key for one in (found.exported, found.better)] == ["small", None]
    networks[1] = RUN[1]
    assert answer(networks, ACCURACY, 5.0) == answer([networks[0], *RUN[1:]], ACCURACY, 5.0)
    assert [found.exported.key for _, found in answers(networks, ACCURACY) if found.exported][-1] == "large"


def test_the_slider_says_what_a_question_says() -> None:
    steps = answers(RUN, ACCURACY)
    assert [ms for ms, _ in steps] == [1.0, 3.0, 5.0, 6.0]
    for latency_ms in (1.0, 1.7, 2.0, 3.0, 4.9, 5.0, 5.5, 6.0, 99.0):
        held = [found for ms, found in steps if ms <= latency_ms][-1]
        assert held == answer(RUN, ACCURACY, latency_ms)


def test_a_network_that_lost_after_its_retraining_is_not_called_better() -> None:
    def retrained(key: str, quality: float, compared: float, *, exported: bool = False) -> Offer:
        return replace(offer(key, quality, 1.0, exported=exported, compared=compared), is_final=True)

    shown = retrained("shown", 0.95, 0.80, exported=True)
    lost, untried = retrained("lost", 0.93, 0.90), offer("untried", 0.85, 1.0)
    assert answer([shown, lost], ACCURACY).better is None  # though the search compared it as better
    assert answer([shown, lost, untried], ACCURACY).better == untried
    won = retrained("won", 0.97, 0.70)
    assert answer([shown, lost, won], ACCURACY).better == won
    assert "97.00 % as it was retrained" in hint(answer([shown, won], ACCURACY), ACCURACY, Path("runs/x"))
    words = hint(answer([shown, untried], ACCURACY), ACCURACY, Path("runs/x"))
    assert "85.00 % as the search compared it with shown, then at 80.00 %" in words
    assert answers([shown, lost, won], ACCURACY) == [(1.0, answer([shown, lost, won], ACCURACY))]


@pytest.mark.parametrize(
    ("objectives", "best"), [(["accuracy", "latency_ms"], "01-a"), (["recall@8", "latency_ms"], "02-b")]
)
def test_networks_are_ranked_by_the_objective(tmp_path: Path, objectives: list[str], best: str) -> None:
    content = tiny_sweep.sweep(tmp_path).model_dump(mode="json") | {"search": {"objectives": objectives}}
    sweep = Sweep.model_validate(content)
    arch = sweep.search_space.smallest
    figures = {"01-a": (0.9, 0.5), "02-b": (0.8, 0.7)}
    exported = [
        ExportedNetwork(Path(name), arch, {"search_accuracy": one, "search_recall@8": other, "measured_ms": 1.0})
        for name, (one, other) in figures.items()
    ]
    measured = LatencyTable.load(Path(__file__).parent / "goldens" / "latency_table.json")
    found = answer(offers(sweep, [], exported, measured), ranking(sweep)).exported
    assert found is not None and found.exported is not None and found.exported.folder.name == best
    assert ranking(sweep).key == objectives[0]


def write(folder: Path, weights: bytes, **card: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.ckpt").write_bytes(weights)
    (folder / "card.json").write_text(json.dumps({"metrics": {}, **card}))
    return folder


def test_a_name_stays_and_nothing_is_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunPaths(tmp_path)
    names = folder_names(files.pareto, ["aa", "bb", "cc"])
    assert names == {"aa": "01-aa", "bb": "02-bb", "cc": "03-cc"}
    for key, name in names.items():
        write(files.pareto / name, key.encode(), formats={"pt2": {}} if key == "bb" else {})
    (files.pareto / "02-bb" / "model.pt2").write_text("another format")
    write_names(files.pareto, names)

    names = folder_names(files.pareto, ["dd", "bb", "cc"])  # more trials: dd is best now, aa is no more on the front
    assert names["dd"] == "04-dd" and names["bb"] == "02-bb"
    scratch = tmp_path / "pareto.tmp"
    for key, weights, order in (("dd", "dd", [-0.9]), ("bb", "bb", [-0.8]), ("cc", "other weights", [-0.7])):
        write(scratch / names[key], weights.encode(), order=order)
    write_names(scratch, names)
    replace_front(files, scratch)

    assert [one.folder.name for one in read_exported(files.pareto)] == ["04-dd", "02-bb", "03-cc"]
    assert (files.pareto / "02-bb" / "model.pt2").read_text() == "another format"
    assert "pt2" in read_exported(files.pareto)[1].read_card()["formats"]
    (aside,) = tmp_path.glob("previous-*/pareto")
    assert sorted(path.name for path in aside.iterdir()) == ["01-aa", "03-cc"]
    assert (aside / "03-cc" / "model.ckpt").read_bytes() == b"cc"
    told = " ".join(capsys.readouterr().err.split())
    assert "2 networks exported before and not now, or with other weights" in told and "01-aa, 03-cc" in told
    assert folder_names(files.pareto, ["aa"])["aa"] == "01-aa"  # once it comes back
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("pareto")] == ["pareto"]


def test_a_kill_between_two_fronts_loses_neither(tmp_path: Path) -> None:
    files = RunPaths(tmp_path)
    write(files.pareto / "01-aa", b"aa")
    shutil.move(files.pareto, tmp_path / "pareto.old.tmp")
    recover_front(files)
    assert (files.pareto / "01-aa").is_dir()
    recover_front(files)
    write(tmp_path / "pareto.tmp" / "01-aa", b"aa", order=[0.5])
    replace_front(files, tmp_path / "pareto.tmp")
    assert read_exported(files.pareto)[0].order == (0.5,)
