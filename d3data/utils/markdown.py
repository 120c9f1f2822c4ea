"""Strangers' text in Markdown: it neither formats, nor links, nor ends the block it stands in."""

import re

from d3data.utils.text import upright

_SPECIAL = re.compile(r"[\\`*_\[\]|~$@]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_FIRST = re.compile(r"^(?:[#=]|[+-](?=[\s-]|$)|\d{1,9}(?=[.)](?:\s|$)))")  # opens a block
_LINKED = re.compile(r":(?=//)|\.(?<=\bwww\.)", re.IGNORECASE)  # what links without brackets
_ADDRESS = re.compile(r"https?://[\w.-]+(?::\d+)?(?:/[\w./~%+=&?#:-]*[\w/~%+=&#-]|/)?", re.ASCII)
_ARXIV = re.compile(r"\barXiv[: ](\d{4}\.\d{4,5})\b", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markdown:
    r"""Any text as one line of Markdown that shows it.

    >>> text("a|b *c* <d> [e](f)")
    'a\\|b \\*c\\* &lt;d&gt; \\[e\\](f)'
    """
    if isinstance(value, Markdown):
        return value
    line = " ".join(upright(str(value)).split())
    line = _SPECIAL.sub(r"\\\g<0>", line)
    for plain, entity in _ENTITIES.items():
        line = line.replace(plain, entity)
    line = _LINKED.sub(r"\\\g<0>", line)
    return Markdown(_FIRST.sub(lambda m: f"{m[0]}\\" if m[0].isdigit() else f"\\{m[0]}", line))


def fenced(value: str, language: str = "") -> Markdown:
    """Lines of code, in a fence that they cannot close and with no comment that marks a card."""
    value = upright(value).replace("<!--", "<! --")
    longest = max(map(len, re.findall("`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{value.rstrip()}\n{fence}")


def linked(value: str) -> Markdown:
    """Text in which web addresses and arXiv numbers are links, and nothing else is.

    >>> linked("*Xiao* arXiv:1708.07747")
    '\\\\*Xiao\\\\* [arXiv:1708.07747](https://arxiv.org/abs/1708.07747)'
    """
    parts, end = [], 0
    for match in re.finditer(f"{_ADDRESS.pattern}|{_ARXIV.pattern}", value, re.I | re.A):
        parts += [_between(value[end : match.start()]), _link(match[0])]
        end = match.end()
    return Markdown("".join([*parts, _between(value[end:])]).strip())


def address(value: str) -> str | None:
    """The first web address or arXiv number in a text, as an address."""
    if match := _ADDRESS.search(value):
        return match[0]
    return f"https://arxiv.org/abs/{match[1]}" if (match := _ARXIV.search(value)) else None


def _between(value: str) -> str:
    before = " " if value[:1].isspace() else ""
    after = " " if value[-1:].isspace() and value.strip() else ""
    return f"{before}{text(value)}{after}"


def _link(address: str) -> str:
    if number := _ARXIV.fullmatch(address):
        return f"[{address}](https://arxiv.org/abs/{number[1]})"
    return f"<{address}>"
