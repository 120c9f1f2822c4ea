"""Cards, pictures and pages of a set: pure functions of its manifest, ledger, report and draws.

`derived` gives all files that are made from an artifact to publish it with. What strangers wrote,
class names and sources, stands in them as text and as nothing else.
"""

from d3data.cards.croissant_json import croissant, moved
from d3data.cards.facts import HUB, Facts
from d3data.cards.files import card, derived, finished, picture, previews
from d3data.cards.html_page import is_page, page
from d3data.cards.merging import merge, repository
from d3data.data.gallery import Gallery
from d3data.evaluation.pages.page import report_page, report_pictures
from d3data.evaluation.report import read_report, stored_report

__all__ = [
    "HUB",
    "Facts",
    "Gallery",
    "card",
    "croissant",
    "derived",
    "finished",
    "is_page",
    "merge",
    "moved",
    "page",
    "picture",
    "previews",
    "read_report",
    "report_page",
    "report_pictures",
    "repository",
    "stored_report",
]
