"""Take the screenshots of the documents: python tests/e2e/screenshots.py runs/digits docs/images"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

from pages import Driver, dashboard, open_page, wait_for
from PIL import Image

from ffnet_search.config.sweep import Sweep
from ffnet_search.report.page import write_report

COLOURS = 128  # of a palette: flat pages need no more, and the files stay small


def save(page: Driver, path: Path) -> None:
    time.sleep(1.5)  # charts move into place
    image = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
    image.quantize(COLOURS).save(path, optimize=True)


def main(run: Path, target: Path) -> None:
    sweep = Sweep.of_run(run)
    write_report(sweep)
    with tempfile.TemporaryDirectory() as folder:
        page = open_page(sweep.files.report.resolve().as_uri(), Path(folder) / "browser")
        save(page, target / "report.png")
        with dashboard(sweep) as address:
            page.get(address)
            wait_for(lambda: page.execute_script("return document.querySelectorAll('.js-plotly-plot').length"), 60)
            save(page, target / "dashboard.png")
            page.get("about:blank")
        page.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
