"""One HTML page that shows a set: it holds all that it shows, and asks no server for anything."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from d3data.cards.facts import HEADINGS, LIMITS, Facts
from d3data.data.gallery import Gallery, spread
from d3data.data.preview import EXACT, address
from d3data.evaluation.pages.chart_data import ChartData
from d3data.evaluation.pages.charts import stacked_bar
from d3data.utils import templates
from d3data.utils.packages import naming_packages
from d3data.utils.templates import GENERATOR
from d3data.utils.text import counted, percent, portion, upright, weight

DRAWS, MEANS, FRAMES = 24, 24, 25  # images of each class
BUDGET = 3 << 20  # characters that all images together should take
CLASSES = 100  # at most, so that people can choose among them
HEAD = 4096  # bytes at the start of a page in which its generator stands


@dataclass(frozen=True)
class Shown:
    """The images of one class, as addresses that hold them."""

    name: str
    draws: list[str]
    hints: list[str]
    means: list[str]
    items: int
    walk: list[str]
    ends: list[str]


@naming_packages()
def page(facts: Facts, gallery: Gallery) -> str:
    """The page of a set: the same facts and images give the same page.

    Classes are evenly spread over the list where not all fit: the first one tells how many do.
    """
    classes = list(_affordable(gallery))
    css, script = (templates.read(name) for name in ("evaluation/pages/page.css", "cards/page.js"))
    return templates.html(
        "cards/page.html.jinja",
        facts=facts,
        about=facts.manifest.about,
        generator=templates.trusted(GENERATOR),
        policy=templates.policy(css, script),
        css=templates.trusted(css),
        script=templates.trusted(script),
        classes=classes,
        first=classes[0],
        data=[dataclasses.asdict(shown) for shown in classes],
        frames=FRAMES,
        walks=any(shown.walk for shown in classes),
        pixelated=gallery.image.size < EXACT,
        whitened=gallery.image.whitening is not None,
        exact=gallery.image.size <= EXACT,
        many=counted(len(gallery.names), "class", "classes"),
        figures=_figures(facts),
        spent=list(zip(facts.spent, stacked_bar([s for *_, s in facts.spent]), strict=True)),
        chart=ChartData([facts.report]).charts.get("accuracy-bytes") if facts.report else None,
        headings=[heading.capitalize() for heading in HEADINGS[1:]],
        limits=LIMITS,
        portion=portion,
    )


def is_page(content: bytes) -> bool:
    """Whether a file is a page that was made here."""
    return GENERATOR.encode() in content[:HEAD]


def _affordable(gallery: Gallery) -> Iterator[Shown]:
    first = _shown(gallery, 0)
    size = sum(map(len, (*first.draws, *first.means, *first.walk)))
    chosen = spread(len(gallery.names), max(1, min(CLASSES, BUDGET // size)))
    yield first
    yield from (_shown(gallery, label) for label in chosen[1:])


def _shown(gallery: Gallery, label: int) -> Shown:
    draws, walk = gallery.draws([label], DRAWS), gallery.walk(label, FRAMES)
    frames = [] if walk is None else list(walk.images)
    ends = () if walk is None else walk.ends
    latents = gallery.content.source.random
    means = gallery.means(label, MEANS) if latents else ()
    items = (gallery.place(item)[1] for item in draws.items[0].tolist())
    return Shown(
        name=upright(gallery.names[label]),
        draws=[*map(address, draws.images[0])],
        hints=[
            f"draw {index}, of item {item + 1}"
            for index, item in zip(draws.indices[0], items, strict=True)
        ],
        means=[*map(address, means)],
        items=gallery.content.items_per_class[label],
        walk=[*map(address, frames)],
        ends=[f"prior {n + 1} of \u201c{upright(gallery.names[end])}\u201d" for end, n in ends],
    )


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """The numbers at the head of the page, and what they are."""
    ledger = facts.ledger
    figures = [
        (weight(ledger.content_bytes), "to train on, decoder and all"),
        (percent(ledger.share_of_source), "of the real images\u2019 bytes"),
    ]
    best = [row for row in facts.rows if row.name == "distilled"]
    if facts.report is not None and best:
        rule = facts.report.protocol
        reached = f"accuracy on {facts.report.split} images, {rule.name}\u00a0v{rule.version}"
        figures.append((f"{100 * best[0].mean:.1f} %", reached))
    return figures
