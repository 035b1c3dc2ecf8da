"""The loader of YAML files: values as they look, no key twice.

Files may be untrusted, so their nesting, aliases and numbers are limited before anything is built from them.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from ffnet_search.errors import SweepError, shown
from ffnet_search.files.bounded import DEPTH, DIGITS, MAX_FLOAT, MAX_INT

NODES = 20_000  # values of a YAML file, those behind an alias counted each time
TAGS = "tag:yaml.org,2002:"
INVISIBLE = "\u00a0\u2007\u200b\u202f\u3000\ufeff"  # no-break spaces and the like, which web pages and editors insert
_NO_TEXT = re.compile(r"[\0\ud800-\udc7f\udd00-\udfff]")  # no file can have it as a name; those left out are its bytes


class _Loader(yaml.SafeLoader):
    """A SafeLoader that reads `1e-4` as a number, refuses repeated keys, and limits what it builds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0
        self._measures: dict[int, tuple[int, int]] = {}  # of a node by its id: values and levels, aliases followed

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._level += 1
        if self._level > DEPTH:
            raise _refused(self.peek_event(), f"must have at most {DEPTH} levels of lists and mappings, but has more")
        event = self.peek_event()
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        if node is not None and isinstance(event, yaml.AliasEvent) and id(node) not in self._measures:
            raise _refused(event, f"the alias {shown(event.anchor)} stands within what it names; remove it")
        if node is not None:
            self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> None:
        if id(node) in self._measures:
            return
        inner = [self._measures[id(child)] for child in _children(node)]
        count, depth = 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)
        if count > NODES or depth > DEPTH:
            most = f"{NODES:,} values" if count > NODES else f"{DEPTH} levels of lists and mappings"
            raise _refused(node, f"must hold at most {most}, each alias (*name) counted as what it names; remove some")
        self._measures[id(node)] = count, depth

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
            value = shown(node.value) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            kind = node.tag.removeprefix(TAGS)
            raise _refused(node, f"{value} cannot be read as {kind}{reason}; correct or quote it") from None


def _refused(place: Any, problem: str) -> SweepError:
    """The error of a node or an event."""
    return SweepError(f"line {place.start_mark.line + 1}: {problem}")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    return [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else []


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    if any(not isinstance(child, yaml.ScalarNode) for child, _ in node.value):
        raise _refused(node, "keys must be words, but one is a list or a mapping")
    seen: set[str] = set()
    for child, _ in node.value:
        if child.style is None and child.value.strip(INVISIBLE) != child.value:
            raise _refused(child, "a key has an invisible character beside it that is no blank; type it again")
        if child.value in seen and child.tag != f"{TAGS}merge":
            raise _refused(child, f"the key {shown(child.value)} is given twice; remove one")
        seen.add(child.value)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


def _must_be_decimal(node: yaml.ScalarNode) -> None:
    """Refuse what YAML 1.1 does not read as it looks: `1:30` as 90, `010` as 8."""
    if re.search(r":|^[-+]?0[0-7_]+$", node.value):
        raise _refused(
            node,
            f"{shown(node.value)} is no decimal number: YAML counts by 60 at a colon, and by 8 after a "
            "leading 0; write it out, or quote it as text",
        )


def _bounded_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    _must_be_decimal(node)
    if len(node.value) <= 4 * DIGITS:  # else it need not be made
        number = int(loader.construct_yaml_int(node))
        if abs(number) <= MAX_INT:
            return number
    raise _refused(node, f"a whole number must be within +-{MAX_INT}, but is {shown(node.value)}")


def _bounded_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    _must_be_decimal(node)
    number = float(loader.construct_yaml_float(node))
    if MAX_FLOAT < abs(number) < math.inf or (math.isinf(number) and "inf" not in node.value.lower()):
        raise _refused(node, f"a number must be within +-{MAX_FLOAT:g}, but is {shown(node.value)}")
    return number


def _clean_str(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_yaml_str(node))
    if _NO_TEXT.search(text):
        raise _refused(node, f"text must hold no NUL and no half of a surrogate pair, but is {shown(text)}; remove it")
    return text


_Loader.add_constructor(f"{TAGS}map", _mapping_without_repeats)
_Loader.add_constructor(f"{TAGS}str", _clean_str)
_Loader.add_constructor(f"{TAGS}int", _bounded_int)
_Loader.add_constructor(f"{TAGS}float", _bounded_float)
for _kind in ("binary", "set", "omap", "pairs"):  # no field takes them
    del _Loader.yaml_constructors[f"{TAGS}{_kind}"]


def load_yaml(text: str) -> Any:
    """The value that a YAML text holds. Raises SweepError or YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
