"""The time until pages of a study of 5,000 trials answer, in a real browser (Chromium and its driver).

    python benchmarks/pages.py [--trials 5000] [--run RUN]

The report: until it answers to the pointer. The dashboard, in a browser that was started before: until the command has
printed its address; from opening that until the front is drawn, by the page's own clock (reading the text of such a
page through the driver takes seconds itself); in between, until the page's program runs, and until the trials arrive.
Each line is one start of the dashboard; the last has the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

from pages import Driver, dashboard, make_run, open_page, wait_for  # noqa: E402

from ffnet_search.config.sweep import Sweep  # noqa: E402

WATCH = """
    const timer = setInterval(() => {
        if (!document.querySelector('[id$="pareto-front"] .plot-container')) return
        clearInterval(timer)
        requestAnimationFrame(() => setTimeout(() => { window.drawn_ms = performance.now() }))
    }, 20)
"""
TIMES = """
    const asked = performance.getEntriesByType('resource').filter(e => e.name.match('/api/studies/[0-9]+([?]|$)'))
    return window.drawn_ms && [asked[0].startTime, asked[0].responseEnd, window.drawn_ms, asked[0].encodedBodySize]
"""


def open_dashboard(sweep: Sweep, page: Driver) -> list[float]:
    """Seconds until the address, the page's first request, its answer, the front; megabytes of the answer."""
    start = time.monotonic()
    with dashboard(sweep) as address:
        started_s = time.monotonic() - start
        page.get(address)
        times = wait_for(lambda: page.execute_script(TIMES), 120)
        page.get("about:blank")
    return [started_s, *(float(ms) / 1000 for ms in times[:3]), float(times[3]) / 1e6]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--run", type=Path, help="a run's folder, instead of a made-up one")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        sweep = Sweep.of_run(arguments.run) if arguments.run else make_run(home, arguments.trials)
        page = open_page("about:blank", home / "browser")
        page.get(sweep.files.report.as_uri())
        ready_s = float(page.execute_script("return document.documentElement.dataset.ready")) / 1000
        size_mb = sweep.files.report.stat().st_size / 1e6
        page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        rounds = [open_dashboard(sweep, page) for _ in range(arguments.rounds)]
        page.quit()
    print(f"\nThe report: {size_mb:.2f} MB, answers after {ready_s:.2f} s.\n")
    print("| dashboard: address after | then trials asked for after | answered after | front drawn after | MB |")
    print("|---|---|---|---|---|")
    for times in [*rounds, [statistics.median(column) for column in zip(*rounds, strict=True)]]:
        print("| " + " | ".join(f"{seconds:.2f} s" for seconds in times[:4]) + f" | {times[4]:.2f} |")


if __name__ == "__main__":
    main()
