"""The YAML at the head of a card: keys of ours among keys that people wrote.

Ours are the keys of `OWNED`, and in `tags` and `configs` the entries that we know to be ours.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import yaml

from d3data.errors import FormatError

LICENCE = ("license", "license_name", "license_link")
OWNED = (
    "pretty_name",
    *LICENCE,
    "source_datasets",
    "task_categories",
    "task_ids",
    "size_categories",
    "tags",
    "configs",
)
TAGS = ("d3data", "dataset-distillation", "synthetic", "image")
METHODS = ("gaussian", "pixels", "generator", "d3", "dc", "dd", "dm", "dsa", "mmd", "mtt")

WIDTH = 10_000  # letters, so that no text is folded into several lines
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"}  # in some YAML


class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # pyyaml has no types
    """Quotes every text that a reader of another YAML could take for something else."""


def _written(dumper: Dumper, value: str) -> Any:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./*-]*", value) and value.lower() not in WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if plain else '"')


Dumper.add_representer(str, _written)


def dump(keys: Mapping[str, Any]) -> str:
    """Keys as YAML, in their order.

    >>> print(dump({"license": "mit", "tags": ["image", "no"]}), end="")
    license: mit
    tags:
    - image
    - "no"
    """
    if not keys:
        return ""
    return str(
        yaml.dump(dict(keys), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    )


def load(text: str) -> dict[str, Any]:
    """What YAML says.

    Raises:
        FormatError: it is broken, no list of keys, has a key twice, or asks for more than data.
    """
    try:
        node, value = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise FormatError(
            f"the YAML of the card is broken ({_place(fault)}): correct it, or delete what is "
            "between its lines of dashes"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError("the YAML of the card is no list of keys: correct it")
    names = [key.value for key, _ in node.value]
    if twice := [name for name in names if names.count(name) > 1]:
        raise FormatError(f"the YAML of the card has the key {twice[0]} twice: delete one")
    return value


def merge(text: str, ours: Mapping[str, Any]) -> str:
    """The YAML `text` with our keys in the place of the old ones, or after theirs.

    Lines of other keys stay as they are, with order and comments, unless they refer to a value
    of ours or are written as one `{...}`; then all is written anew.

    Raises:
        FormatError: as `load`.
    """
    theirs = load(text)
    wanted = _renewed(theirs, ours)
    spliced = _spliced(text, theirs, wanted)
    return spliced if _says(spliced, wanted) else dump(wanted)


def _place(fault: Exception) -> str:
    mark, problem = getattr(fault, "problem_mark", None), getattr(fault, "problem", None)
    where = f"line {mark.line + 2}: " if mark else ""  # line 1 is dashes
    return f"{where}{problem or 'it cannot be read'}"


def _renewed(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Their keys and ours; a licence is renewed as a whole."""
    kept = {key: value for key, value in theirs.items() if key not in LICENCE or key in ours}
    tags = [*ours["tags"], *_foreign_tags(theirs.get("tags"))]
    others = _foreign_configs(theirs.get("configs"))
    mine = [dict(config) for config in ours["configs"]]
    if any(config.get("default") for config in others):
        mine = [{k: v for k, v in config.items() if k != "default"} for config in mine]
    return {**kept, **ours, "tags": tags, "configs": [*mine, *others]}


def _foreign_tags(tags: Any) -> list[Any]:
    found = tags if isinstance(tags, list) else [tags] if isinstance(tags, str) else []
    ours = re.compile("|".join((*TAGS, *METHODS, r"ipc-\d+")))
    return [tag for tag in found if not (isinstance(tag, str) and ours.fullmatch(tag))]


def _foreign_configs(configs: Any) -> list[dict[str, Any]]:
    found = configs if isinstance(configs, list) else []
    named = [config for config in found if isinstance(config, dict)]
    return [config for config in named if config.get("config_name") != "preview"]


def _spliced(text: str, theirs: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """`text` with the lines of our keys exchanged, right where each key begins its line."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = node.value if theirs else []
    lines = text.splitlines(keepends=True)
    places = [*(key.start_mark.line for key, _ in pairs), len(lines)]
    out = lines[: places[0]]
    for (key, _), (start, end) in zip(pairs, pairwise(places), strict=True):
        here = lines[start:end]
        if key.value not in OWNED or wanted.get(key.value) == theirs.get(key.value):
            out += here
            continue
        if key.value in wanted:
            out.append(dump({key.value: wanted[key.value]}))
        out += here[_own(here) :]
    return "".join(out) + dump({k: v for k, v in wanted.items() if k not in theirs})


def _own(lines: list[str]) -> int:
    """How many of a key's lines are its own: comments and empty lines at their end are not."""
    count = len(lines)
    while count > 1 and (lines[count - 1].startswith("#") or not lines[count - 1].strip()):
        count -= 1
    return count


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether YAML says just this; compared as text, in which shared values stay shared."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    one, other = (yaml.safe_dump(value, sort_keys=False) for value in (found, dict(wanted)))
    return bool(one == other)
