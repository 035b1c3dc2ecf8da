"""The report of 5,000 trials and Optuna Dashboard in a real browser: they load, they answer, nothing fails.

Needs Chromium and its driver (Debian: chromium, chromium-driver); skipped without them.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pages import BROWSER, DRIVER, Driver, dashboard, make_run, open_page, wait_for
from patience import PATIENCE_S
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ffnet_search.config.sweep import Sweep
from ffnet_search.report.annotate import annotate_study

pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
TRIALS = 5000
SET_SLIDER = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_run(tmp_path_factory.mktemp("runs"), TRIALS)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_run(tmp_path_factory.mktemp("runs"), 500)


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Opens a page and fails where its console has an error."""
    opened: list[Driver] = []

    def browse(address: str, phone: bool = False, dark: bool = False) -> Driver:
        opened.append(open_page(address, tmp_path / str(len(opened)), phone, dark))
        return opened[-1]

    yield browse
    errors = [entry for driver in opened for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    for driver in opened:
        driver.quit()
    assert errors == []


def test_the_report_answers(run: Sweep, browse: Callable[..., Driver]) -> None:
    assert run.files.report.stat().st_size < 5e6
    page = browse(run.files.report.as_uri())
    ready_ms = float(page.execute_script("return document.documentElement.dataset.ready"))
    print(f"ready after {ready_ms:.0f} ms")
    slider, winner = page.find_element(By.ID, "slider"), page.find_element(By.ID, "winner")
    folders = sorted(path.parent.name for path in run.files.pareto.glob("*/card.json"))
    assert folders[0] in winner.text  # the most accurate is within the greatest budget
    winner.find_element(By.TAG_NAME, "summary").click()
    assert "model.onnx" in winner.text
    page.execute_script(SET_SLIDER, slider, "0.0301")
    assert folders[1] in winner.text
    page.execute_script(SET_SLIDER, slider, slider.get_attribute("min"))
    assert folders[2] in winner.text
    link = page.find_element(By.CSS_SELECTOR, "#winner li a").get_attribute("href")
    assert link is not None and Path(link.removeprefix("file://")).exists()


def test_the_report_tells_architectures_to_pointer_and_keyboard(run: Sweep, browse: Callable[..., Driver]) -> None:
    page = browse(run.files.report.as_uri())
    chart, tip = page.find_element(By.CSS_SELECTOR, "#front svg"), page.find_element(By.ID, "tip")
    page.execute_script("arguments[0].focus({preventScroll: true})", chart)
    chart.send_keys(Keys.ARROW_RIGHT)
    assert "exported" in tip.text and "stem 16" in tip.text
    chart.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    dots = page.find_element(By.CSS_SELECTOR, "#front .dots")
    page.execute_script(
        "const [svg, path] = arguments, p = path.getPointAtLength(0), m = svg.getScreenCTM();"
        "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: p.x * m.a + m.e, clientY: p.y * m.d + m.f}))",
        chart,
        dots,
    )
    assert "on search validation" in tip.text
    for option in page.find_elements(By.CSS_SELECTOR, "#axis option"):
        option.click()
        assert page.find_element(By.CSS_SELECTOR, "#front .front").get_attribute("d")


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_a_phone_and_the_dark(run: Sweep, browse: Callable[..., Driver], dark: bool) -> None:
    page = browse(run.files.report.as_uri(), phone=True, dark=dark)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    cells = page.find_elements(By.CSS_SELECTOR, "#exported tbody tr:first-child td")
    assert "%" in cells[0].text and cells[1].text.endswith(" ms")
    end = page.execute_script("return arguments[0].getBoundingClientRect().right", cells[1])
    assert end <= 390, "accuracy and latency need no scrolling"
    back = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == dark


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (768, 1024), (390, 844)])
def test_the_first_sentence_and_the_front_need_no_scrolling(
    run: Sweep, browse: Callable[..., Driver], width: int, height: int
) -> None:
    page = browse("about:blank")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get(run.files.report.as_uri())
    wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#front svg .axis"))
    bottoms = "return ['header > p', '#front svg'].map(s => document.querySelector(s).getBoundingClientRect().bottom)"
    sentence, front = page.execute_script(bottoms)
    assert 0 < sentence < front <= height
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_numbers_of_the_report_have_three_digits(run: Sweep, browse: Callable[..., Driver]) -> None:
    page = browse(run.files.report.as_uri())
    slider, number = page.find_element(By.ID, "slider"), page.find_element(By.ID, "budget")
    for value, text in (("0.0301234", "0.0302"), ("0.04", "0.0400"), ("0.0200001", "0.0201")):
        page.execute_script(SET_SLIDER, slider, value)
        assert number.get_attribute("value") == text
    number.send_keys(Keys.ARROW_UP)
    assert number.get_attribute("value") == "0.0202"
    chart = page.find_element(By.CSS_SELECTOR, "#front svg")
    page.execute_script("arguments[0].focus({preventScroll: true})", chart)
    chart.send_keys(Keys.ARROW_RIGHT)
    assert "0.0200 ms measured" in page.find_element(By.ID, "tip").text
    for kind in ("middle", "end"):
        marks = [mark.text for mark in chart.find_elements(By.CSS_SELECTOR, f"text[text-anchor={kind}]")]
        assert len({len(mark.partition(".")[2]) for mark in marks if mark.replace(".", "").isdigit()}) == 1


