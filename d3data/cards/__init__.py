"""Cards, pictures and pages of a set: pure functions of its manifest, ledger, report and draws.

`derived` gives all files that are made from an artifact to publish it with. What strangers wrote,
class names and sources, stands in them as text and as nothing else.
"""

from d3data.cards.card import card
from d3data.cards.croissant import croissant
from d3data.cards.facts import Facts
from d3data.cards.files import derived, picture, previews, read_report, stored_report
from d3data.cards.gallery import Gallery
from d3data.cards.merge import merge
from d3data.cards.page import page

__all__ = [
    "Facts",
    "Gallery",
    "card",
    "croissant",
    "derived",
    "merge",
    "page",
    "picture",
    "previews",
    "read_report",
    "stored_report",
]
