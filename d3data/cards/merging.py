"""A card that people write in as well: theirs stays, ours is renewed.

A card is YAML between two lines of dashes, then Markdown, of which ours is between two marks.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from d3data.cards import front_matter
from d3data.errors import FormatError

BEGIN = "<!-- d3data:begin -->"
END = "<!-- d3data:end -->"

_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n((?:.*?\n)??)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_KEY = re.compile(r"\s*(?:[{?]|[^\s#-].*?:(?:\s|\Z))")  # how a line of YAML with a key begins
_MARK = re.compile(f" {{0,3}}({BEGIN}|{END})")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_TAGS = re.compile(r"^<!-- d3data:tags (.*) -->", re.MULTILINE)
_REPOSITORY = re.compile(r'^data = d3data\.load\("([^"/@]+/[^"/@]+)@', re.MULTILINE)


def joined(keys: Mapping[str, Any], text: str) -> str:
    """A card of these keys and this text."""
    return f"---\n{front_matter.dump(keys)}---\n\n{text.strip()}\n"


def parted(card: str) -> tuple[str, str]:
    """The YAML of a card and the text that follows it; a rule at the head of a text is no YAML."""
    match = _FRONT.match(card)
    if match is None or not _has_keys(match[1]):
        return "", f"{_line_end(card)}{card}"
    return match[1], card[match.end() :]


def merge(old: str, new: str) -> str:
    """The card `new` in the place of `old`, where what people wrote in `old` stays.

    Their keys stay with their order and comments, and so does the text before and after ours;
    where `old` has no text of ours, it goes to the end. Merging again changes nothing.

    Raises:
        FormatError: the YAML of `old` is broken or cannot be renewed without loss, its marks are
            not one pair in order, or a fence of code is not closed.
    """
    if not old.strip():
        return new
    old = old.removeprefix("\ufeff")
    (front, text), (our_front, our_text), end = parted(old), parted(new), _line_end(old)
    before, block, after = _around(text)
    was = (_TAGS.findall(block) or [""])[0].split()
    keys = front_matter.merge(front, front_matter.load(our_front), was=was, line_end=end)
    ours = our_text.strip().replace("\n", end)
    return f"---{end}{keys}---{end}{before}{ours}{after}"


def repository(card: str) -> str | None:
    """Where the set of a card is published, as our text in it says; None where it does not."""
    match = _REPOSITORY.search(_around(parted(card)[1])[1])
    return match[1] if match else None


def tagged(tags: list[str]) -> str:
    """The line of our text by which `merge` knows later which tags were ours."""
    return f"<!-- d3data:tags {' '.join(tags)} -->"


def _line_end(text: str) -> str:
    return "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"


def _has_keys(block: str) -> bool:
    """Whether a block between lines of dashes is YAML with keys, or nothing yet, and no prose."""
    lines = [line for line in block.split("\n") if line.strip() and line.lstrip()[0] != "#"]
    return not lines or any(map(_KEY.match, lines))


def _around(text: str) -> tuple[str, str, str]:
    """The text before ours, ours, and the text after it."""
    marks, end = list(_marks(text)), _line_end(text)
    if not marks:
        missing = (end * 2).removeprefix(text[-len(end) :]) if text.strip() else end
        return text + ("" if text.endswith(end * 2) else missing), "", end
    if [mark for mark, *_ in marks] != [BEGIN, END]:
        raise FormatError(
            f"the card needs one line {BEGIN} and after it one line {END}, and has "
            f"{', '.join(mark for mark, *_ in marks)}: correct it, or delete all of these lines"
        )
    (_, start, _), (_, _, stop) = marks
    return text[:start], text[start:stop], text[stop:]


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """The lines that are marks, where each begins and ends; code outside our text has none."""
    fence, inside, place = "", False, 0
    for line in text.split("\n"):
        bare = line.rstrip(" \t\r")
        if not inside:
            fence = _fenced(bare, fence)
        if not fence and (match := _MARK.fullmatch(bare)):
            inside = match[1] == BEGIN
            yield match[1], place, place + len(bare)
        place += len(line) + 1
    if fence:
        raise FormatError(f"the card opens code with {fence} and never closes it: close it")


def _fenced(line: str, fence: str) -> str:
    """The fence of code that is open after a line, where `fence` was before it; else nothing."""
    match = _FENCE.fullmatch(line)
    if match is None:
        return fence
    run, rest = match.groups()
    if fence:
        return "" if run.startswith(fence) and not rest else fence
    return "" if run[0] == "`" and "`" in rest else str(run)
