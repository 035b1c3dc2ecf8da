"""Sentences on text that is no YAML: the line, what is wrong there, and what to do.

PyYAML names its own tokens (`expected <block end>, but found '?'`), at the place where it noticed.
"""

from __future__ import annotations

import re

import yaml
from yaml.reader import ReaderError

from ffnet_search.errors import one_line

UTF_8 = "save it as text in UTF-8"
INDENT = (
    "is not indented as the lines that it belongs to, or mixes keys with items of a list (-); indent them alike, "
    "with blanks"
)
NO_PAIR = "must be `key: value`, with a colon and a blank after it"
QUOTE = "put it in quotes"
INDENTED = re.compile(r"expected (?:<block end>|('<document start>')), but found '(?:<block .+>|-|\?)'")
WHOLE = re.compile(r":(\s|$)|^\s*-(\s|$)|^[^:]*[\]},]\s*(#.*)?$")  # a line that has its colon, or needs none
BRACKETS = re.compile(r"parsing a flow (?:sequence|mapping): expected ',' or '(.)', but got '(.+)'")
OPEN_QUOTES = re.compile(r"quoted scalar: found unexpected (?:end|document)")
# Words of PyYAML, its context before them -> ours. {0}: what the group holds.
SENTENCES = {
    r"found character '\\t' that cannot start": "a tab is here, where YAML takes blanks; indent with blanks",
    r"found character (.+) that cannot start": f"a value must not begin with {{0}}; {QUOTE}",
    r"double-quoted scalar: ": (
        "in double quotes a backslash must begin an escape such as \\n; write a path of Windows in single quotes"
    ),
    r"scanning an? (alias|anchor): ": f"a value that begins with * or & names another one; if it is text, {QUOTE}",
    r"found undefined alias (.+)": f"the alias {{0}} names no value before it; if it is text, {QUOTE}",
    r"scanning a block scalar: ": f"a value must not begin with | or > where text follows in the line; {QUOTE}",
    r"(could not determine a constructor for the tag .+)": f"{{0}}; remove it, or if it is text, {QUOTE}",
    r"found duplicate anchor (.+?);": "the anchor {0} is given twice; rename one",
    r"but found another document": "the file must hold one document, but --- begins another one; remove it",
    r"sequence entries are not allowed here": f"the items of a list must begin a new line; if the - is text, {QUOTE}",
    r"expected the node content, but found (.+)": "a value is missing before {0}; write it, or remove a comma",
    r"expected (?:<block end>|'<document start>'), but found '([\]\[{},])'": (
        "{0} is one too many, or stands in the wrong place; remove it, or put the text that it is part of in quotes"
    ),
    r"expected <block end>, but found '<scalar>'": (
        "text follows its closing quote; close the quotes where the text ends, here or in a line before, and "
        "write a quote within the text twice"
    ),
}


def syntax_sentence(error: Exception, text: str = "") -> str:
    """The sentence on why a text cannot be read as YAML; `text` is empty where the bytes are none."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"line {line}: the byte {error.object[error.start]:#04x} is not in UTF-8; {UTF_8}"
    if isinstance(error, ReaderError):
        line, code = text.count("\n", 0, error.position) + 1, f"U+{error.character:04X}"
        return f"line {line}: the control character {code} must not be here; remove it, or save the file in UTF-8"
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return one_line(error)
    begin = error.context_mark or mark
    problem = one_line(f"{error.context or ''}: {error.problem or 'it cannot be parsed'}")
    if error.problem == "mapping values are not allowed here":
        return _colon(text, mark)
    if error.problem == "could not find expected ':'":
        return f"line {begin.line + 1} {NO_PAIR}"
    if found := INDENTED.search(problem):
        return _line_before(text, mark) if found[1] else f"line {mark.line + 1} {INDENT}"
    if found := BRACKETS.search(problem):
        return _brackets(found[1], found[2], begin, mark)
    if OPEN_QUOTES.search(problem):
        return f"{_place(begin)}: the text in quotes that begins here has no end; close its quotes"
    for words, ours in SENTENCES.items():
        if found := re.search(words, problem):
            return f"{_place(mark)}: {ours.format(*found.groups())}"
    return f"{_place(mark)}: {error.problem}; see to the indentation, quotes and brackets there"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _brackets(closing: str, found: str, begin: yaml.Mark, mark: yaml.Mark) -> str:
    """The sentence on a list or a mapping in brackets where something else is found."""
    opening = "[" if closing == "]" else "{"
    if found == "<stream end>":
        return f"{_place(begin)}: the {opening} here is not closed; add its {closing}"
    return (
        f"{_place(begin)}: the {opening} here must have commas between its values, and {closing} after the last, but "
        f"one of them is missing before line {mark.line + 1}, column {mark.column + 1}; add it"
    )


def _colon(text: str, mark: yaml.Mark) -> str:
    """The sentence on a colon that ends no key: a second one in its line, or one of a misplaced line."""
    line = "".join(text.splitlines()[mark.line : mark.line + 1])
    if re.search(r":\s", line[: mark.column]):
        return f"{_place(mark)}: a value with a colon and a blank in it must be in quotes; add them"
    return _line_before(text, mark)


def _line_before(text: str, mark: yaml.Mark) -> str:
    """The sentence on a line that is misplaced, or comes after one without a colon."""
    before = enumerate(text.splitlines()[: mark.line], 1)
    number, last = next(reversed([pair for pair in before if re.match(r"\s*[^\s#]", pair[1])]), (mark.line + 1, ""))
    return f"line {number} {NO_PAIR}" if not WHOLE.search(last) else f"line {mark.line + 1} {INDENT}"
