"""For the API pages: examples in docstrings (`>>> ...`) are code, and their directives are not for readers."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"(?:^[ ]*(?:>>>|\.\.\.) .*\n?)+(?:^[ ]*\S.*\n?)*", re.MULTILINE)
DIRECTIVE = re.compile(r"  # doctest:.*$", re.MULTILINE)


class Doctests(Extension):
    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring:
            text = DIRECTIVE.sub("", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
