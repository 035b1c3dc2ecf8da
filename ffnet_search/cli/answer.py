"""The answer of a verb: its result as a table or a JSON document, or the error in place of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from json import dumps
from typing import Any, TypeVar

import typer

from ffnet_search.progress import say

T = TypeVar("T")


def answer(json: bool, value: T, document: Callable[[T], dict[str, Any]], show: Callable[[T], None]) -> None:
    """Print the result of a verb on standard output: as a JSON document, or as `show` prints it."""
    if json:
        _print_document(document(value))
    else:
        show(value)


def answer_error(message: str, code: int, json: bool) -> None:
    """Print why a verb has no result: one line on standard error; with `json` a document, too."""
    say(f"ffnet-search: {message}")
    if json:
        _print_document({"error": message, "exit_code": code})


def _print_document(document: Mapping[str, Any]) -> None:
    typer.echo(dumps(document, indent=1, default=str))


@contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """Discard standard error within the block, if `quiet`."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if quiet else nullcontext():
        yield
