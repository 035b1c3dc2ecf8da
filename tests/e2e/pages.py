"""Pages in a real browser: Chromium without a window, and a run with any number of trials."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import TrialState, create_trial
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")]
from patience import PATIENCE_S
from small_sweeps import table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.network import write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.report.page import write_report
from ffnet_search.run.folder.run_folder import open_run
from ffnet_search.search.storage.study import open_study
from ffnet_search.search.storage.trial_params import distributions, params_of
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
Driver = webdriver.Chrome


def make_run(folder: Path, count: int, hostile: str = "") -> Sweep:
    """A run with so many trials, some of them infeasible, and three exported networks.

    `hostile`: a text that stands wherever a sweep, a trial or a card holds words, class names among them, but for
    dates, which are refused."""
    file = folder / "big.yaml"
    spaces = Path(__file__).parents[2] / "search_spaces"
    limits = "search: {constraints: {macs_m: 3.0}}"
    data = f"data: {{name: image_folder, path: {json.dumps(hostile)}}}\n" if hostile else ""
    file.write_text(f"search_space: {spaces / 'ffnet_digits.yaml'}\nruns: {folder}\n{limits}\n{data}")
    sweep, rng = Sweep.from_yaml(file), random.Random(0)
    space, axes = sweep.search_space, distributions(sweep.search_space)
    trials: list[Any] = []
    best: list[tuple[float, Architecture]] = []
    while len(trials) < count:
        arch = space.sample(rng)
        score, ms = 0.99 - 0.02 / arch.macs_m + rng.gauss(0, 0.002), arch.macs_m / 100
        known = {"key": arch.key, "architecture": str(arch), "latency_ms": ms}
        known |= {"params_m": arch.params_m, "macs_m": arch.macs_m}
        common: dict[str, Any] = {"params": params_of(space, Configuration(arch)), "distributions": axes}
        common["constraints"] = {"macs_m": arch.macs_m / 3 - 1}
        if arch.macs_m > 3:
            trials.append(create_trial(state=TrialState.PRUNED, user_attrs=known, **common))
        else:
            best.append((score, arch))
            trials.append(create_trial(values=[score, ms], user_attrs={**known, "accuracy": score}, **common))
    if hostile:
        reason = {**known, "key": "f" * 12, "reason": hostile, "traceback": hostile, "origin": hostile}
        trials.append(create_trial(state=TrialState.FAIL, user_attrs=reason, **common))
        trials[0].set_user_attr("origin", hostile)
    with open_run(sweep) as opened:
        opened.write_sweep(sweep)
        with open_study(sweep.files.study, sweep.search.directions, "x") as writer:
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
            if hostile:
                card["input"] = {"channels": 1, "resolution": 8, "classes": [hostile]}
                card |= {"summary": hostile, "hyperparameters": {hostile: hostile}}
            (to / "card.json").write_text(json.dumps(card))
        start = time.monotonic()
        write_report(sweep)
        print(f"report of {count} trials: {time.monotonic() - start:.1f} s")
    return sweep


def open_page(address: str, profile: Path, phone: bool = False, dark: bool = False) -> Driver:
    """A browser of its own with one page. `profile`: an empty folder for what it remembers."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1400,1000"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if phone:
        metrics = {"width": 390, "height": 844, "pixelRatio": 1}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get(address)
    return driver


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not show what was waited for"
        time.sleep(0.05)
    return found


@contextmanager
def dashboard(sweep: Sweep) -> Iterator[str]:
    """The address of `ffnet-search dashboard` on a run; it must end well when it is interrupted."""
    command = [sys.executable, "-m", "ffnet_search", "dashboard", str(sweep.files.folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
    finally:
        server.send_signal(2)
        assert server.wait(timeout=PATIENCE_S) == 0, server.stderr and server.stderr.read()
