"""The base of all validated, immutable objects that are configuration."""

import json
from collections.abc import Mapping
from typing import Any, Self, get_args

import pydantic

from d3data.errors import D3DataError, RecipeError, nearest


class Frozen(pydantic.BaseModel):
    """An immutable record whose fields are its configuration; unknown keys are errors."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        json_schema_serialization_defaults_required=True,
    )

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], *, where: str, error: type[D3DataError] = RecipeError
    ) -> Self:
        """Validate `values`, or raise `error` with each fault, its place and the nearest key."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as failure:
            faults = "; ".join(_fault(cls, entry) for entry in failure.errors())
            raise error(f"{where}: {faults}") from None

    def dump(self) -> dict[str, Any]:
        """The record as JSON values."""
        dumped: dict[str, Any] = json.loads(self.model_dump_json())
        return dumped


def _fault(model: type[pydantic.BaseModel], entry: Any) -> str:
    place = _printable(".".join(str(step) for step in entry["loc"]))
    if entry["type"] == "extra_forbidden":
        *path, key = entry["loc"]
        return f"unknown key {place!r}: {nearest(str(key), _keys(model, path))}"
    said = _printable(entry["msg"].removeprefix("Value error, "))
    given = entry.get("input")
    if not isinstance(given, Mapping | pydantic.BaseModel):  # else it is all of a record
        said = f"{said} (got {_short(given)})"
    return f"{place}: {said}" if place else said


def _keys(model: type[pydantic.BaseModel], path: list[Any]) -> list[str]:
    """The keys known at `path` of `model`: fields go by name, united models by `kind`."""
    here = [model]
    for step in path:
        fields = [m.model_fields[step] for m in here if step in m.model_fields]
        kinds = [m for m in here if _kind(m) == step]
        here = kinds or [m for field in fields for m in _models(field.annotation)] or here
    return [key for m in here for key in m.model_fields]


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]


def _kind(model: type[pydantic.BaseModel]) -> Any:
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
