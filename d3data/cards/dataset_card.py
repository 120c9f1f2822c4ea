"""The dataset card: front matter that the Hub reads, and a text for people."""

import tomllib
from typing import Any

from d3data.artifact.quantize import PURPOSES, Quantization
from d3data.cards.facts import HEADINGS, LIMITS, Facts
from d3data.cards.merging import BEGIN, END, joined, tagged
from d3data.data import preview
from d3data.errors import FormatError
from d3data.sources.base import purpose
from d3data.utils import templates
from d3data.utils.markdown import Markdown, fenced, linked, text
from d3data.utils.text import counted, portion

NAMED = 100  # classes that a card lists by name
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")  # steps of the Hub
HERE = "  # in the folder of this card"
LOAD = """import d3data

data = d3data.load("{}"){}
image, label = data[0]  # it is a PyTorch Dataset"""


def render(facts: Facts) -> str:
    """The `README.md` of a set: the same facts give the same text.

    The text between its two marks and the keys of its YAML are ours; `d3data.cards.merge` brings
    them into a card that people have written in.
    """
    return joined(keys(facts), _text(facts))


def keys(facts: Facts) -> dict[str, Any]:
    """What the Hub reads: the keys of a card that d3data owns."""
    license = facts.license
    files = [{"split": "train", "path": "preview/train-*.parquet"}]
    values: dict[str, Any] = {
        "pretty_name": facts.title,
        "license": license.id,
        "license_name": license.name,
        "license_link": license.link if license.name else None,
        "source_datasets": [facts.origin] if facts.origin else None,
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "size_categories": [size_category(facts.draws)],
        "tags": facts.tags,
        "configs": [{"config_name": "preview", "default": True, "data_files": files}],
    }
    return {key: value for key, value in values.items() if value is not None}


def size_category(count: int) -> str:
    """The name that the Hub has for a number of images.

    >>> size_category(999), size_category(1280), size_category(10_000_000)
    ('n<1K', '1K<n<10K', '10M<n<100M')
    """
    place = sum(count >= 10**power for power in range(3, 9))
    return f"{SIZES[place - 1]}<n<{SIZES[place]}" if place else "n<1K"


def _text(facts: Facts) -> str:
    content, names = facts.manifest.content, facts.manifest.content.classes
    classes, draws = preview.affordable(len(names), content.image.values)
    draws = min(draws, content.sampling.draws_per_class)
    return templates.markdown(
        "cards/card.md.jinja",
        begin=Markdown(f"{BEGIN}\n{tagged(facts.tags)}"),
        end=Markdown(END),
        facts=facts,
        about=facts.manifest.about,
        content=content,
        all_shown=len(names) <= preview.ROWS,
        classes=counted(len(names), "class", "classes"),
        classes_named=Markdown(", ".join(map(text, names))) if len(names) <= NAMED else None,
        load=fenced(LOAD.format(facts.load_name, HERE * (facts.load_name == ".")), "python"),
        samples=f"{counted(draws, 'draw')} of each of {counted(classes, 'class', 'classes')}",
        headings=HEADINGS,
        reproduce=Markdown(reproduce(facts) if facts.recipe else ""),
        limits=LIMITS,
        citation=fenced(facts.citation, "bibtex"),
        counted=counted,
        linked=linked,
        portion=portion,
    )


def reproduce(facts: Facts) -> str:
    """A sentence in Markdown: which commands make the set again; empty for a broken recipe."""
    content = facts.manifest.content
    try:
        recipe = tomllib.loads(facts.recipe)
    except tomllib.TOMLDecodeError:
        return ""
    start = recipe.get("warm_start")
    after = start.get("after") if isinstance(start, dict) else None
    options = " --from START" * bool(after) + " --data FOLDER" * (not facts.preset)
    distill = f"`d3data distill recipe.toml{options}`"
    if after:
        distill += f", where START is {text(after)} (its recipe is in `made_from.json`),"
    purposes = {purpose(name) for name in content.layout(content.parts[0])}
    rules = {part.quantization.model_dump_json(): part.quantization for part in content.parts}
    first, wanted = next(iter(rules.values())), _quantization(recipe)
    if wanted is None:
        return ""
    if len(rules) == 1 and wanted.within(purposes) == first:
        return f"{distill} makes it again."
    if len(rules) > 1:
        return f"{distill} makes it again, but for the bits of its values."
    return f"{distill} and then {_rounding(first)} make it again."


def _quantization(recipe: dict[str, Any]) -> Quantization | None:
    try:
        table = recipe.get("quantize", {})
        wanted = {key: table[key] for key in table if key != "steps"}
        return Quantization.parse(wanted, where="quantize", error=FormatError)
    except (FormatError, TypeError):
        return None


def _rounding(rule: Quantization) -> str:
    """The call or the command that rounds all tensors by this rule."""
    widths = {name: rule.of(name).removeprefix("float").removeprefix("int") for name in PURPOSES}
    bits = {name: width for name, width in widths.items() if width != "32"}
    if rule.axis == "items":
        named = ", ".join(f'"{name}": {width}' for name, width in bits.items())
        return f'`d3data.quantize(folder, bits={{{named}}}, axis="items")`'
    named = ",".join(f"{name}={width}" for name, width in bits.items()) or "32"
    return f"`d3data quantize FOLDER --bits {named} --out OUT`"
