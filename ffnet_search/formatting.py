"""Numbers and lists in messages: three significant digits, a space before the unit."""

from __future__ import annotations

import math
import os
import re
import shlex
import textwrap
from collections.abc import Collection, Sequence
from typing import IO, Any

FORMULA = tuple("=+-@\t\r")
MARKUP = re.compile(r"[\\`*\[\]<>|&]|:(?=//)")
COMMAND = re.compile(r"`[^`]*`|(?<=: )ffnet-search .*$")  # to be copied, so that it stays on one line
# Between a number and its unit, its error or what it counts: `63.02 ± 3.48 %`, `5.7 M MACs`, `32 x 32 pixels`, and
# between the width of a stage and its first block: `24: k3+3 e1 x1`.
UNBROKEN = re.compile(r"(?<=\d)\s+(?=[A-Za-zµ%±])|(?<=\d [Mx])\s+(?=\w)|(?<=[±≤≥])\s+(?=[\d.])|(?<=\d:)\s+(?=[a-z]+\d)")
BLANK = "\ue000"  # for a blank of a command, or of `UNBROKEN`, while lines are broken


def figure(number: float) -> str:
    """Three significant digits, trailing zeros included, so that columns line up.

    >>> figure(0.039), figure(1.5), figure(123.4), figure(12345.6)
    ('0.0390', '1.50', '123', '12,346')"""
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:#.3g}".rstrip(".")


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage: `97.50 %`."""
    return f"{100 * share:.{digits}f} %"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(words: Collection[str]) -> str:
    """Words as a list: `a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def sentence_case(text: str) -> str:
    """The text as it begins a sentence or a title: a first word in lower case has a capital, an abbreviation stays.

    >>> sentence_case("mIoU"), sentence_case("PSNR"), sentence_case("average precision of PSNR")
    ('mIoU', 'PSNR', 'Average precision of PSNR')"""
    return text[:1].upper() + text[1:] if text.split(" ")[0].islower() else text


def first_few(words: Sequence[str], limit: int = 5) -> str:
    """The first words of a list, and the number of the others: `a, b and 7 more`."""
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more


def finite(value: Any) -> Any:
    """Plain data for JSON, which has no NaN and no infinity: None instead.

    >>> finite({"p": float("nan"), "errors": (0.5, float("inf"))})
    {'p': None, 'errors': [0.5, None]}"""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_cell(value: object) -> object:
    """A cell of a CSV file. A text that a spreadsheet would compute as a formula begins with an apostrophe.

    >>> csv_cell("=1+1"), csv_cell("adamw"), csv_cell(-0.5)
    ("'=1+1", 'adamw', -0.5)"""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def markdown(text: object) -> str:
    """The text as Markdown that shows it: no markup, links or HTML of its own, on one line.

    >>> print(markdown("[a](b) <i>"))
    \\[a\\](b) \\<i\\>"""
    return MARKUP.sub(r"\\\g<0>", " ".join(str(text).split()))


def code_span(text: object) -> str:
    """The text as code in Markdown, on one line."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def quoted(path: object) -> str:
    """A path as an argument of a command that is to be copied into a shell.

    >>> quoted("runs/digits"), quoted("my runs/digits")
    ('runs/digits', "'my runs/digits'")"""
    return shlex.quote(str(path))


def broken(text: str, width: int) -> str:
    """A line broken at blanks into lines of `width` characters; no word or command is, and no number from its unit.

    >>> print(broken("no front yet; make it with `ffnet-search run my.yaml`", 30))
    no front yet; make it with
    `ffnet-search run my.yaml`
    >>> print(broken("it takes 63.02 ± 3.48 ms here", 18))
    it takes
    63.02 ± 3.48 ms
    here"""
    whole = COMMAND.sub(lambda found: found.group().replace(" ", BLANK), text)
    whole = UNBROKEN.sub(BLANK, whole)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(BLANK, " ")


def unbroken(text: str) -> str:
    """The text with no-break spaces between each number and its unit, for a browser.

    >>> unbroken("63.02 ± 3.48 % in all")
    '63.02\\xa0±\\xa03.48\\xa0% in all'"""
    return UNBROKEN.sub("\xa0", text)


def for_stream(text: str, stream: IO[str]) -> str:
    """A line as it is printed: broken to the width of a terminal, whole elsewhere, where it is searched and copied."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return text
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:  # a stream that is no file
        width = 0
    return broken(text, width) if width else text  # 0: a terminal that does not know its width
