"""Jinja2 templates of cards and pages, named by their path in the package: text goes in escaped.

In Markdown every value is escaped but what is `Markdown` already; in HTML, by jinja2 itself.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d3data.utils.markdown import text
from d3data.utils.text import upright

if TYPE_CHECKING:
    import jinja2
    import markupsafe

ROOT = Path(__file__).parent.parent
WIDE, NARROW = (680, 300), (335, 280)  # the plot on desks and in hands
GENERATOR = '<meta name="generator" content="d3data">'


def markdown(name: str, **facts: Any) -> str:
    """The Markdown template `name`, filled in."""
    return _environment(html=False).get_template(name).render(facts)


def html(name: str, **facts: Any) -> str:
    """The HTML template `name`, filled in."""
    return _environment(html=True).get_template(name).render(facts)


def read(name: str) -> str:
    """A style or a script of ours."""
    return (ROOT / name).read_text(encoding="utf-8")


def policy(style: str, script: str = "") -> str:
    """What a page may do: show images that it holds, and run this style and this script."""
    allowed, run = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed}'; "
        f"script-src 'sha256-{run}'; base-uri 'none'; form-action 'none'"
    )


def trusted(text: str) -> "markupsafe.Markup":
    """Text of our own that goes into HTML as it is."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704  our own files, never what strangers wrote


@cache
def _environment(*, html: bool) -> "jinja2.Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT),
        autoescape=html,  # noqa: S701  Markdown is escaped by `finalize`
        # strangers' words leave ours the right way round; what is HTML already stays
        finalize=(lambda x: upright(x) if type(x) is str else x) if html else text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
