"""Studies: several methods distilled and evaluated alike, and their table.

A study is a TOML file. `run` has an executor do one job for each of its entries, can be stopped
and run again, and gives a page of results, of which `table` makes the same text every time.
"""

from d3data.evaluation.studies.page import Page, Result, read_page, table
from d3data.evaluation.studies.running import PAGE, identity, run
from d3data.evaluation.studies.study import Entry, Study, read_study

__all__ = [
    "PAGE",
    "Entry",
    "Page",
    "Result",
    "Study",
    "identity",
    "read_page",
    "read_study",
    "run",
    "table",
]