def test_every_image_has_words_and_every_control_a_name(run: Sweep, browse: Callable[..., Driver]) -> None:
    page = browse(run.files.report.as_uri())
    for image in page.find_elements(By.CSS_SELECTOR, "svg[role=img]"):
        assert image.accessible_name
    for control in page.find_elements(By.CSS_SELECTOR, "input, select"):
        assert control.accessible_name
    assert page.find_element(By.CSS_SELECTOR, "#exported caption").text
    levels = [int(heading.tag_name[1]) for heading in page.find_elements(By.CSS_SELECTOR, "h1, h2, h3")]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))


def test_the_dashboard_shows_front_trial_artifact_and_note(small_run: Sweep, browse: Callable[..., Driver]) -> None:
    with dashboard(small_run) as address:
        assert address.startswith("http://127.0.0.1:")
        start = time.monotonic()
        page = browse(address)

        def text() -> str:
            return page.find_element(By.TAG_NAME, "body").text

        wait_for(lambda: "Pareto Front" in text() and "latency_ms" in text())
        print(f"first page: {time.monotonic() - start:.1f} s, the browser's start included")
        best = next(path.parent.name for path in sorted(small_run.files.pareto.glob("*/card.json")))
        page.get(f"{address}/note")
        wait_for(lambda: best in text() and "Open the report" in text())
        report = page.find_element(By.LINK_TEXT, "Open the report").get_attribute("href")
        study = page.execute_async_script(
            "const done = arguments[0]; fetch('/api/studies/1').then(r => r.json()).then(done)"
        )
        assert all(trial["state"] == "Complete" for trial in study["best_trials"])
        shown = next(trial for trial in study["trials"] if len(trial["artifacts"]) == 3)
        page.get(f"{address}/trials?numbers={shown['number']}")
        wait_for(lambda: "On the front." in text() and "network.svg" in text() and "card.json" in text())
        page.get(report)
        wait_for(lambda: best in page.find_element(By.ID, "winner").text)
        page.get("about:blank")  # it would ask on, and find nobody there


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def test_the_plain_dashboard_works_as_well(small_run: Sweep, browse: Callable[..., Driver]) -> None:
    annotate_study(small_run)
    command = [
        sys.executable,
        "-c",
        "from optuna_dashboard._cli import main; main()",
        f"sqlite:///{small_run.files.study}",
    ]
    command += ["--artifact-dir", str(small_run.files.artifacts), "--port", "18099"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers("http://127.0.0.1:18099/dashboard"), 60)
        page = browse("http://127.0.0.1:18099/dashboard/studies/1/note")
        wait_for(lambda: "Open the report" in page.find_element(By.TAG_NAME, "body").text)
        page.get("about:blank")
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE_S)


HOSTILE = (
    "=1+1</script></svg><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    "[a](javascript:document.title='taken')![b](http://192.0.2.1/b)<svg onload=\"document.title='taken'\">"
)


def assert_harmless(page: Driver) -> None:
    """What a stranger wrote is text: no element or link of it is in the page, and none of it ran."""
    assert page.title != "taken"
    assert page.find_elements(By.CSS_SELECTOR, "img[src=x], img[src*='192.0.2.1'], [onerror], [onload]") == []
    assert page.find_elements(By.CSS_SELECTOR, "a[href^='javascript:']") == []


def test_what_a_stranger_wrote_stays_text(tmp_path: Path, browse: Callable[..., Driver]) -> None:
    (tmp_path / "runs").mkdir()
    sweep = make_run(tmp_path / "runs", 60, HOSTILE)
    page = browse(sweep.files.report.as_uri())
    assert "onerror=" in page.find_element(By.TAG_NAME, "body").get_attribute("textContent")
    assert_harmless(page)
    with dashboard(sweep) as address:
        for place in ("note", "trials?numbers=0", "trials?numbers=60"):
            page.get(f"{address}/{place}")
            wait_for(lambda: "Limits" in page.page_source or "Trial" in page.page_source)
            time.sleep(1)  # the page draws on
            assert_harmless(page)
        page.get("about:blank")
