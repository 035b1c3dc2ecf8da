"""Files that are wrong in many ways: values of every kind in every place, raw text that no library would write, bytes
that are cut off or turned over."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import strategies as st

EVIL = "evil.nets:Class"  # a package in the current folder: importing it leaves a mark
PLAIN = [
    None, True, -1, 0, 1, 3, 0.5, 1e300, -1e-300, 2**31, 2**62, "", " ", "a", "adamw", "ffnet_1", "latency_ms",
    "accuracy",
    "a\nb\x1b[2J", "=1+1", "<script>alert(1)</script>", "../../../etc", "/dev/zero", "pipe", "$x^", "é\u2028\ud7ff",
    "a" * 300, "a" * 10**5, "x:y", EVIL, "evil.nets.Class", "evil", "os:system", "..:Net", ":", "antigravity:X",
    "postgresql://me:secret@host/x", "s3://me:secret@b", [], {}, [1], [[1]], [None], ["a", "a"], {"a": 1}, {"": {}},
    [1, 2] * 200, [{"depth": 10**9, "width": 8}], {"low": 0, "high": 10**18}, {"name": EVIL},
]  # fmt: skip
LAUGHS = "{x0: &x0 [a, a, a, a, a, a, a, a, a], " + ", ".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 10)
) + "}"  # fmt: skip
RAW_YAML = [
    LAUGHS, "[" * 1000 + "]" * 1000, "&a [*a]", "!!bool maybe", "!!int ''", "!!binary aGk=",
    "!!python/name:os.system ''",
    "2026-02-30", "2026-02-03", "1" * 400, "0x" + "f" * 50, "1e400", ".nan", "-.inf", "1:30:00", "0b2",
    "&a {<<: *a}", "[", "'", "!!set {a, b}", "? [a]\n: b", "*none", "\t",
    "!!timestamp x", "{1: 2, null: 3, true: 4, 1.5: 6}", "1_000", "@", "%",
]  # fmt: skip
RAW_JSON = [
    "[" * 10**5, "1" * 400, "NaN", "-Infinity", "1e400", '"\\ud800"', "{", "", '{"a": 1, "a": 2}', "1.0", "tru",
]  # fmt: skip


class Change(NamedTuple):
    """A change of one place of a tree: another value, a place that is gone, a key that is new."""

    place: int  # of all places, modulo their number
    kind: str
    value: Any


def changes(raw: list[str]) -> st.SearchStrategy[list[Change]]:
    values = st.one_of(
        st.sampled_from(PLAIN), st.integers(0, len(raw) - 1).map(lambda n: f"@@RAW{n}@@"), st.text(max_size=9)
    )
    one = st.builds(Change, st.integers(0, 10**6), st.sampled_from(["set", "set", "set", "drop", "add"]), values)
    return st.lists(one, min_size=1, max_size=3)


def damage() -> st.SearchStrategy[tuple[str, int, int]]:
    """What happens to the bytes of a file afterwards: mostly nothing."""
    kinds = st.sampled_from(["none"] * 12 + ["cut", "turn", "zero", "double"])
    return st.tuples(kinds, st.integers(0, 10**6), st.integers(0, 255))


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(tree: Any, changes: list[Change]) -> Any:
    tree = copy.deepcopy(tree)
    for place, kind, value in changes:
        value = copy.deepcopy(value)  # of PLAIN, for two changes at once: one would be put into itself
        every = list(places(tree))
        *above, last = every[place % len(every)] or ("",)
        inner = tree
        for step in above:
            inner = inner[step]
        if not isinstance(inner, dict | list) or (isinstance(inner, list) and not isinstance(last, int)):
            continue
        if kind == "add" and isinstance(inner, dict):
            inner[str(value)[:50]] = value
        elif kind == "drop" and last != "":
            del inner[last]
        elif last != "":
            inner[last] = value
    return tree


def as_yaml(tree: Any) -> bytes:
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=True, width=10**9)
    for number, raw in enumerate(RAW_YAML):
        text = text.replace(f"'@@RAW{number}@@'", raw)
    return text.encode("utf-8", "replace")


def as_json(tree: Any) -> bytes:
    text = json.dumps(tree)
    for number, raw in enumerate(RAW_JSON):
        text = text.replace(f'"@@RAW{number}@@"', raw)
    return text.encode("utf-8", "replace")


CELLS = [
    "", " ", "x", "-1", "2", "1e400", "nan", "inf", "1_0", "0x1", "٣", "1,5", '"', "'", "a" * 10**5, "1" * 400,
    "../../secret", "/dev/zero", "pipe", "pictures", "pictures/0.png\0", "=1+1", "\x1b[2J", "a\nb", "\r",
    "\ufeff", ";", "\t",
]  # fmt: skip


def cells() -> st.SearchStrategy[list[tuple[int, int, str]]]:
    """Places of a table, and what they hold instead."""
    values = st.one_of(st.sampled_from(CELLS), st.text(max_size=9))
    return st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), values), min_size=1, max_size=3)


def as_csv(rows: list[list[object]], changes: list[tuple[int, int, str]]) -> bytes:
    """The table as text, in which cells are as they are: their quotes and commas count."""
    rows = [list(row) for row in rows]
    for row, column, cell in changes:
        rows[row % len(rows)][column % len(rows[0])] = cell
    return "\n".join(",".join(map(str, row)) for row in rows).encode("utf-8", "replace")


def damaged(content: bytes, how: tuple[str, int, int]) -> bytes:
    kind, place, value = how
    if kind == "none" or not content:
        return content
    place %= len(content)
    if kind == "cut":
        return content[:place]
    if kind == "turn":
        return content[:place] + bytes([content[place] ^ (value or 1)]) + content[place + 1 :]
    if kind == "zero":
        return content[:place] + bytes(len(content) - place)
    return content[:place] + content


def change_study(path: Path, table: int, column: int, value: Any) -> None:
    """Set a column of all rows, or of half of them, to a value of any type, which SQLite allows."""
    with closing(sqlite3.connect(path)) as database, database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        name = tables[table % len(tables)]
        columns = [row[1] for row in database.execute(f"pragma table_info({name})")]
        if isinstance(value, list | dict | bool):
            value = json.dumps(value)
        if isinstance(value, int) and abs(value) >= 2**63:
            value = str(value)
        which = "" if column % 2 else " where rowid % 2 = 0"
        with suppress(sqlite3.IntegrityError):  # a value that SQLite does not take
            database.execute(f"update or ignore {name} set {columns[column % len(columns)]} = ?{which}", (value,))
