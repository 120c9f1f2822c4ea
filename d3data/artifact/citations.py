"""What to cite for a distilled set, as BibTeX: the papers of its method, and the real images.

What an artifact says of itself is somebody's text: no character of it is BibTeX's or LaTeX's.
"""

import re
from typing import NamedTuple

from d3data.artifact.manifest import About


class Paper(NamedTuple):
    """A paper that a method comes from."""

    key: str
    authors: str
    title: str
    year: int


# by arXiv number
PAPERS = {
    "1811.10959": Paper(
        "wang2018dataset",
        "Wang, Tongzhou and Zhu, Jun-Yan and Torralba, Antonio and Efros, Alexei A.",
        "Dataset Distillation",
        2018,
    ),
    "2006.05929": Paper(
        "zhao2021gradient",
        "Zhao, Bo and Mopuri, Konda Reddy and Bilen, Hakan",
        "Dataset Condensation with Gradient Matching",
        2021,
    ),
    "2011.00050": Paper(
        "nguyen2021kip",
        "Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon",
        "Dataset Meta-Learning from Kernel Ridge-Regression",
        2021,
    ),
    "2102.08259": Paper(
        "zhao2021siamese",
        "Zhao, Bo and Bilen, Hakan",
        "Dataset Condensation with Differentiable Siamese Augmentation",
        2021,
    ),
    "2110.04181": Paper(
        "zhao2023distribution",
        "Zhao, Bo and Bilen, Hakan",
        "Dataset Condensation with Distribution Matching",
        2023,
    ),
    "2203.11932": Paper(
        "cazenavette2022trajectories",
        "Cazenavette, George and Wang, Tongzhou and Torralba, Antonio and Efros, Alexei A. "
        "and Zhu, Jun-Yan",
        "Dataset Distillation by Matching Training Trajectories",
        2022,
    ),
    "2206.00719": Paper(
        "zhou2022frepo",
        "Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy",
        "Dataset Distillation using Neural Feature Regression",
        2022,
    ),
    "2305.01649": Paper(
        "cazenavette2023prior",
        "Cazenavette, George and Wang, Tongzhou and Torralba, Antonio and Efros, Alexei A. "
        "and Zhu, Jun-Yan",
        "Generalizing Dataset Distillation via Deep Generative Prior",
        2023,
    ),
    "2403.00999": Paper(
        "qin2024distributional",
        "Qin, Tian and Deng, Zhiwei and Alvarez-Melis, David",
        "Distributional Dataset Distillation with Subtask Decomposition",
        2024,
    ),
}

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


def bibtex(about: About) -> str:
    """BibTeX entries of an artifact's method, and of the real images that it was made from.

    A method's references stand between semicolons; one that is not in `PAPERS` is part of a note.
    """
    method, made = about.method, about.provenance
    references = dict.fromkeys(_numbered(part.strip()) for part in method.reference.split(";"))
    papers = [_paper(reference) for reference in references if reference in PAPERS]
    others = [reference for reference in references if reference not in PAPERS]
    entries = [*papers, *([_misc("method", method.name, "; ".join(others))] if others else [])]
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
    return next((n for n in _ARXIV.findall(reference) if n in PAPERS), reference)


def _paper(number: str) -> str:
    paper = PAPERS[number]
    return _entry(
        paper.key,
        author=paper.authors,
        title=f"{{{paper.title}}}",
        year=str(paper.year),
        eprint=number,
        archivePrefix="arXiv",
    )


def _misc(kind: str, name: str, note: str) -> str:
    key = f"{kind}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    return _entry(key, title=escaped(name), note=escaped(note))


def _entry(key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join((f"@misc{{{key},", *lines, "}"))
