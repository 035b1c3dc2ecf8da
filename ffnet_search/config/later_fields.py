"""Sections of a sweep that get new fields, without which the digests of earlier runs stay as they were."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from ffnet_search.strict_yaml import Section

LATER = "left out of a dump while it is the default"  # metadata of a field that earlier versions did not have


class GrowingSection(Section):
    """A section whose fields marked by `LATER` are not dumped at their defaults: what an earlier run was made of has
    the same digest. Pydantic's own `exclude_if` does not exist in 2.11, which LiteRT's converter needs."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        for name, field in type(self).model_fields.items():
            if LATER in field.metadata and getattr(self, name) == field.default:
                content.pop(name, None)
        return content
