"""What to cite for a distilled set, as BibTeX: the papers of its method, and the real images.

What an artifact says of itself is somebody's text: no character of it is BibTeX's or LaTeX's.
"""

import functools
import re
from importlib import resources

from d3data.artifact.manifest import About

_ARXIV = re.compile(r"(?<![\d.])\d{4}\.\d{4,5}(?!\d)")
# braces as commands, since BibTeX counts those that are escaped too
_SPELT = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{mark: rf"\{mark}" for mark in "#$%&_"},
}


@functools.cache
def papers() -> dict[str, str]:
    """The entries of `papers.bib`, the methods that are known, by arXiv number."""
    text = resources.files("d3data.artifact").joinpath("papers.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {re.findall(r"eprint = \{(.+)\}", entry)[0]: entry for entry in entries}


def bibtex(about: About) -> str:
    """BibTeX entries of an artifact's method, and of the real images that it was made from.

    A method's references stand between semicolons; one that is not known is part of a note.
    """
    method, made = about.method, about.provenance
    references = dict.fromkeys(_numbered(part.strip()) for part in method.reference.split(";"))
    known = [papers()[reference] for reference in references if reference in papers()]
    others = [reference for reference in references if reference not in papers()]
    entries = [*known, *([_misc("method", method.name, "; ".join(others))] if others else [])]
    source = f"Licence: {made.license}. Source: {made.source}"
    return "\n\n".join((*entries, _misc("images", made.task, source))) + "\n"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, in a field that BibTeX reads to its end.

    >>> print(escaped("50% of {cats} & dogs_"))
    50\\% of \\textbraceleft{}cats\\textbraceright{} \\& dogs\\_
    """
    return "".join(_SPELT.get(mark, mark) for mark in text)


def _numbered(reference: str) -> str:
    """The arXiv number of a paper that is known, or the reference itself."""
    return next((n for n in _ARXIV.findall(reference) if n in papers()), reference)


def _misc(kind: str, name: str, note: str) -> str:
    key = f"{kind}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    return f"@misc{{{key},\n  title = {{{escaped(name)}}},\n  note = {{{escaped(note)}}},\n}}"
