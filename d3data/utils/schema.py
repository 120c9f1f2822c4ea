"""The base class of configuration: immutable records, validated with readable errors."""

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self, get_args

import pydantic
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import CoreSchema

from d3data.errors import D3DataError, RecipeError, nearest
from d3data.utils.text import cut, printable

MOST_KEYS = 10_000  # of one table
MOST_FAULTS = 10  # in the message about one record
MOST_CHARACTERS = 2_000  # of a message


def _stop_early(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "tuple" and "variadic_item_index" in schema:
            schema["fail_fast"] = True
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            _stop_early(inner)


def stored_as(key: str, **field: Any) -> Any:
    """A field that has another name in files, `key`: both are read, `key` is written."""
    return Field(validation_alias=key, serialization_alias=key, **field)


def unless_given(**values: Any) -> pydantic.BeforeValidator:
    """Of a field that is a record: what a table leaves out of it is so, as in its default."""
    return pydantic.BeforeValidator(
        lambda table: {**values, **table} if isinstance(table, Mapping) else table
    )


class Frozen(pydantic.BaseModel):
    """An immutable record whose fields are its configuration; unknown keys are errors."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        validate_by_name=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: pydantic.GetCoreSchemaHandler
    ) -> CoreSchema:
        """Stop at the first fault of a list, so that a long one costs no more than a short one."""
        schema = handler(source)
        _stop_early(schema)
        return schema

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], *, where: str, error: type[D3DataError] = RecipeError
    ) -> Self:
        """Validate `values`, or raise `error` with the faults, their places and the nearest keys.

        The message has the first fault of each list, and at most 10 in all.
        """
        if _wide(values):
            raise error(f"{where}: a table has more than {MOST_KEYS:,} keys")
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as failure:
            raise error(f"{where}: {_message(cls, failure)}") from None

    def dump(self) -> dict[str, Any]:
        """The record as JSON values."""
        dumped: dict[str, Any] = json.loads(self.model_dump_json())
        return dumped


class Extended(Frozen):
    """A record that had fewer fields when the first of its kind were written.

    Fields that are `later` are left out of what is dumped where they have their defaults, so that
    the digest of a record that does without them stays.
    """

    later: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _as_before(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = {k for k in self.later if getattr(self, k) == type(self).model_fields[k].default}
        return {name: value for name, value in whole(self).items() if name not in unused}


def _wide(values: Any) -> bool:
    """Whether a table has too many keys, at any depth."""
    level = [values]
    while level := [value for value in level if isinstance(value, dict | list | tuple)]:
        if any(isinstance(value, dict) and len(value) > MOST_KEYS for value in level):
            return True
        level = [v for x in level for v in (x.values() if isinstance(x, dict) else x)]
    return False


def _message(model: type[pydantic.BaseModel], failure: pydantic.ValidationError) -> str:
    entries: list[Any] = failure.errors(include_url=False, include_context=False)
    pairs = pairwise([{"loc": ()}, *entries])
    entries = [entry for before, entry in pairs if not _follows_from(before, entry)]
    faults = [_fault(model, entry) for entry in entries[:MOST_FAULTS]]
    if more := len(entries) - len(faults):
        faults.append(f"and {more} more")
    return cut("; ".join(faults), MOST_CHARACTERS)


def _follows_from(before: Any, entry: Any) -> bool:
    """Whether a list is said to be too short only because it ended with its first fault."""
    inside = before is not None and before["loc"][: len(entry["loc"])] == entry["loc"]
    return bool(inside and entry["type"] == "too_short")


def _fault(model: type[pydantic.BaseModel], entry: Any) -> str:
    if entry["type"] == "extra_forbidden":
        *path, key = entry["loc"]
        names, here = _found(model, path)
        known = [str(f.validation_alias or k) for m in here for k, f in m.model_fields.items()]
        return f"unknown key {_dotted([*names, key])!r}: {nearest(str(key)[:60], known)}"
    place = _dotted(_found(model, entry["loc"])[0])
    message = entry["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
    message = printable(message, most=500)
    value = entry.get("input")
    if not isinstance(value, Mapping | pydantic.BaseModel):  # else it is the whole record
        message = f"{message} (got {printable(repr(value), most=60)})"
    return f"{place}: {message}" if place else message


def _dotted(path: list[Any]) -> str:
    return ".".join(printable(str(step), most=60) for step in path)


def _found(
    model: type[pydantic.BaseModel], path: Iterable[Any]
) -> tuple[list[Any], list[type[pydantic.BaseModel]]]:
    """The keys of a file that lead to `path` of `model`, and the models that may be there.

    Fields go by name. Between them `path` has the `kind` of united models, which no key is.
    """
    here, keys = [model], list[Any]()
    for step in path:
        fields = [m.model_fields[step] for m in here if step in m.model_fields]
        kinds = [m for m in here if getattr(m.model_fields.get("kind"), "default", None) == step]
        here = kinds or [m for field in fields for m in _models(field.annotation)] or here
        keys += [] if kinds and not fields else [step]
    return keys, here


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]
