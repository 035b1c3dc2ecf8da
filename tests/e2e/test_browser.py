"""The report of 5,000 trials and Optuna Dashboard in a real browser: they load, they answer, nothing fails.

Needs Chromium and its driver (Debian: chromium, chromium-driver); skipped without them.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

sys.path.append(str(Path(__file__).parents[1]))
from test_pipeline import table_of

from ffnet_search.architecture import Architecture
from ffnet_search.export import write_network
from ffnet_search.models.fuse import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.proposal import Proposal
from ffnet_search.report import annotate_study, write_report
from ffnet_search.runfolder import open_run
from ffnet_search.search.study import distributions, open_study, params_of
from ffnet_search.search_space import SearchSpace
from ffnet_search.sweep import Sweep

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
TRIALS = 5000
Driver = webdriver.Chrome


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_run(tmp_path_factory.mktemp("runs"), TRIALS)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_run(tmp_path_factory.mktemp("runs"), 500)


def make_run(folder: Path, count: int) -> Sweep:
    """A run with so many trials, some of them infeasible, and three exported networks."""
    file = folder / "big.yaml"
    spaces = Path(__file__).parents[2] / "search_spaces"
    limits = "search: {constraints: {macs_m: 3.0}}"
    file.write_text(f"search_space: {spaces / 'ffnet_digits.yaml'}\nruns: {folder}\n{limits}\n")
    sweep, rng = Sweep.from_yaml(file), random.Random(0)
    space, axes = sweep.search_space, distributions(sweep.search_space)
    trials: list[Any] = []
    best: list[tuple[float, Architecture]] = []
    while len(trials) < count:
        arch = space.sample(rng)
        score, ms = 0.99 - 0.02 / arch.macs_m + rng.gauss(0, 0.002), arch.macs_m / 100
        known = {"key": arch.key, "architecture": str(arch), "latency_ms": ms}
        known |= {"params_m": arch.params_m, "macs_m": arch.macs_m}
        common: dict[str, Any] = {"params": params_of(space, Proposal(arch)), "distributions": axes}
        common["constraints"] = {"macs_m": arch.macs_m / 3 - 1}
        if arch.macs_m > 3:
            trials.append(create_trial(state=TrialState.PRUNED, user_attrs=known, **common))
        else:
            best.append((score, arch))
            trials.append(create_trial(values=[score, ms], user_attrs={**known, "accuracy": score}, **common))
    with open_run(sweep) as opened:
        opened.write_sweep(sweep)
        with open_study(sweep.files.study, sweep.search.directions, "x") as (writer, _):
            writer.add(trials)
        small = SearchSpace.model_validate(
            {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1], "width": [16, 32]}]}
        )
        table_of(small).save(sweep.latency_path)
        for number, (score, arch) in enumerate(sorted(best, key=lambda item: -item[0])[:3], 1):
            to = sweep.files.pareto / f"{number:02d}-{arch.key}"
            to.mkdir(parents=True)
            net = MetaMixer(arch).eval()
            write_network(to, net, fuse(net), 17)
            metrics = {"search_accuracy": score, "test_accuracy": score, "predicted_ms": arch.macs_m / 100}
            metrics |= {"measured_ms": 0.05 - number / 100, "measured_spread": 0.01}
            metrics |= {"params_m": arch.params_m, "macs_m": arch.macs_m}
            card = {"key": arch.key, "metrics": metrics, "data": {"fingerprint": "f00"}, "date": "2026-01-01"}
            (to / "card.json").write_text(json.dumps(card))
        start = time.monotonic()
        write_report(sweep)
        print(f"report of {count} trials: {time.monotonic() - start:.1f} s")
    return sweep


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Opens a page and fails where its console has an error."""
    opened: list[Driver] = []

    def browse(address: str, phone: bool = False, dark: bool = False) -> Driver:
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / str(len(opened))}", "--window-size=1400,1000"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if phone:
            metrics = {"width": 390, "height": 844, "pixelRatio": 1}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        opened.append(driver)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        driver.get(address)
        return driver

    yield browse
    errors = [entry for driver in opened for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    for driver in opened:
        driver.quit()
    assert errors == []


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not show what was waited for"
        time.sleep(0.05)
    return found


def test_the_report_answers(run: Sweep, browse: Callable[..., Driver]) -> None:
    assert run.files.report.stat().st_size < 5e6
    page = browse(run.files.report.as_uri())
    ready_ms = float(page.execute_script("return document.documentElement.dataset.ready"))
    print(f"ready after {ready_ms:.0f} ms")
    slider, winner = page.find_element(By.ID, "slider"), page.find_element(By.ID, "winner")
    folders = sorted(path.parent.name for path in run.files.pareto.glob("*/card.json"))
    assert folders[0] in winner.text  # the most accurate is within the greatest budget
    assert "model.onnx" in winner.text
    set_slider = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    page.execute_script(set_slider, slider, "0.0301")
    assert folders[1] in winner.text
    page.execute_script(set_slider, slider, slider.get_attribute("min"))
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
    back = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == dark


def test_every_picture_has_words_and_every_control_a_name(run: Sweep, browse: Callable[..., Driver]) -> None:
    page = browse(run.files.report.as_uri())
    for picture in page.find_elements(By.CSS_SELECTOR, "svg[role=img]"):
        assert picture.accessible_name
    for control in page.find_elements(By.CSS_SELECTOR, "input, select"):
        assert control.accessible_name
    assert page.find_element(By.CSS_SELECTOR, "#picks caption").text
    levels = [int(heading.tag_name[1]) for heading in page.find_elements(By.CSS_SELECTOR, "h1, h2, h3")]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))


def test_the_dashboard_shows_front_trial_artifact_and_note(small_run: Sweep, browse: Callable[..., Driver]) -> None:
    command = [sys.executable, "-m", "ffnet_search.cli", "dashboard", str(small_run.files.folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
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
    finally:
        server.send_signal(2)
        assert server.wait(timeout=10) == 0, server.stderr and server.stderr.read()


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
        time.sleep(4)
        page = browse("http://127.0.0.1:18099/dashboard/studies/1/note")
        wait_for(lambda: "Open the report" in page.find_element(By.TAG_NAME, "body").text)
        page.get("about:blank")
    finally:
        server.terminate()
        server.wait(timeout=10)
