"""The report: one HTML file that holds all and needs nothing, for FFNets and for user-supplied modules."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fidelities import ALONE, compared
from runs import ffnet_run, module_run

from ffnet_search.export.groups import read_groups
from ffnet_search.latency.timing import SHARED_RATIO
from ffnet_search.report.architecture_svg import describe
from ffnet_search.report.data import Run, script_data
from ffnet_search.report.fidelity import fidelity_section
from ffnet_search.report.front_image import as_png, draw_front
from ffnet_search.report.page import LISTED_TRIALS, TOP_AXES, write_report
from ffnet_search.report.page import page as page_in_html
from ffnet_search.search.history import MIN_CANDIDATES, LearningCurve

VOID = {"meta", "link", "input", "li", "br", "img", "path", "rect", "circle"}  # li: its end may be left out


def page(run: Run) -> str:
    """The report as it is read, whose blanks between numbers and units look as others do."""
    return page_in_html(run).replace("&nbsp;", " ")


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


def checked(html: str) -> Tags:
    """The tags of a page, which must be closed, and whose ids must be unique."""
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    return tags


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    html = page(ffnet_run(tmp_path))
    elsewhere = [link for link in checked(html).links if not link.startswith(("#", "pareto/", "data:,"))]
    assert elsewhere == []
    assert "@import" not in html


@pytest.mark.parametrize(("task", "each", "values"), [
    ("multilabel", "average_precision", (0.5, 0.75)),
    ("regression", "mae", (50.0, 75.0)),
])  # fmt: skip
def test_outputs_and_worst_images_of_a_network_are_shown(
    task: str, each: str, values: tuple[float, float], tmp_path: Path
) -> None:
    run = ffnet_run(tmp_path, task=task)
    assert "are hard" not in page(run) and "<img" not in page(run)
    for value, network in zip(values, run.exported, strict=True):
        details: dict[str, Any] = {each: {"sky": value, "<b>": None}, "worst": "worst.png"}
        details |= {"constant": {"sky": 99.5, "<b>": None}} if task == "regression" else {}
        path = network.folder / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"details": details}))
    html = page(run)
    links = checked(html).links
    assert [link for link in links if "worst" in link] == [
        f"pareto/{one.folder.name}/worst.png" for one in run.exported
    ]
    assert f"Which {run.task.outputs_word} are hard?" in html
    cells = [run.task.quality.format(value) for value in values] + ["99.5"] * (task == "regression")
    assert re.search("<td>sky</td>" + "".join(f"<td[^>]*>{cell}</td>" for cell in cells), html)
    assert ("the median alone" in html) == (task == "regression")
    assert re.search(r"<td>&lt;b&gt;</td><td[^>]*>none in test</td>", html)


def test_the_errors_of_the_first_network_stand_beside_its_classes_and_wait_for_no_scrolling(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    details = {"recall": {"a": 0.5, "b": 1.0}, "precision": {"a": 1.0, "b": 0.6}, "images": {"a": 2, "b": 2}}
    for network in run.exported:
        path = network.folder / "card.json"
        content = json.loads(path.read_text()) | {"details": {**details, "errors": "errors.png"}}
        path.write_text(json.dumps(content))
    html = page(run)
    images = [link for link in checked(html).links if link.endswith("errors.png")]
    assert sorted(images) == sorted(f"pareto/{one.folder.name}/errors.png" for one in run.exported)
    section = html[html.index('id="outputs"') : html.index('id="search-title"')]
    assert f'src="pareto/{run.first.folder.name}/errors.png"' in section and "lazy" not in html


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    curve = LearningCurve(0, "</svg><b>broken", {1: 0.2, 2: 0.6}, stopped=False)
    importances = {"accuracy": {"<b>broken": 1.0}}
    failures = (("abc", "</script><b>broken"),)
    run = ffnet_run(tmp_path, failures=failures, importances=importances, curves=(curve,), curved="accuracy")
    (run.exported[0].folder / "<b>broken").touch()
    html = page(run)
    checked(html)
    assert "<b>broken" not in html and html.count("&lt;b&gt;broken") == 5  # a file has a link and a text


def test_the_page_names_every_file_of_the_front(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    html = page(run)
    for network in run.exported:
        assert f'href="pareto/{network.folder.name}/model.onnx"' in html
        assert f'id="row-{network.folder.name}"' in html
        assert describe(network.network) in html
    assert "7 architectures beyond parameters ≤ 0.2 M" in html


def test_the_reference_point_of_the_search_is_stated(tmp_path: Path) -> None:
    assert "its reference point" not in page(ffnet_run(tmp_path))
    (tmp_path / "other").mkdir()
    html = page(ffnet_run(tmp_path / "other", reference={"accuracy": 0.25, "latency_ms": 1.5}))
    assert "better than accuracy 25.00 % and latency 1.50 ms, its reference point" in " ".join(html.split())


@pytest.mark.parametrize(
    ("kept", "head", "sentence"),
    [
        ((), "alone, measured", ""),
        ((True, True), "alone, retrained, measured", ""),
        ((False, False), "alone, measured", "did not make any of them better on search validation, so they keep"),
        ((False, True), "alone, measured", "made 1 of them better on search validation; the other keeps the weights"),
    ],
)
def test_a_retraining_that_was_no_gain_is_not_called_one(
    kept: tuple[bool, ...], head: str, sentence: str, tmp_path: Path
) -> None:
    run = ffnet_run(tmp_path)
    for network, better in zip(run.exported, kept, strict=False):
        card = json.loads((network.folder / "card.json").read_text())
        (network.folder / "card.json").write_text(json.dumps(card | {"retraining": {"kept": better}}))
    text = " ".join(page(run).split())
    assert f"2 networks of the front were rebuilt {head}" in text
    assert sentence in text and ("Retraining" in text) == bool(sentence)
    assert ("retrained and as inherited" in text) == any(kept)


def test_a_single_network_has_no_rival(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    text = " ".join(page(replace(run, exported=run.exported[:1])).split())
    assert "1 network of the front was rebuilt alone" in text
    groups = {"search": {"01-a": "a"}, "test": {"01-a": "a", "02-b": "ab"}}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    assert read_groups(tmp_path) == {"search": {}, "test": groups["test"], "folds": {}}


def test_the_script_has_its_data(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    text = re.search(r'id="data">(.*?)</script>', page(run), re.DOTALL)
    assert text is not None
    assert json.loads(text.group(1)) == json.loads(json.dumps(script_data(run)))


def test_a_user_supplied_task_is_shown_by_its_quality(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path, task="user_task:Regression", importances={"mae": {"stage1.depth": 1.0}})
    html = page(run)
    checked(html)
    assert "accuracy" not in html
    assert "highest rank by error" in html and "<strong>0.5 mm</strong>" in html and "for error" in html
    assert script_data(run)["metrics"]["search_mae"]["label"] == "error on search validation, mm"
    assert as_png(draw_front(run)).startswith(b"\x89PNG")


def test_a_supernet_that_was_judged_has_its_verdict_and_its_chart(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    assert "Can the ranking be trusted?" not in page(run)
    fidelity = compared([value - 0.1 for value in ALONE], ALONE, again=(0, 11))
    html = page(replace(run, fidelity=fidelity))
    checked(html)
    section = html.split("Can the ranking be trusted?")[1].split("</section>")[0]
    assert fidelity.sentence in section
    assert section.count("<circle") == len(ALONE) + 2  # and a ring for each that was trained twice
    assert "smallest: inherited 40.00 %, alone 50.00 %, again 52.00 %" in section
    assert "near the front (6)" in section and "of 2 networks trained twice" in section


def test_the_dots_of_equal_qualities_are_on_the_diagonal(tmp_path: Path) -> None:
    scatter = fidelity_section(compared(ALONE, ALONE)).scatter
    x0, y0, x1, y1 = scatter.ends
    for dot in scatter.dots:
        assert (dot.x - x0) / (x1 - x0) == pytest.approx((dot.y - y0) / (y1 - y0), abs=0.01)
        assert scatter.left <= dot.x <= scatter.right and scatter.top <= dot.y <= scatter.bottom


@pytest.mark.parametrize(("contention", "said"), [(SHARED_RATIO, False), (SHARED_RATIO + 0.1, True)])
def test_a_busy_machine_is_named(tmp_path: Path, contention: float, said: bool) -> None:
    run = ffnet_run(tmp_path)
    assert run.table is not None
    setting = run.table.setting.model_copy(update={"contention": contention})
    html = page(replace(run, table=run.table.model_copy(update={"setting": setting})))
    assert ("Other programs used the cores meanwhile" in html) == said


@pytest.mark.parametrize(("axes", "shown"), [(TOP_AXES, TOP_AXES), (TOP_AXES + 1, TOP_AXES)])
def test_the_largest_importances_are_shown(tmp_path: Path, axes: int, shown: int) -> None:
    shares = {f"axis{number}": 1 / axes for number in range(axes)}
    html = page(ffnet_run(tmp_path, importances={"accuracy": shares}))
    assert html.count('<span class="bar"') == shown


@pytest.mark.parametrize(("evaluated", "shown"), [(MIN_CANDIDATES - 1, False), (MIN_CANDIDATES, True)])
def test_a_user_supplied_module_has_importances_of_its_metric(tmp_path: Path, evaluated: int, shown: bool) -> None:
    sweep = module_run(tmp_path, evaluated)
    html = write_report(sweep).read_text().replace("&nbsp;", " ")
    checked(html)
    assert ("for val_loss" in html) == shown
    assert "test_loss" in html and "module.hidden" in html
    assert f"{evaluated} trials trained" in html  # the learning curves
    assert sweep.files.front_png.stat().st_size > 1000


@pytest.mark.parametrize(("evaluated", "listed"), [(LISTED_TRIALS, LISTED_TRIALS), (LISTED_TRIALS + 1, LISTED_TRIALS)])
def test_the_best_trials_are_listed(tmp_path: Path, evaluated: int, listed: int) -> None:
    html = write_report(module_run(tmp_path, evaluated)).read_text()
    best = html.split('id="best"')[1].split("</table>")[0]
    assert best.count("<tr>") == listed + 1  # the head


def test_no_line_of_the_report_ends_between_a_number_and_its_unit(tmp_path: Path) -> None:
    """Cells of numbers and code aside, which the style sheet keeps whole."""
    html = page_in_html(ffnet_run(tmp_path))
    prose = re.sub(r'(?s)<(script|style|pre|code|svg)\b.*?</\1>|<td class="number">.*?</td>', "", html)
    text = re.sub("<[^>]*>", "", prose)
    assert re.search(r"\d&nbsp;ms\b", text) and re.search(r"\d&nbsp;%", text)
    assert re.findall(r"\d\s+(?:%|ms|MB|images|networks|architectures|candidates|±)|±\s+\d", text) == []


def test_titles_keep_abbreviations_and_files_have_words(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path, task="multilabel")
    for network in run.exported:
        (network.folder / "worst.png").touch()
        path = network.folder / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"details": {"worst": "worst.png"}}))
    html = page(run)
    assert "<h3>mAP</h3>" in html
    assert 'worst.png</a> <span class="muted">its worst images on test</span>' in html
