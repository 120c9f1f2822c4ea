"""A card that people write in as well: theirs stays, ours is renewed.

A card is YAML between two lines of dashes, then Markdown, of which ours is between two marks.
"""

import re
from collections.abc import Mapping
from typing import Any

from d3data.cards import front_matter
from d3data.errors import FormatError

BEGIN = "<!-- d3data:begin -->"
END = "<!-- d3data:end -->"

_FRONT = re.compile(r"\A\s*---[ \t]*\n((?:.*?\n)??)---[ \t]*(?:\n|\Z)", re.DOTALL)


def joined(keys: Mapping[str, Any], text: str) -> str:
    """A card of these keys and this text."""
    return f"---\n{front_matter.dump(keys)}---\n\n{text.strip()}\n"


def parted(card: str) -> tuple[str, str]:
    """The YAML of a card and the text that follows it."""
    found = _FRONT.match(card)
    return (found[1], card[found.end() :]) if found else ("", f"\n{card.lstrip()}")


def merge(old: str, new: str) -> str:
    """The card `new` in the place of `old`, where what people wrote in `old` stays.

    Their keys stay with their order and comments, and so does the text before and after ours;
    where `old` has no text of ours, it goes to the end. Merging again changes nothing.

    Raises:
        FormatError: the YAML of `old` is broken, or its marks are not one pair in order.
    """
    if not old.strip():
        return new
    windows, old = "\r\n" in old, old.removeprefix("\ufeff").replace("\r\n", "\n")
    (front, text), (our_front, our_text) = parted(old), parted(new)
    keys = front_matter.merge(front, front_matter.load(our_front))
    merged = f"---\n{keys}---\n{_renewed(text, our_text.strip())}"
    return merged.replace("\n", "\r\n") if windows else merged


def _renewed(text: str, ours: str) -> str:
    """A text with our part of it exchanged, or added at its end."""
    lines = text.split("\n")
    places = [n for n, line in enumerate(lines) if line.strip() in (BEGIN, END)]
    marks = [lines[n].strip() for n in places]
    if not marks:
        return f"{text.rstrip()}\n\n{ours}\n"
    if marks != [BEGIN, END]:
        raise FormatError(
            f"the card needs one line {BEGIN} and after it one line {END}, and has "
            f"{', '.join(marks)}: correct it, or delete all of these lines"
        )
    start, end = places
    return "\n".join([*lines[:start], ours, *lines[end + 1 :]])
