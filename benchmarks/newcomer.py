"""The path of a new user, in minutes per step: from the built wheel to a Pareto front for an image folder.

    python benchmarks/newcomer.py [--pictures FOLDER] [--minutes 5] [--latency-ms MS] [--share]

Without --pictures: five classes of CIFAR-10, 300 + 100 images each, from the archive beside this repository, or where
there is none handwritten digits. With --share the new environment borrows the packages of this one, so that "install"
is this package alone. The last steps are the answer: the folder that `pick` prints, and its predict.py on an image.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).parents[1]
ARCHIVE = REPO.parent / "shared" / "data" / "cifar10-jpeg.tar.gz"
CLASSES = ("cat", "dog", "frog", "ship", "truck")
COUNTS = {"train": 300, "test": 100}


def some_pictures(folder: Path) -> Path:
    """Five classes of CIFAR-10 as people have them on disk: FOLDER/train/CLASS/NUMBER.jpg."""
    if not ARCHIVE.exists():
        return some_digits(folder)
    left = {(split, name): count for split, count in COUNTS.items() for name in CLASSES}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            parts = tuple(Path(member.name).parts[-3:-1])
            if member.isfile() and left.get(parts, 0):  # type: ignore[call-overload]
                left[parts] -= 1  # type: ignore[index]
                archive.extract(member, folder, filter="data")
    return folder


def some_digits(folder: Path) -> Path:
    """Handwritten digits, which come with scikit-learn, as FOLDER/CLASS/NUMBER.png."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (levels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(levels / 16 * 255).astype(np.uint8)).save(folder / str(label) / f"{number:04d}.png")
    return folder


class Steps:
    """Real processes in an empty folder, and what each took."""

    def __init__(self, home: Path) -> None:
        self.home, self.seconds = home, dict[str, float]()
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def step(self, name: str, *command: object) -> str:
        print(f"$ {' '.join(map(str, command))}", file=sys.stderr, flush=True)
        start = time.monotonic()
        done = subprocess.run(
            list(map(str, command)), cwd=self.home, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        self.seconds[name] = time.monotonic() - start
        print(done.stdout, file=sys.stderr, flush=True)
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}")
        return done.stdout

    def until(self, name: str, ready: Callable[[str], bool], *command: object) -> None:
        """Seconds until a line is printed that `ready` takes; the process is then stopped."""
        start = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)), cwd=self.home, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        if not any(ready(line) for line in process.stdout):
            sys.exit(f"{name} ended with {process.wait()}")
        self.seconds[name] = time.monotonic() - start
        process.send_signal(2)
        process.wait(timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--latency-ms", type=float)
    parser.add_argument("--share", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        pictures = arguments.pictures.resolve() if arguments.pictures else some_pictures(home / "objects")
        steps = Steps(home)
        steps.step("build the wheel", sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", REPO)
        [wheel] = (home / "dist").glob("*.whl")
        began = time.monotonic()
        steps.step("install", sys.executable, "-m", "venv", "env")
        if arguments.share:
            [site] = (home / "env").glob("lib/python*/site-packages")
            (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
        extra = ["--no-deps", wheel] if arguments.share else [f"{wheel}[dashboard]"]
        steps.step("install", home / "env/bin/python", "-m", "pip", "install", "-q", *extra)
        steps.seconds["install"] = time.monotonic() - began
        program = home / "env/bin/ffnet-search"
        limit = [] if arguments.latency_ms is None else ["--latency-ms", arguments.latency_ms]
        steps.step(
            "init", program, "init", "--data", pictures, "--name", "mine", "--minutes", arguments.minutes, *limit
        )
        steps.step("run", program, "run", "mine.yaml")
        steps.step("show", program, "show", "runs/mine")
        steps.step("list", program, "list")
        answer = steps.step("pick", program, "pick", "runs/mine", "--latency-ms", arguments.latency_ms or 100).strip()
        image = next(path for path in sorted(pictures.rglob("*")) if path.suffix in (".png", ".jpg"))
        steps.step("predict", home / "env/bin/python", home / answer / "predict.py", image)
        dashboard = [program, "dashboard", "runs/mine", "--port", 0]
        steps.until("dashboard", lambda line: line.startswith("http"), *dashboard)
    print("\n| " + " | ".join([*steps.seconds, "all"]) + " |")
    print("|" + "---|" * (len(steps.seconds) + 1))
    minutes = [*steps.seconds.values(), sum(steps.seconds.values())]
    print("| " + " | ".join(f"{seconds / 60:.2f} min" for seconds in minutes) + " |")
    if arguments.share:
        print("\nThe packages that it needs were installed already (--share).")


if __name__ == "__main__":
    main()
