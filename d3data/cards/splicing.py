"""YAML in which the values of some keys are exchanged, and all else stays as people wrote it."""

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from d3data.errors import FormatError

WIDTH = 10_000  # letters, so that no text is folded into several lines
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"}  # in some YAML


class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # pyyaml has no types
    """Quotes every text that a reader of another YAML could take for something else."""


def _written(dumper: Dumper, value: str) -> Any:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./*-]*", value) and value.lower() not in WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if plain else '"')


Dumper.add_representer(str, _written)


def dump(value: Mapping[str, Any] | Sequence[Any], *, line_end: str = "\n") -> str:
    """Keys, or the entries of a list, as YAML, in their order.

    >>> print(dump({"license": "mit", "tags": ["image", "no"]}), end="")
    license: mit
    tags:
    - image
    - "no"
    """
    return _dumped(value, line_break=line_end) if value else ""


def spliced(
    text: str,
    values: Mapping[str, Any],
    *,
    gone: Collection[str],
    kept: Mapping[str, Sequence[int]],
    line_end: str,
) -> str:
    """The YAML `text` with these `values`, in the place of the old ones or else at its end.

    Each key is taken to begin a line: where that is not so, what comes out says something else.

    Args:
        text: keys and values.
        values: the new ones.
        gone: keys that are taken away.
        kept: of lists, the places of the old entries that the new value ends with.
        line_end: of the lines that are written.

    Raises:
        FormatError: a comment within a value would be lost.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs, margin = (node.value, " " * node.start_mark.column) if node else ([], "")
    lines = text.splitlines(keepends=True)
    places = [*(key.start_mark.line for key, _ in pairs), len(lines)]
    out, missing = lines[: places[0]], dict(values)
    for (key, value), (start, end) in zip(pairs, pairwise(places), strict=True):
        here, name = lines[start:end], key.value
        own = _own(here)
        if name in values:
            new = missing.pop(name)
            out += (
                _inline(here[:own], start, value, new)
                or _listed(here[:own], value, new, kept.get(name), line_end)
                or [textwrap.indent(dump({name: new}, line_end=line_end), margin)]
            )
        elif name not in gone:
            out += here[:own]
        out += here[own:]
    return "".join(out) + textwrap.indent(dump(missing, line_end=line_end), margin)


def require_no_comment(text: str) -> None:
    """FormatError where YAML that is to be written anew has what looks like a comment."""
    if re.search(r"(?:^|\s)#", text):
        raise FormatError(
            "the YAML of the card cannot be renewed without losing a comment of it: begin each "
            "key and each entry on a line of its own, and use no & and * for keys of d3data"
        )


def _dumped(value: Any, **style: Any) -> str:
    return str(
        yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, **style)
    )


def _own(lines: Sequence[str]) -> int:
    """How many of a key's lines are its own: comments and empty lines at their end are not."""
    count = len(lines)
    while count > 1 and (lines[count - 1].startswith("#") or not lines[count - 1].strip()):
        count -= 1
    return count


def _inline(lines: Sequence[str], start: int, node: yaml.Node, value: Any) -> list[str]:
    """The lines of a key, the first of number `start`, with the value in place of the old one.

    Nothing where the old value is no word and no list in brackets, or stands elsewhere.
    """
    first, last = node.start_mark.line - start, node.end_mark.line - start
    block = node.style in ("|", ">") if isinstance(node, yaml.ScalarNode) else not node.flow_style
    if block or first < 0 or last >= len(lines):
        return []
    head, tail = lines[first][: node.start_mark.column], lines[last][node.end_mark.column :]
    if first < last:
        require_no_comment("".join(lines[first : last + 1])[len(head) : -len(tail)])
    new = _dumped(value, default_flow_style=True).removesuffix("...\n").strip()
    space = "" if head.endswith(" ") else " "
    return [*lines[:first], f"{head}{space}{new}{tail}", *lines[last + 1 :]]


def _listed(
    lines: Sequence[str],
    node: yaml.Node,
    value: Sequence[Any],
    kept: Sequence[int] | None,
    line_end: str,
) -> list[str]:
    """The lines of a list in which some entries stay, with the new ones before them.

    Nothing where no such list is there; comments stay.
    """
    dashes = [n for n, line in enumerate(lines) if re.match(r" *-\s", line)]
    if kept is None or not dashes or not isinstance(node, yaml.SequenceNode):
        return []
    margin = lines[dashes[0]].partition("-")[0]
    firsts = [n for n in dashes if lines[n].startswith(f"{margin}-")]
    if len(firsts) != len(node.value):
        return []
    new = dump(value[: len(value) - len(kept)], line_end=line_end)
    out = [*lines[: firsts[0]], textwrap.indent(new, margin)]
    for place, (start, end) in enumerate(pairwise([*firsts, len(lines)])):
        stays = place in kept
        out += [line for line in lines[start:end] if stays or line.lstrip().startswith("#")]
    return out
