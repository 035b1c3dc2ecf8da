"""The templates of the report: HTML and SVG files beside this one, which escape what they are given."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import jinja2

from ffnet_search.formatting import percent, plural


@lru_cache
def load_template(name: str) -> jinja2.Template:
    """The template of that file name. A name that it is not given is an error."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"plural": plural, "percent": percent}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string((files(__package__) / name).read_text(encoding="utf-8"))
