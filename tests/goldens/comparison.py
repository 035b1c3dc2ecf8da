"""Goldens as text, and the differences between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def differences(golden: Any, found: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """The places where two documents differ. A list of numbers is compared relative to the largest of them."""
    if isinstance(golden, dict) and isinstance(found, dict):
        for key in [*golden, *(key for key in found if key not in golden)]:
            if key not in golden or key not in found:
                yield f"{place}/{key}: is {'new' if key in found else 'lost'}"
            else:
                yield from differences(golden[key], found[key], tolerance, f"{place}/{key}")
        if list(golden) != list(found) and golden.keys() == found.keys():
            yield f"{place}: the order was {list(golden)}, but is {list(found)}"
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        if golden and all(isinstance(one, float) for one in (*golden, *found)):
            bound = tolerance * max(map(abs, golden))
            if not all(abs(a - b) <= bound for a, b in zip(golden, found, strict=True)):
                yield f"{place}: was {golden}, but is {found}"
        else:
            for index, pair in enumerate(zip(golden, found, strict=True)):
                yield from differences(*pair, tolerance, f"{place}/{index}")
    elif isinstance(golden, float) and isinstance(found, float):
        if not abs(golden - found) <= tolerance * abs(golden):
            yield f"{place}: was {golden!r}, but is {found!r}"
    elif golden != found or type(golden) is not type(found):
        yield f"{place}: was {golden!r}, but is {found!r}"


def as_text(content: Any, indent: int = 0) -> str:
    """JSON, on one line if that is short."""
    line = json.dumps(content, ensure_ascii=False)
    if not isinstance(content, dict | list) or len(line) + indent <= 118:
        return line
    if isinstance(content, list) and not any(isinstance(value, dict | list) for value in content):
        return line
    margin, inner = " " * indent, " " * (indent + 1)
    if isinstance(content, dict):
        items = [f"{json.dumps(str(key))}: {as_text(value, indent + 1)}" for key, value in content.items()]
    else:
        items = [as_text(value, indent + 1) for value in content]
    opening, closing = "{}" if isinstance(content, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{margin}{closing}"
