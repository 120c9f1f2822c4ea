"""The YAML at the head of a card: keys of ours among keys that people wrote.

Ours are the keys that `d3data.cards.card` gives, and in `tags` and `configs` the entries that we
know to be ours.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

from d3data.cards.splicing import dump, require_no_comment, spliced
from d3data.errors import FormatError

LICENSE = ("license", "license_name", "license_link")
TAGS = ("d3data", "dataset-distillation", "synthetic", "image")
MOST = 64 << 10  # letters of YAML that are read


def load(text: str) -> dict[str, Any]:
    """What YAML says.

    Raises:
        FormatError: it is broken, too long, no list of keys, has a key twice, or asks for more
            than data.
    """
    if len(text) > MOST:
        raise FormatError(
            f"the YAML of the card has {len(text)} letters, and at most {MOST} are read: move "
            "words into the text below it"
        )
    node = None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except Exception as fault:  # of any kind, where a value is not of the type that it names
        raise FormatError(
            f"the YAML of the card is broken ({_place(fault, node)}): correct it, or delete what "
            "is between its lines of dashes"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError("the YAML of the card is no list of keys: correct it")
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
    written anew, unless that would lose a comment.

    Args:
        text: what stands between the lines of dashes.
        ours: our keys.
        was: the tags that were ours when `text` was written.
        line_end: of the lines that are written.

    Raises:
        FormatError: as `load`, or a comment would be lost.
    """
    theirs = load(text)
    places = {
        "tags": _theirs(theirs.get("tags"), lambda tag: tag in (*TAGS, *ours["tags"], *was)),
        "configs": _theirs(theirs.get("configs"), _is_preview),
    }
    wanted = _renewed(theirs, ours, places)
    values = {key: wanted[key] for key in ours if theirs.get(key) != wanted[key]}
    gone = theirs.keys() - wanted.keys()
    written = spliced(text, values, gone=gone, kept=places, line_end=line_end)
    if _says(written, wanted):
        return written
    require_no_comment(text)
    return dump(wanted, line_end=line_end)


def _place(fault: Exception, node: yaml.Node | None) -> str:
    """Where the fault is, and what it is."""
    mark, problem = getattr(fault, "problem_mark", None), getattr(fault, "problem", None)
    if mark is None and isinstance(node, yaml.MappingNode):
        mark = next((key.start_mark for key, value in node.value if not _is_data(value)), None)
    where = f"line {mark.line + 2}: " if mark else ""  # line 1 is dashes
    return f"{where}{problem or 'it cannot be read'}"


def _is_data(node: yaml.Node) -> bool:
    """Whether a value is of the type that it names, or looks like."""
    try:
        yaml.SafeLoader("").construct_document(node)
    except Exception:  # of any kind
        return False
    return True


def _theirs(value: Any, is_ours: Callable[[Any], bool]) -> list[int]:
    """The places of people's entries in a list of both."""
    return [place for place, entry in enumerate(_entries(value)) if not is_ours(entry)]


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_preview(config: Any) -> bool:
    return isinstance(config, dict) and config.get("config_name") == "preview"


def _renewed(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], places: Mapping[str, list[int]]
) -> dict[str, Any]:
    """Their keys and ours, with their entries at these places; a licence is renewed as a whole."""
    kept = {key: value for key, value in theirs.items() if key not in LICENSE or key in ours}
    others = {key: [_entries(theirs.get(key))[n] for n in places[key]] for key in places}
    mine = [dict(config) for config in ours["configs"]]
    if any(isinstance(config, dict) and config.get("default") for config in others["configs"]):
        mine = [{k: v for k, v in config.items() if k != "default"} for config in mine]
    both = {"tags": [*ours["tags"], *others["tags"]], "configs": [*mine, *others["configs"]]}
    return {**kept, **ours, **both}


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether YAML says just this; compared as text, in which shared values stay shared."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    one, other = (yaml.safe_dump(value, sort_keys=False) for value in (found, dict(wanted)))
    return bool(one == other)
