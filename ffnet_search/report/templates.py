"""The templates of the report: HTML and SVG files beside this one, which escape what they are given."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

import jinja2

from ffnet_search.formatting import UNBROKEN, percent, plural, sentence_case

# Cells of numbers are left alone too: they are never broken, and are copied into spreadsheets.
ASIDE = re.compile(
    rf'(<(script|style|pre|code|svg)\b.*?</\2>|<(t[dh]) class="number">.*?</\3>|<[^>]*>)|{UNBROKEN.pattern}', re.S
)


@lru_cache
def load_template(name: str) -> jinja2.Template:
    """The template of that file name. A name that it is not given is an error."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"plural": plural, "percent": percent, "sentence_case": sentence_case}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string((files(__package__) / name).read_text(encoding="utf-8"))


def unbroken(page: str) -> str:
    """HTML in which no line ends between a number and its unit; tags, scripts and drawings are left alone.

    >>> unbroken('<p title="5 ms">5 ms, and <code>--latency-ms 5</code></p>')
    '<p title="5 ms">5&nbsp;ms, and <code>--latency-ms 5</code></p>'"""
    return ASIDE.sub(lambda found: found[1] or "&nbsp;", page)
