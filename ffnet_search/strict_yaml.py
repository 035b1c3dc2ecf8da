"""Strict reading of YAML: unknown and repeated keys are errors, and every error is one sentence.

Files may be untrusted, so their size, nesting, aliases and numbers are limited before anything is built from them.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ffnet_search.errors import NAME, SweepError, did_you_mean, error_context, nearest_file, one_line, shown
from ffnet_search.files.bounded import DEPTH, DIGITS, KIB, MAX_FLOAT, MAX_INT, read_bounded
from ffnet_search.formatting import quoted

# Pydantic's words and ours, longer ones first.
COMPARISONS = {"greater than or equal to": ">=", "less than or equal to": "<=", "greater than": ">", "less than": "<"}
ModelT = TypeVar("ModelT", bound=BaseModel)
YAML_BYTES = 256 * KIB  # of a file: read within seconds, and 50 times the largest that is shipped
NODES = 20_000  # values of a YAML file, those behind an alias counted each time
TAGS = "tag:yaml.org,2002:"
_NO_TEXT = re.compile(r"[\0\ud800-\udc7f\udd00-\udfff]")  # no file can have it as a name; those left out are its bytes
_UNION = re.compile(r"(literal|dict|list|tuple|constrained-\w+|function-\w+)\[")  # Pydantic's words in a place


class Section(BaseModel):
    """A section of a YAML file: frozen; unknown keys are errors, and so are numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


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


def as_list(value: Any) -> Any:
    """A single value as a tuple of one, for fields where YAML may leave out the brackets."""
    return value if isinstance(value, list | tuple) else (value,)


def read_yaml(path: Path, otherwise: str = "") -> dict[str, Any]:
    """Return the mapping in a YAML file.

    `otherwise` is the advice for a missing file that no other file resembles. Raises SweepError if the file is missing,
    invalid or not a mapping."""
    try:
        text = read_bounded(path, YAML_BYTES).decode("utf-8")
        with error_context(path):
            data = _load(text)
    except FileNotFoundError:
        raise SweepError(f"{path}: no such file{nearest_file(path) or otherwise}") from None
    except IsADirectoryError:
        run, init = path / "sweep.yaml", f"for images, `ffnet-search init --data {quoted(path)}` writes one"
        hint = f"its sweep is {run}" if run.exists() else init
        raise SweepError(f"{path}: must be a YAML file, but is a folder; {hint}") from None
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SweepError(f"{path}: is not valid YAML: {_syntax(error)}") from None
    if not isinstance(data, dict):
        held = {type(None): "is empty", list: "holds a list"}.get(type(data), "holds none")  # which may be a secret
        raise SweepError(f"{path}: must hold a mapping of keys to values, but {held}")
    return data


def _syntax(error: Exception) -> str:
    """A parser's error in a sentence: the problem, and its line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return one_line(error) + "; save it as text in UTF-8" * isinstance(error, UnicodeDecodeError)
    problem = str(getattr(error, "problem", "")) or "it cannot be parsed"
    tab = "; indent with blanks" if "'\\t'" in problem else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{tab}"


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def parse(model: type[ModelT], data: Any, where: str, **context: Any) -> ModelT:
    """Validate `data` as `model`. Raises SweepError, whose sentence starts with `where` (a file or a section)."""
    try:
        return model.model_validate(data, context=context or None)
    except ValidationError as error:
        raise SweepError(f"{where}: " + "; ".join(_sentence(model, detail) for detail in error.errors())) from None


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    steps = [str(step)[:NAME] for step in detail["loc"] if not _UNION.match(str(step))]
    place = ".".join(steps)
    if kind == "invalid_key" or (kind == "string_type" and steps[-1:] == ["[key]"]):
        steps = [step for step in steps if step != "[key]"]
        return f"{'.'.join([*steps[:-1], 'keys'])} must be text, but one is {shown(value)}; put it in quotes"
    if kind == "extra_forbidden":
        key, keys = str(detail["loc"][-1]), list(_keys_at(model, detail["loc"][:-1]))
        return f"{place} is not a known key{_belongs(model, key, detail['loc'], keys) or did_you_mean(key, keys)}"
    if kind == "missing":
        return f"{place} must be given"
    if kind == "value_error":
        message = str(detail.get("ctx", {}).get("error", detail["msg"]))
        return f"{place}: {message}" if place else message
    rule = re.sub(r"^(Input|Value|Tuple|String) should ", "must ", detail["msg"])
    for words, sign in COMPARISONS.items():
        rule = rule.replace(words, sign)
    rule = re.sub(r" after validation, not \d+$", "", rule)
    if kind in ("string_type", "path_type"):
        rule = "must be text"
    # YAML reads yes, 12 and 2026-11-26 as a truth value, a number and a date
    quote = "; put it in quotes" if rule == "must be text" and isinstance(value, bool | int | float | date) else ""
    return f"{place} {rule}, but got {shown(value)}{quote}"


def _belongs(model: type[BaseModel], key: str, path: tuple[int | str, ...], keys: Iterable[str]) -> str:
    """A hint for a misplaced key: the section that it belongs to. Empty if no section has it, or if it looks more like
    one of the `keys` allowed here."""
    if difflib.get_close_matches(key, keys, n=1, cutoff=0.55):
        return ""
    if len(path) > 1 and key in model.model_fields:
        return f"; {key!r} belongs at the top of the file"
    homes = [
        name for name, field in model.model_fields.items()
        if name != path[0] and any(key in inner.model_fields for inner in _models_in(field.annotation))
    ]  # fmt: skip
    return f"; {key!r} belongs in {' or '.join(homes)}" if homes else ""


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        if field is None:  # a key of a mapping, whose values are of `model`
            continue
        candidates = _models_in(field.annotation)
        if not candidates:
            return ()
        model = candidates[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
