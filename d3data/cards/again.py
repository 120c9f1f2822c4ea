"""How a set is made again: by its recipe, and by rounding where it was rounded after that."""

import tomllib

from d3data.artifact.manifest import Content
from d3data.artifact.quantize import PURPOSES, Quantization
from d3data.errors import FormatError
from d3data.sources.base import purpose

DISTILL = "`d3data distill recipe.toml`"


def again(content: Content, recipe: str) -> str:
    """A sentence, in Markdown, that says how; nothing where the text of the recipe is broken."""
    there = {purpose(name) for name in content.layout(content.parts[0])}
    rules = {part.quantization.model_dump_json(): part.quantization for part in content.parts}
    asked, found = _asked(recipe), next(iter(rules.values()))
    if asked is None:
        return ""
    if len(rules) == 1 and asked.within(there) == found:
        return f"{DISTILL} makes it again."
    if len(rules) > 1:
        return f"{DISTILL} makes it again, but for the bits of its values."
    return f"{DISTILL} and then {_rounding(found)} make it again."


def _asked(recipe: str) -> Quantization | None:
    """How a recipe stores what it makes."""
    try:
        table = tomllib.loads(recipe).get("quantize", {})
        wanted = {key: table[key] for key in table if key != "steps"}
        return Quantization.parse(wanted, where="quantize", error=FormatError)
    except (tomllib.TOMLDecodeError, FormatError, TypeError):
        return None


def _rounding(rule: Quantization) -> str:
    """What rounds all tensors like this."""
    widths = {name: rule.of(name).removeprefix("float").removeprefix("int") for name in PURPOSES}
    bits = {name: width for name, width in widths.items() if width != "32"}
    if rule.axis == "items":
        named = ", ".join(f'"{name}": {width}' for name, width in bits.items())
        return f'`d3data.quantize(folder, bits={{{named}}}, axis="items")`'
    named = ",".join(f"{name}={width}" for name, width in bits.items()) or "32"
    return f"`d3data quantize FOLDER --bits {named} --out OUT`"
