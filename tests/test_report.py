"""The report: one file that holds all and needs nothing, whose figures are those of the study and the cards."""

from __future__ import annotations

import json
import math
import random
import re
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from networks import space
from optuna.trial import TrialState, create_trial
from test_pipeline import SPACE, table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import hypervolume
from ffnet_search.report.architecture_svg import describe, draw
from ffnet_search.report.charts import learning_curves
from ffnet_search.report.data import content, hypervolume_over_time
from ffnet_search.report.page import page
from ffnet_search.search.history import History, LearningCurve, read_history
from ffnet_search.search.parameters import distributions, params_of
from ffnet_search.search.storage.study import open_study
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.mixers import MIXERS
from ffnet_search.space.registry import known_metrics
from ffnet_search.space.search_space import SearchSpace

OBJECTIVES: dict[str, Any] = {"accuracy": "maximize", "latency_ms": "minimize"}
VOID = {"meta", "link", "input", "li", "br"}  # li: its end may be left out


class Tags(HTMLParser):
    """Every tag that is opened is closed, and what the page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.charts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [value for name in ("src", "href") if (value := found.get(name))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def candidates(count: int, seed: int = 0) -> list[Candidate]:
    rng, digits = random.Random(seed), space("ffnet_digits")
    archs = [digits.sample(rng) for _ in range(count)]
    return [
        Candidate(a, {"accuracy": rng.random(), "latency_ms": a.macs_m, "params_m": a.params_m, "macs_m": a.macs_m})
        for a in archs
    ]


@pytest.fixture
def shown(tmp_path: Path) -> SimpleNamespace:
    """The page of a small run, whose names try to break out of it."""
    file = tmp_path / "tiny.yaml"
    file.write_text(f"search_space: {Path('search_spaces/ffnet_digits.yaml').resolve()}\nruns: {tmp_path}\n")
    sweep = Sweep.from_yaml(file)
    found = candidates(30)
    metrics = dict.fromkeys(
        ("search_accuracy", "test_accuracy", "predicted_ms", "measured_ms", "measured_spread", "params_m", "macs_m"),
        0.5,
    )
    picks = []
    for number, candidate in enumerate(found[:2], 1):
        folder = tmp_path / f"{number:02d}-{candidate.architecture.key}"
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps({"data": {"fingerprint": "f00"}, "date": "2026-01-01"}))
        (folder / "model.onnx").touch()
        picks.append(ExportedNetwork(folder, candidate.architecture, {**metrics, "measured_ms": float(number)}))
    failures = (("abc", "</script><b>broken"),)
    history = History(tuple(found), {"params_m": 7}, 7, failures, {"accuracy": {"stage1.width": 1}})
    sweep = sweep.model_copy(update={"search": sweep.search.model_copy(update={"constraints": {"params_m": 0.2}})})
    table = table_of(SearchSpace.model_validate(SPACE))
    data = content(sweep, history, picks, table)
    return SimpleNamespace(html=page(sweep, history, picks, table, data), data=data, picks=picks, found=found)


def test_the_page_is_whole_and_loads_nothing(shown: SimpleNamespace) -> None:
    tags = Tags()
    tags.feed(shown.html)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    elsewhere = [link for link in tags.links if not link.startswith(("#", "pareto/", "data:,"))]
    assert elsewhere == []
    assert "@import" not in shown.html
    assert "<b>broken" not in shown.html.split('id="data"')[0]


def test_the_page_names_every_file_of_the_front(shown: SimpleNamespace) -> None:
    for pick in shown.picks:
        assert f'href="pareto/{pick.folder.name}/model.onnx"' in shown.html
        assert f'id="row-{pick.folder.name}"' in shown.html
        assert describe(pick.architecture) in shown.html
    assert "7 architectures beyond parameters ≤ 0.2" in shown.html


def test_the_data_are_those_of_the_study(shown: SimpleNamespace) -> None:
    text = re.search(r'id="data">(.*?)</script>', shown.html, re.DOTALL)
    assert text is not None
    data = json.loads(text.group(1))
    assert data["candidates"]["key"] == [candidate.architecture.key for candidate in shown.found]
    accuracies = [candidate.metrics["accuracy"] for candidate in shown.found]
    assert data["candidates"]["accuracy"] == pytest.approx(accuracies, rel=1e-5)
    assert [row["measured_ms"] for row in data["picks"]] == [1.0, 2.0]


def test_hypervolume_only_rises_and_ends_at_one() -> None:
    found = candidates(60)
    shares = hypervolume_over_time(found, OBJECTIVES)
    values = [share for _, share in shares]
    assert values == sorted(values)
    assert shares[-1] == (60, 1.0)
    worst = [min(c.metrics["accuracy"] for c in found), max(c.metrics["latency_ms"] for c in found)]

    def volume(count: int) -> float:
        points = [[c.metrics[name] for name in OBJECTIVES] for c in found[:count]]
        return hypervolume(points, worst, list(OBJECTIVES.values()))

    for count, share in shares:
        assert share == pytest.approx(volume(count) / volume(60), rel=1e-4)


def curves(stopped: bool) -> tuple[LearningCurve, ...]:
    whole = LearningCurve(0, "a <b>", {1: 0.2, 2: 0.6, 3: 0.9}, stopped=False)
    return (whole, LearningCurve(1, "c", {1: 0.1}, stopped=True)) if stopped else (whole,)


def test_learning_curves_show_each_trial_as_far_as_it_trained() -> None:
    section = learning_curves(History((), {}, 0, (), {}, 1, "accuracy", curves(stopped=True)))
    assert "2 trials trained 4 epochs, 67 % of what they would have without early stopping; 1 of them" in section
    titles = re.findall(r"<title>(.*?)</title><path d=\"(.*?)\"", section)
    assert [(words, drawn.count("L")) for words, drawn in titles] == [
        ("trial 1, stopped at 10.00 %: c", 0),
        ("trial 0, ended with 90.00 %: a &lt;b&gt;", 2),
    ]
    ends = [tuple(map(float, point.split())) for point in titles[1][1].removeprefix("M").split("L")]
    assert [x for x, _ in ends] == sorted(x for x, _ in ends)
    assert [y for _, y in ends] == sorted((y for _, y in ends), reverse=True)  # up is better


def test_without_early_stopping_nothing_is_said_of_it() -> None:
    section = learning_curves(History((), {}, 0, (), {}, 0, "val_loss", curves(stopped=False)))
    assert "1 trial trained 3 epochs; 1 of them trained to the end." in section
    assert "val_loss" in section
    assert learning_curves(History((), {}, 0, (), {})) == ""


@pytest.mark.parametrize("values", [{1: 0.5, 2: 0.5}, {1: 0.0, 2: 0.0}, {1: 0.5}, {3: 1e-9, 4: 2e9}])
def test_any_curve_can_be_drawn(values: dict[int, float]) -> None:
    section = learning_curves(
        History((), {}, 0, (), {}, 0, "val_loss", (LearningCurve(0, "a", values, stopped=False),))
    )
    (drawn,) = re.findall(r'<path d="M([^"]*)" fill', section)
    assert all(0 <= float(number) <= 720 for number in re.findall(r"[-\w.]+", drawn.replace("L", " ")))


def test_many_curves_are_thinned() -> None:
    many = tuple(LearningCurve(n, "a", {1: 0.5, 2: n / 1000}, stopped=False) for n in range(700))
    section = learning_curves(History((), {}, 0, (), {}, 0, "accuracy", many))
    assert section.count("<title>") == 234
    assert "One of 3 is drawn." in section


def test_history_has_the_curves_of_what_trained(tmp_path: Path) -> None:
    digits, rng = space("ffnet_digits"), random.Random(0)
    trials = []
    for number in range(3):
        arch = digits.sample(rng)
        attributes: dict[str, Any] = {"key": arch.key, "accuracy": 0.9, "latency_ms": 1.0}
        attributes["reports"] = {"1": {"accuracy": 0.2}, "2": {"accuracy": 0.3}, "3": {"accuracy": math.inf}}
        common: dict[str, Any] = {
            "params": params_of(digits, Configuration(arch)),
            "distributions": distributions(digits),
        }
        if number == 0:
            trials.append(create_trial(values=[0.9, 1.0], user_attrs=attributes, **common))
        elif number == 1:
            attributes |= {"stopped": 2, "accuracy": 0.3}
            trials.append(create_trial(state=TrialState.PRUNED, user_attrs=attributes, **common))
        else:
            trials.append(create_trial(state=TrialState.FAIL, user_attrs=attributes, **common))
    with open_study(tmp_path / "study.db", OBJECTIVES, "x") as writer:
        writer.add(trials)
    history = read_history(tmp_path / "study.db", digits, [known_metrics()[name] for name in OBJECTIVES])
    assert history.curved == "accuracy"
    assert [(one.number, one.values, one.stopped) for one in history.curves] == [
        (0, {1: 0.2, 2: 0.3, 4: 0.9}, False),
        (1, {1: 0.2, 2: 0.3}, True),
    ]


def test_history_tells_what_was_tried_skipped_and_failed_and_what_mattered(tmp_path: Path) -> None:
    digits, rng = space("ffnet_digits"), random.Random(0)
    axes = distributions(digits)
    trials = []
    for number in range(60):
        arch = digits.sample(rng)
        common: dict[str, Any] = {"params": params_of(digits, Configuration(arch)), "distributions": axes}
        common["user_attrs"] = {"key": arch.key, "accuracy": 0.5, "latency_ms": 1.0}
        if number < 50:  # the width of the last stage is all that counts
            score = arch.stages[-1].width / 100 + rng.random() / 1000
            trials.append(create_trial(values=[score, arch.macs_m], **common))
        elif number < 57:
            trials.append(
                create_trial(state=TrialState.PRUNED, constraints={"params_m": 0.5, "macs_m": -1.0}, **common)
            )
        else:
            common["user_attrs"]["reason"] = "out of memory"
            trials.append(create_trial(state=TrialState.FAIL, **common))
    path = tmp_path / "study.db"
    with open_study(path, OBJECTIVES, "x") as writer:
        writer.add(trials)
    history = read_history(path, digits, [known_metrics()[name] for name in OBJECTIVES])
    assert len(history.evaluated) == 50
    assert (history.excluded, dict(history.infeasible)) == (7, {"params_m": 7})
    assert [reason for _, reason in history.failures] == ["out of memory"] * 3
    assert next(iter(history.importances["accuracy"])) == "stage3.width"
    assert sum(history.importances["accuracy"].values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar", "ffnet_imagenet"])
def test_a_drawing_shows_every_stage_inside_its_frame(name: str) -> None:
    rng, choices = random.Random(0), space(name)
    for arch in [choices.smallest, choices.largest, *(choices.sample(rng) for _ in range(20))]:
        root = xml.fromstring(draw(arch))
        text = "".join(root.itertext())
        for number, stage in enumerate(arch.stages, 1):
            assert f"stage {number}: {stage.width} channels" in text
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for shape in root.iter():
            if "x" in shape.attrib and "y" in shape.attrib:
                right = float(shape.attrib["x"]) + float(shape.attrib.get("width", 0))
                assert 0 <= right <= width
                assert 0 <= float(shape.attrib["y"]) + float(shape.attrib.get("height", 0)) <= height


def test_a_drawing_is_colour_and_words_for_every_mixer() -> None:
    drawings = {}
    for mixer in MIXERS:
        arch = Architecture.preset("ffnet_1")
        data = arch.to_dict()
        data["stages"][3]["blocks"][0]["mixer"] = mixer
        drawings[mixer] = draw(Architecture.from_dict(data))
    assert len(set(drawings.values())) == len(MIXERS)
