"""What stands in somebody else's file, as messages show it: short, and no control letters."""

LETTERS = 80
SHOWN = 4  # things of a list


def told(value: object) -> str:
    """A value in at most a few short words, however much of it there is.

    >>> print(told((32, 64)), told([[1], "a", 2, 3, 4]), told("a\\nb"), told({}))
    (32, 64) [list, 'a', 2, 3, ...] 'a\\nb' dict
    """
    if not isinstance(value, list | tuple):
        return _brief(value)
    inner = [*map(_brief, value[:SHOWN]), *(["..."] if len(value) > SHOWN else [])]
    if isinstance(value, list):
        return f"[{', '.join(inner)}]"
    return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"


def plain(text: str, *, most: int = LETTERS) -> str:
    """Text that a terminal shows as it is: on one line, and cut.

    >>> plain("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    cut = text[:most]
    return "".join(x if x.isprintable() else repr(x)[1:-1] for x in cut)[:most]


def _brief(value: object) -> str:
    if isinstance(value, str | bytes):
        return repr(value[:LETTERS])[:LETTERS]
    if value is None or isinstance(value, int | float):
        return repr(value)[:LETTERS]
    return type(value).__name__
