"""JSON Schema of a sweep and of a search space, for editors that complete and check YAML.

It describes the files as users may write them, with the accepted shorthands: a single value for a list of one, a class
path for a plugin without arguments. Rules between fields are left to `check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ffnet_search.config.sweep import Sweep
from ffnet_search.space.registry import TASKS, task_outputs
from ffnet_search.space.search_space import SearchSpace

Kind = Literal["sweep", "space"]
FOLDER = ".ffnet-search"  # beside a sweep: the files that an editor is sent to
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Validators that read another spelling, by name -> the schema of that; "item": of one item of the list.
SPELLINGS: Mapping[str, JsonSchemaValue | Literal["item"]] = {
    "as_list": "item",
    "_one_or_several": "item",
    "_a_list_is_choices": {"type": "array"},
    "_spelled": {"type": "string"},
    "_tpe_is_multivariate": {"type": "string"},
}


class _FileSchema(GenerateJsonSchema):
    """Pydantic's schema, with the shorthands of files."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        other = SPELLINGS.get(getattr(schema["function"]["function"], "__name__", ""))
        if other == "item":
            other = inner.get("items", {})
        return inner if other is None else {"anyOf": [inner, other]}

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_wrap_schema(schema)
        if getattr(schema["function"]["function"], "__name__", "") != "_one_or_two":
            return inner
        return {"anyOf": [inner, {"type": "array", "items": inner, "minItems": 2, "maxItems": 2}]}

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return {}  # the head of an architecture, which its task reads


def json_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of a sweep's file, or of a search space's."""
    model = Sweep if kind == "sweep" else SearchSpace
    schema = model.model_json_schema(by_alias=True, schema_generator=_FileSchema)
    definitions = schema["$defs"]
    for name, definition in definitions.items():
        definitions[name] = _closed(definition)
    images = definitions["InputChoices"]  # outputs have the word of the task
    words = {task_outputs(name).outputs_word for name in TASKS}
    images["properties"] |= dict.fromkeys(words, images["properties"]["classes"])
    images["required"] = [name for name in images["required"] if name != "classes"]
    space = definitions["SearchSpace"] if kind == "sweep" else schema
    space["properties"]["architecture"]["anyOf"].append({"type": "string"})  # a preset or a file
    if kind == "sweep":
        schema["required"].remove("name")  # the file's, by default
        schema["properties"]["search_space"] = {"anyOf": [{"type": "string"}, schema["properties"]["search_space"]]}
    return {"$schema": DIALECT, **schema, "title": f"A {kind} of ffnet-search".replace("space", "search space")}


def _closed(definition: JsonSchemaValue) -> JsonSchemaValue:
    """A model with shorthands: unknown keys are refused in the branch of its fields alone."""
    if "properties" in definition or "anyOf" not in definition:
        return definition
    branches = list(_branches(definition["anyOf"]))
    closed = [{**branch, "additionalProperties": False} if "properties" in branch else branch for branch in branches]
    return {**{key: value for key, value in definition.items() if key != "additionalProperties"}, "anyOf": closed}


def _branches(schemas: Iterable[JsonSchemaValue]) -> Iterator[JsonSchemaValue]:
    for schema in schemas:
        if set(schema) == {"anyOf"}:
            yield from _branches(schema["anyOf"])
        else:
            yield schema


def schema_line(kind: Kind) -> str:
    """The comment by which editors find the schema that `init` writes beside a file."""
    return f"# yaml-language-server: $schema={FOLDER}/{kind}.schema.json"
