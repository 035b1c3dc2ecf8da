"""Numbers and lists in messages: three significant digits, a space before the unit."""

from __future__ import annotations

from collections.abc import Collection


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
