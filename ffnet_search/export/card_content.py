"""The fields of a `card.json` that this program reads again, with their types: a folder may be untrusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ffnet_search.errors import NAME, shown
from ffnet_search.files.bounded import must_be_date

WORDS = {  # of Pydantic's kinds of errors
    "dict_type": "a mapping", "model_type": "a mapping", "list_type": "a list", "tuple_type": "a list",
    "string_type": "text", "float_type": "a number", "int_type": "a whole number",
}  # fmt: skip
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Each = dict[str, Share | None]  # of outputs; None where test has none of them


def _must_be_name(name: str) -> str:
    if name and Path(name).name != name:
        raise ValueError("must be the name of a file in the folder")
    return name


FileName = Annotated[str, AfterValidator(_must_be_name)]


class _Content(BaseModel):
    model_config = ConfigDict(strict=True)


class _Details(_Content):
    """Facts that tasks of this program write; those of others may write more."""

    recall: Each = {}
    precision: Each = {}
    images: dict[str, Annotated[int, Field(ge=0)]] = {}
    confused: list[Annotated[tuple[str, str, int], Field(strict=False)]] = []
    confusion: list[list[Amount]] = []
    iou: Each = {}
    average_precision: Each = {}
    mae: dict[str, Amount | None] = {}
    constant: dict[str, Amount | None] = {}
    bicubic_psnr_y: float | None = None
    worst: FileName = ""
    errors: FileName = ""
    caption: str = ""

    @model_validator(mode="after")
    def _of_the_same_classes(self) -> _Details:
        for one in (self.precision, self.images):
            if one and self.recall and one.keys() != self.recall.keys():
                raise ValueError("recall, precision and images must be of the same classes")
        return self


class _Card(_Content):
    metrics: dict[str, Any] = {}
    order: list[float] = []
    data: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    training: dict[str, Any] = {}
    details: _Details = _Details()
    date: Annotated[str, AfterValidator(must_be_date)] = ""


def must_be_card(card: dict[str, Any], path: Path) -> None:
    """Raise ValueError, with the first field of another type, where this is no card."""
    try:
        _Card.model_validate(card)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place, words = ".".join(map(str, first["loc"]))[:NAME], WORDS.get(first["type"])
        wrong = f"must be {words}, but is {shown(first['input'])}" if words else f"is not valid ({first['msg'][:NAME]})"
        raise ValueError(f"{path}: {place} {wrong}") from None
