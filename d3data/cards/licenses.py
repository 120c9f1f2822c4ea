"""Licences of data sets, as people write them, and the names that the Hub has for them.

The identifiers are those of https://huggingface.co/docs/hub/repositories-licenses. What is not in
the table is `other`: terms are never guessed.
"""

import re
from dataclasses import dataclass

from d3data.utils.markdown import address

_CREATIVE = "https://creativecommons.org/licenses"
_SPDX = "https://spdx.org/licenses"
_PLAIN = re.compile("[A-Za-z0-9 ._/()-]+")  # words of which a slug leaves nothing out

KNOWN = {
    "apache-2.0": f"{_SPDX}/Apache-2.0.html",
    "bsd-2-clause": f"{_SPDX}/BSD-2-Clause.html",
    "bsd-3-clause": f"{_SPDX}/BSD-3-Clause.html",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    **{
        f"cc-{terms}-{version}": f"{_CREATIVE}/{terms}/{version}/"
        for terms, versions in {
            "by": ("2.0", "2.5", "3.0", "4.0"),
            "by-sa": ("3.0", "4.0"),
            "by-nc": ("2.0", "3.0", "4.0"),
            "by-nd": ("4.0",),
            "by-nc-nd": ("3.0", "4.0"),
            "by-nc-sa": ("2.0", "3.0", "4.0"),
        }.items()
        for version in versions
    },
    "cdla-permissive-1.0": "https://cdla.dev/permissive-1-0/",
    "cdla-permissive-2.0": "https://cdla.dev/permissive-2-0/",
    "cdla-sharing-1.0": "https://cdla.dev/sharing-1-0/",
    "gpl-2.0": f"{_SPDX}/GPL-2.0-only.html",
    "gpl-3.0": f"{_SPDX}/GPL-3.0-only.html",
    "mit": f"{_SPDX}/MIT.html",
    "odbl": f"{_SPDX}/ODbL-1.0.html",
    "odc-by": f"{_SPDX}/ODC-By-1.0.html",
    "pddl": f"{_SPDX}/PDDL-1.0.html",
    "unlicense": f"{_SPDX}/Unlicense.html",
}
SPELT = {"cc0": "cc0-1.0", "cc-zero": "cc0-1.0"}
SPELT |= {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}


@dataclass(frozen=True)
class License:
    """An identifier of the Hub, or `other` with a `name`; `link` is where the terms are."""

    id: str
    name: str | None
    link: str | None


def license(words: str) -> License:
    """The licence that a manifest words so; an address among the words is where the terms are.

    >>> license("see https://example.org/terms")
    License(id='other', name='see-https-example.org-terms', link='https://example.org/terms')
    """
    slug = _slug(words.lower().removesuffix("licence").removesuffix("license"))
    spelt = SPELT.get(slug, slug)
    if spelt in KNOWN and _PLAIN.fullmatch(words):
        return License(spelt, None, KNOWN[spelt])
    whole = words.isascii() and spelt not in KNOWN  # else the name would leave terms out
    name = _slug(words.lower())[:60].strip("-.") if whole else ""
    return License("other", name or "see-card", address(words))


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")
