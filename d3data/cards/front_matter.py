"""The YAML at the head of a card: our keys are renewed, and people's lines stay byte for byte.

Ours are the keys that `d3data.cards.card` gives, and in `tags` and `configs` the entries that we
know to be ours. Positions come from pyyaml, and only the lines of our keys are exchanged. A round
trip through ruamel.yaml is no substitute: it respaces lines that nobody touched, and a comment is
lost with the entry above it.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from d3data.errors import FormatError

LICENSE = ("license", "license_name", "license_link")
TAGS = ("d3data", "dataset-distillation", "synthetic", "image")
MOST = 64 << 10  # characters of YAML that are read
WIDTH = 10_000  # characters, so that no text is folded into several lines
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"}  # in some YAML


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # pyyaml has no types
    line = 0  # of the value that it is making

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self.line = node.start_mark.line
        return super().construct_object(node, deep)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    pass


def _represent(dumper: _Dumper, value: str) -> Any:
    """Quotes every text that a reader of another YAML could take for something else."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./*-]*", value) and value.lower() not in WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if plain else '"')


_Dumper.add_representer(str, _represent)


def dump(value: Mapping[str, Any] | Sequence[Any], *, line_end: str = "\n") -> str:
    """Keys, or the entries of a list, as YAML, in their order."""
    return _dumped(value, line_break=line_end) if value else ""


def load(text: str) -> dict[str, Any]:
    """The keys and values of YAML; FormatError where it is broken or asks for more than data."""
    if len(text) > MOST:
        raise FormatError(
            f"the YAML of the card has {len(text)} characters, and at most {MOST} are read: move "
            "words into the text below it"
        )
    loader = _Loader("")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = loader.construct_document(node) if node else None
    except Exception as fault:  # of any kind, where a value is not of the type that it names
        mark = getattr(fault, "problem_mark", None)
        line = 2 + (mark.line if mark else loader.line)  # line 1 is dashes
        raise FormatError(
            f"the YAML of the card is broken (line {line}: "
            f"{getattr(fault, 'problem', None) or 'it cannot be read'}): correct it, or delete "
            "what is between its lines of dashes"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError("the YAML of the card has no keys: write `key: value` lines")
    names = Counter(key.value for key, _ in node.value)
    if twice := [name for name, count in names.items() if count > 1]:
        raise FormatError(f"the YAML of the card has the key {twice[0]} twice: delete one")
    return value


def merge(
    text: str, ours: Mapping[str, Any], *, was: Collection[str] = (), line_end: str = "\n"
) -> str:
    """The YAML `text` with our keys in the place of the old ones, or after theirs.

    Lines of other keys stay as they are, with order and comments, and so do the lines of people's
    entries in a list of both. Where keys do not begin lines, or refer to a value of ours, all is
    written anew; FormatError where that would lose a comment. `was` are the tags that were ours
    when `text` was written.
    """
    theirs = load(text)
    kept = {
        "tags": _theirs(theirs.get("tags"), lambda tag: tag in (*TAGS, *ours["tags"], *was)),
        "configs": _theirs(theirs.get("configs"), _is_preview),
    }
    wanted = _renewed(theirs, ours, kept)
    changed = {key: wanted[key] for key in ours if theirs.get(key) != wanted[key]}
    written = _spliced(text, changed, theirs.keys() - wanted.keys(), kept, line_end)
    if _says(written, wanted):
        return written
    _require_no_comment(text)
    return dump(wanted, line_end=line_end)


def _theirs(value: Any, is_ours: Callable[[Any], bool]) -> dict[int, Any]:
    """People's entries in a list of both, by their places."""
    entries = value if isinstance(value, list) else [] if value is None else [value]
    return {place: entry for place, entry in enumerate(entries) if not is_ours(entry)}


def _is_preview(config: Any) -> bool:
    return isinstance(config, dict) and config.get("config_name") == "preview"


def _renewed(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], kept: Mapping[str, dict[int, Any]]
) -> dict[str, Any]:
    """Their keys and ours, and their entries of lists; a license is renewed as a whole."""
    others = {key: value for key, value in theirs.items() if key not in LICENSE or key in ours}
    tags, configs = ([*kept[key].values()] for key in ("tags", "configs"))
    mine = ours["configs"]
    if any(isinstance(config, dict) and config.get("default") for config in configs):
        mine = [{k: v for k, v in config.items() if k != "default"} for config in mine]
    return {**others, **ours, "tags": [*ours["tags"], *tags], "configs": [*mine, *configs]}


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether YAML says just this; compared as text, in which shared values stay shared."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    one, other = (yaml.safe_dump(each, sort_keys=False) for each in (value, dict(wanted)))
    return bool(one == other)


def _spliced(
    text: str,
    changed: Mapping[str, Any],
    gone: Collection[str],
    kept: Mapping[str, Collection[int]],
    line_end: str,
) -> str:
    """The YAML `text` with these values in the place of the old ones or else at its end.

    `gone` are keys to take away, `kept` the places of the list entries that the new value ends
    with. Each key is taken to begin a line: where it does not, what comes out says something else.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs, margin = (node.value, " " * node.start_mark.column) if node else ([], "")
    lines = text.splitlines(keepends=True)
    places = [*(key.start_mark.line for key, _ in pairs), len(lines)]
    out, missing = lines[: places[0]], dict(changed)
    for (key, value), (start, end) in zip(pairs, pairwise(places), strict=True):
        name, last = key.value, end
        while last > start + 1 and (lines[last - 1][0] == "#" or not lines[last - 1].strip()):
            last -= 1  # comments and empty lines after a value are not its own
        own = lines[start:last]
        if name in changed:
            new = missing.pop(name)
            own = (
                _inline(own, start, value, new)
                or _listed(own, value, new, kept.get(name), line_end)
                or [textwrap.indent(dump({name: new}, line_end=line_end), margin)]
            )
        out += [] if name in gone else own
        out += lines[last:end]
    return "".join(out) + textwrap.indent(dump(missing, line_end=line_end), margin)


def _inline(lines: Sequence[str], start: int, node: yaml.Node, value: Any) -> list[str]:
    """The lines of a key, from number `start` on, with the value in place of the old one.

    Nothing where the old value is no word and no list in brackets, or stands elsewhere.
    """
    first, last = node.start_mark.line - start, node.end_mark.line - start
    block = node.style in ("|", ">") if isinstance(node, yaml.ScalarNode) else not node.flow_style
    if block or first < 0 or last >= len(lines):
        return []
    head, tail = lines[first][: node.start_mark.column], lines[last][node.end_mark.column :]
    if first < last:
        _require_no_comment("".join(lines[first : last + 1])[len(head) : -len(tail)])
    new = _dumped(value, default_flow_style=True).removesuffix("...\n").strip()
    space = "" if head.endswith(" ") else " "
    return [*lines[:first], f"{head}{space}{new}{tail}", *lines[last + 1 :]]


def _listed(
    lines: Sequence[str], node: yaml.Node, value: Any, kept: Collection[int] | None, line_end: str
) -> list[str]:
    """The lines of a list, or nothing: comments and the entries `kept` stay, new ones precede."""
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


def _require_no_comment(text: str) -> None:
    """FormatError where YAML that is to be written anew has what looks like a comment."""
    if re.search(r"(?:^|\s)#", text):
        raise FormatError(
            "the YAML of the card cannot be renewed without losing a comment of it: begin each "
            "key and each entry on a line of its own, and use no & and * for keys of d3data"
        )


def _dumped(value: Any, **style: Any) -> str:
    return str(
        yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, **style)
    )
