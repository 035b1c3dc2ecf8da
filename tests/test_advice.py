"""Every command that the program or its documents advise is one that the command line takes, with its arguments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from command_parser import PROGRAM, VERBS, parsed

ROOT = Path(__file__).parents[1]
UsageError = typer.BadParameter.__mro__[1]  # of the click that this Typer has
# In code marks, from a colon to the end of the sentence, or alone; words about what a verb did are no advice.
VERB = "|".join(VERBS)
ADVISED = re.compile(
    rf"`({PROGRAM} [^`]+)`(?! (?:wrote|trains|on)\b)|(?<=: )({PROGRAM} [^`\n(,;]+)|^({PROGRAM} (?:{VERB}) .+)$"
)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(rf"`({PROGRAM} \w+ [^`]+)`")


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module with their lines, docstrings left out; a value in a text stands as 1, a verb as run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            aside.update(id(first.value) for first in node.body[:1] if isinstance(first, ast.Expr))
        if isinstance(node, ast.JoinedStr):
            aside.update(map(id, node.values))
    for node in ast.walk(tree):
        if id(node) in aside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            text = ""
            for part in node.values:
                value = str(part.value) if isinstance(part, ast.Constant) else "1"
                text += "run" if value == "1" and text.endswith(f"{PROGRAM} ") else value
            yield node.lineno, text


def advised() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob("ffnet_search/**/*.py")):
        for line, text in sentences(path):
            for found in ADVISED.finditer(text):
                yield f"{path.relative_to(ROOT)}:{line}", found[1] or found[2] or found[3]
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            lines = re.sub(r"\\\n", " ", block[1]).splitlines()
            yield from ((page.name, line) for line in lines if line.startswith(PROGRAM))


def mentioned() -> Iterator[tuple[str, str]]:
    """What documents and templates name in a line, perhaps without its arguments."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("ffnet_search/**/*.j2")]:
        yield from ((page.name, found[1]) for found in INLINE.finditer(page.read_text(encoding="utf-8")))


COMMANDS = sorted(set(advised()))


def test_the_messages_are_found() -> None:
    places = {place.partition(":")[0] for place, _ in COMMANDS}
    assert {"README.md", "ffnet_search/export/answer.py", "ffnet_search/latency/table.py"} <= places


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=lambda text: text)
def test_an_advised_command_is_taken(place: str, command: str) -> None:
    try:
        parsed(command)
    except UsageError as error:
        pytest.fail(f"{place}: {command}: {error}")


@pytest.mark.parametrize(("place", "command"), sorted(set(mentioned())), ids=lambda text: text)
def test_a_mentioned_command_has_known_options(place: str, command: str) -> None:
    try:
        parsed(command)
    except UsageError as error:
        if str(error).startswith("No such option"):
            pytest.fail(f"{place}: {command}: {error}")


@pytest.mark.parametrize("command", ["ffnet-search train", "ffnet-search pick runs/my --miou 0.9", "ffnet-search pik"])
def test_a_command_that_is_not_taken_is_noticed(command: str) -> None:
    with pytest.raises((UsageError, AssertionError)):
        parsed(command)
