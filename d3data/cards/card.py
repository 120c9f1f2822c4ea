"""The dataset card: front matter that the Hub reads, and a text for people."""

from collections.abc import Sequence
from typing import Any

from d3data.artifact.manifest import HardLabels, SoftLabels
from d3data.cards.again import again
from d3data.cards.facts import HEADINGS, LIMITS, Facts
from d3data.cards.merge import BEGIN, END, joined, tagged
from d3data.data import preview
from d3data.utils import templates
from d3data.utils.markdown import Markdown, fenced, linked, table, text
from d3data.utils.text import counted, portion

NAMED = 100  # classes that a card lists by name


def card(facts: Facts) -> str:
    """The `README.md` of a set: the same facts give the same text.

    The text between its two marks and the keys of its YAML are ours; `d3data.cards.merge` brings
    them into a card that people have written in.
    """
    return joined(keys(facts), _text(facts))


def keys(facts: Facts) -> dict[str, Any]:
    """What the Hub reads: the keys of a card that d3data owns."""
    license = facts.license
    found: dict[str, Any] = {
        "pretty_name": facts.title,
        "license": license.id,
        "license_name": license.name,
        "license_link": license.link if license.name else None,
        "source_datasets": [facts.origin] if facts.origin else None,
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "size_categories": [size_category(facts.draws)],
        "tags": facts.tags,
        "configs": [
            {
                "config_name": "preview",
                "default": True,
                "data_files": [{"split": "train", "path": "preview/train-*.parquet"}],
            }
        ],
    }
    return {key: value for key, value in found.items() if value is not None}


def size_category(count: int) -> str:
    """How the Hub calls a number of images.

    >>> size_category(999), size_category(1280), size_category(10_000_000)
    ('n<1K', '1K<n<10K', '10M<n<100M')
    """
    steps = ("1K", "10K", "100K", "1M", "10M", "100M")
    place = sum(count >= 10**power for power in range(3, 9))
    if place == 0:
        return "n<1K"
    return f"{steps[place - 1]}<n<{steps[place]}" if place < 6 else "100M<n<1B"


def _text(facts: Facts) -> str:
    about, content = facts.manifest.about, facts.manifest.content
    made, names = about.provenance, content.classes
    return templates.markdown(
        "cards/card.md.jinja",
        begin=Markdown(f"{BEGIN}\n{tagged(facts.tags)}"),
        end=Markdown(END),
        facts=facts,
        about=about,
        all_shown=len(names) <= preview.ROWS,
        classes=counted(len(names), "class", "classes"),
        classes_named=_listed(names) if len(names) <= NAMED else None,
        draws=counted(facts.draws, "draw"),
        fresh="fresh each time" if facts.fresh else "always the same",
        stored=f"{facts.stored}, {counted(facts.ledger.content_bytes, 'byte')}",
        labels=_labels(content.labels),
        whitening=content.image.whitening is not None,
        load=_load(facts),
        samples=_samples(facts),
        ledger=_ledger(facts),
        compared=table(("", "it comes to"), facts.compared),
        results=_results(facts),
        made=_plain(facts.made),
        reference=linked(about.method.reference),
        again=Markdown(again(content, facts.recipe) if facts.recipe else ""),
        images=counted(made.images, "image"),
        source=linked(made.source),
        limits=LIMITS,
        citation=fenced(facts.citation, "bibtex"),
    )


def _labels(labels: HardLabels | SoftLabels) -> str:
    if isinstance(labels, HardLabels):
        return "hard: the class"
    return f"soft: probabilities by {labels.teacher}, temperature {labels.temperature:g}"


def _load(facts: Facts) -> Markdown:
    lines = (
        "import d3data",
        "",
        f'data = d3data.load("{facts.load_name}")',
        "image, label = data[0]  # it is a PyTorch Dataset",
    )
    return fenced("\n".join(lines), "python")


def _samples(facts: Facts) -> str:
    content = facts.manifest.content
    classes, draws = preview.affordable(len(content.classes), content.image.values)
    draws = min(draws, content.sampling.draws_per_class)
    return f"{counted(draws, 'draw')} of each of {counted(classes, 'class', 'classes')}"


def _ledger(facts: Facts) -> Markdown:
    rows = [(what, f"{size:,}", portion(share)) for what, size, share in facts.spent]
    whole = ("manifest and parts", f"{facts.ledger.content_bytes:,}", portion(1))
    return table(("what for", "bytes", "share"), [*rows, whole])


def _results(facts: Facts) -> Markdown | None:
    return table(HEADINGS, facts.results) if facts.results else None


def _plain(rows: Sequence[tuple[str, str]]) -> Markdown:
    """A table of two columns of words."""
    return Markdown("\n".join(("| | |", "|:--|:--|", *(_row(row) for row in rows))))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(text, cells)) + " |"


def _listed(names: Sequence[str]) -> Markdown:
    return Markdown(", ".join(map(text, names)))
