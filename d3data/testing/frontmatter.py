"""The YAML at the head of a README: what the Hub reads of a card, and what it finds wrong."""

import re
from typing import Any

from d3data.testing.refusals import Invalid

_BLOCK = re.compile(r"\s*---[\r\n]+([\s\S]*?)[\r\n]+---(?:\r?\n|$)")
_LISTS = ("tags", "task_categories", "task_ids", "size_categories", "source_datasets", "configs")
_TAGGED = ("license", "language", "task_categories", "task_ids", "size_categories")


def metadata(readme: str) -> dict[str, Any]:
    """The metadata of a card, {} where it has none.

    Raises:
        Invalid: the YAML is broken, is not a mapping, or has a single value where a list belongs.
    """
    import yaml

    block = _BLOCK.match(readme)
    if block is None:
        return {}
    try:
        found = yaml.safe_load(block[1])
    except Exception as failure:  # of any kind, where a value is not of the type that it names
        raise Invalid(f"YAML metadata in README.md cannot be read: {failure}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Invalid("YAML metadata in README.md is not a mapping of names to values")
    for key in _LISTS:
        if key in found and not isinstance(found[key], list):
            raise Invalid(f'"{key}" must be an array')
    return found


def lenient(readme: bytes) -> dict[str, Any]:
    """The metadata of a card that is already there; {} where it cannot be read."""
    try:
        return metadata(readme.decode(errors="replace"))
    except Invalid:
        return {}


def tags(card: dict[str, Any]) -> list[str]:
    """What a search filters by: the card's own tags, and `license:mit` and the like."""
    found = [str(tag) for tag in card.get("tags", [])]
    for key in _TAGGED:
        values = card.get(key, [])
        found += [f"{key}:{value}" for value in (values if isinstance(values, list) else [values])]
    return found
