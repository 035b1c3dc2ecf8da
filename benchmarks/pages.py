"""How long a person waits for pages of a study of 5,000 trials, in a real browser (Chromium and its driver).

    python benchmarks/pages.py [--trials 5000] [--run RUN]

The report: until it answers to the pointer. The dashboard: until the address is printed, then until the front is drawn,
of which the server took so long to answer; in a browser that was started before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

from pages import dashboard, make_run, open_page, wait_for  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

from ffnet_search.sweep import Sweep  # noqa: E402

DRAWN = "return document.querySelectorAll('.js-plotly-plot .plot-container').length"
ANSWER = """
    const asked = performance.getEntriesByType('resource').filter(e => e.name.match('/api/studies/[0-9]+([?]|$)'))
    return Math.max(...asked.map(e => e.duration))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--run", type=Path, help="a run's folder, instead of a made-up one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        sweep = Sweep.of_run(arguments.run) if arguments.run else make_run(home, arguments.trials)
        page = open_page("about:blank", home / "browser")
        page.get(sweep.files.report.as_uri())
        ready_s = float(page.execute_script("return document.documentElement.dataset.ready")) / 1000
        size_mb = sweep.files.report.stat().st_size / 1e6
        start = time.monotonic()
        with dashboard(sweep) as address:
            started_s = time.monotonic() - start
            start = time.monotonic()
            page.get(address)
            wait_for(lambda: "Pareto Front" in page.find_element(By.TAG_NAME, "body").text, 120)
            wait_for(lambda: page.execute_script(DRAWN), 120)
            drawn_s = time.monotonic() - start
            answer_s = float(page.execute_script(ANSWER)) / 1000
            page.get("about:blank")
        page.quit()
    print("| report MB | answers after | dashboard: address after | front drawn after | of it, the server |")
    print("|---|---|---|---|---|")
    print(f"| {size_mb:.2f} | {ready_s:.2f} s | {started_s:.1f} s | {drawn_s:.1f} s | {answer_s:.1f} s |")


if __name__ == "__main__":
    main()
