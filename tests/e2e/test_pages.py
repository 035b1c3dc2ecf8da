"""Every code block of the documents is run, in the order of the site, in one folder with images in it.

A block whose first line is a comment with a file's name is written to that file. Shell and Python blocks are run, each
as its own process; what follows `<!-- not run: REASON -->` is not, and the reason is for readers of the source.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
FILE = re.compile(r"# ([\w.-]+\.(?:py|yaml))$", re.M)
SHOWN = ("text", "")  # not code


@dataclass(frozen=True)
class Block:
    """A piece of code in a page. `line`: where it stands."""

    page: str
    line: int
    kind: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name that it is written under, where its first line gives one."""
        found = FILE.match(self.text)
        return found and found[1]


def pages() -> list[Path]:
    """In the order of the site, then README."""
    names = [name for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"] for name in entry.values()]
    return [*(ROOT / "docs" / name for name in names), ROOT / "README.md"]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page.name, text[: found.start("text")].count("\n"), found["kind"], found["text"], found["reason"])
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in pages() for block in blocks_of(page)]


def test_every_page_is_on_the_site() -> None:
    assert {path.name for path in pages()} >= {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_block_is_run_or_says_why_not() -> None:
    for block in BLOCKS:
        assert block.kind in ("sh", "python", "yaml", *SHOWN), f"{block} is of kind {block.kind!r}"
        assert block.reason is None or len(block.reason.split()) > 3, f"{block}: a reason is a sentence"
        assert block.kind != "yaml" or block.file or block.reason, f"{block}: a YAML block begins with # NAME.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `flowers/`, 600 real images of three classes, and the installed commands."""
    here = tmp_path_factory.mktemp("pages")
    digits = load_digits()
    for label, name in enumerate(("daisy", "rose", "tulip")):
        (here / "flowers" / name).mkdir(parents=True)
        chosen = digits.images[digits.target == label][:100]
        for number, levels in enumerate(chosen):
            pixels = np.kron(levels / 16 * 255, np.ones((2, 2))).astype(np.uint8)
            Image.fromarray(pixels).save(here / "flowers" / name / f"{number}.png")
    (here / "bin").mkdir()
    for name, words in {"ffnet-search": "-m ffnet_search", "python": ""}.items():
        (here / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (here / "bin" / name).chmod(0o755)
    return here


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind not in SHOWN and not block.reason], ids=str)
def test_a_block_does_what_it_says(block: Block, folder: Path) -> None:
    if block.file:
        (folder / block.file).write_text(block.text)
        return
    command = {"sh": ["bash", "-ec"], "python": [sys.executable, "-c"]}[block.kind]
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "TERM": "dumb"}
    done = subprocess.run([*command, block.text], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
