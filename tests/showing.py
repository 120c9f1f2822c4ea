"""What cards are made of in these tests: reports, and words of people who mean harm."""

from html.parser import HTMLParser

import torch
from markdown_it import MarkdownIt

import made
from d3data.cards import Facts
from d3data.evaluation.baselines import Photographs, RowData
from d3data.evaluation.record import Row, Trial
from d3data.evaluation.report import Report
from d3data.utils.text import upright

NAMES = (
    "</script><img src=x onerror=\"document.title='hit'\">",
    "a: b - c {{ 7*7 }} {% raw %} !!python/object/apply:os.system ['id']",
    "| [link](javascript:alert(1)) ![i](http://x.example/i.png) `code` **bold** ~~no~~ $x$",
    "<!-- d3data:end -->",
    "# heading \u2028- item \u202eturned &amp; <b>bold</b> www.example.org me@example.org \\",
)
TEXT = " ".join(NAMES)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def stored():
    """What `made.write` is given for images that are stored."""
    spec = made.SPECS["pixels"]
    return {"kind": "pixels", "parts": made.three_parts(spec)}


def report(artifact, rows=None, **changed) -> Report:
    """A report of an artifact; rows are name, images of a class, values, bytes, accuracies."""
    rows = rows or [
        ("distilled", None, 2000, 9000, (0.9, 0.92)),
        ("random", 2, 1920, 1920, (0.7, 0.74)),
        ("k-means", 2, 1920, 1920, (0.72,)),
    ]
    page = {
        "data": "toys-ipc2 1.2.3",
        "content_sha256": artifact.manifest.content_sha256,
        "task": artifact.manifest.about.provenance.task,
        "fingerprint": "ab" * 32,
        "split": "test",
        "tests": 1234,
        "classes": artifact.manifest.content.classes,
        "protocol": {
            "name": "quick",
            "version": 1,
            "network": {"width": 32},
            "steps": 600,
            "batch": 128,
            "learning_rates": [0.03],
            "augment": "none",
        },
        "rows": [_row(artifact, *row) for row in rows],
        "device": "cpu",
        "threads": 1,
        "versions": {"torch": "2"},
        "date": "2026-02-03",
    }
    return Report.model_validate(page | changed)


def _row(artifact, name, images, values, size, accuracies):
    trials = [
        Trial(
            seed=seed,
            learning_rate=0.03,
            accuracy=accuracy,
            per_class=(accuracy,) * len(artifact.manifest.content.classes),
            confusion=None,
            loss=0.1,
            steps=600,
            images=76800,
            flops=10**9,
            memory=None,
            seconds=1.0,
            curve=(),
        )
        for seed, accuracy in enumerate(accuracies)
    ]
    of = RowData(Photographs(torch.zeros(1), torch.zeros(1)), images, values, size)
    return Row.of(name, trials, network="convnet-w32", labels="hard", of=of)


def facts(artifact, *, reported=True, repo="me/toys-ipc2") -> Facts:
    """The facts of an artifact with its report."""
    known = report(artifact) if reported else None
    return Facts.of(artifact, known, repo=repo)


class Reader(HTMLParser):
    """Collects the tags and the text of HTML."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def shown(line):
    """What a reader of Markdown sees of a line."""
    return " ".join(upright(line).split())
