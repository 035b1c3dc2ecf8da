"""From the built wheel, in an environment without a checkout: the starter files exist, and a first sweep fits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new environment that holds the wheel, and borrows its requirements from this one."""
    here = tmp_path_factory.mktemp("newcomer")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(here / "dist"), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("the build needs hatchling, which is not available without a network")
    assert built.returncode == 0, built.stderr
    [wheel] = (here / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(here / "env")], check=True)
    [site] = (here / "env").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    install = [str(here / "env/bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--no-warn-script-location"]
    subprocess.run([*install, "--force-reinstall", str(wheel)], check=True)
    return here / "env/bin/ffnet-search"


def call(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([str(program), *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_starter_comes_with_the_wheel(program: Path, tmp_path: Path) -> None:
    done = call(program, tmp_path, "init")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sweeps/digits.yaml").read_text() == (ROOT / "sweeps/digits.yaml").read_text()
    assert call(program, tmp_path, "check", "sweeps/digits.yaml").returncode == 0


def test_a_first_sweep_for_images(program: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("ash", "birch", "oak"):
        (tmp_path / "trees" / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "trees" / name / f"{number}.png")
    done = call(program, tmp_path, "init", "--data", "trees", "--minutes", "2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["sweep"] == "trees.yaml" and 0 < sum(document["minutes"].values()) < 60
    checked = call(program, tmp_path, "check", "trees.yaml", "--json")
    assert json.loads(checked.stdout)["search_space"]["input"]["classes"] == 3


def test_shipped_sweeps_and_the_schema_come_with_the_wheel(program: Path, tmp_path: Path) -> None:
    checked = call(program, tmp_path, "check", "digits", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["folder"] == "runs/digits"
    assert call(program, tmp_path, "init", "--example", "cifar").returncode == 0
    assert (tmp_path / "sweeps/cifar.yaml").exists() and (tmp_path / "search_spaces/ffnet_cifar.yaml").exists()
    assert json.loads(call(program, tmp_path, "schema").stdout)["title"] == "A sweep of ffnet-search"
    assert call(program, tmp_path, "--version").stdout.startswith("ffnet-search ")


def test_the_description_of_the_wheel_leads_somewhere(program: Path) -> None:
    code = "from importlib.metadata import metadata; print(metadata('ffnet-search').get_payload())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command, here = [str(program.parent / "python"), "-c", code], program.parent
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    targets = re.findall(r"\]\(([^)#\s]+)", done.stdout)
    assert targets and all("://" in target for target in targets)  # to files of the tree: none without its address
