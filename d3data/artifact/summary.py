"""What an artifact says of itself to people: a few lines, and its card."""

from collections.abc import Sequence

from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import Manifest
from d3data.artifact.quantize import Quantization
from d3data.sources.base import purpose
from d3data.utils import safe_open

CARD = "README.md"
MOST_OF_CARD = 1 << 20  # bytes
KINDS = (
    "priors",
    "maps",
    "styles",
    "decoder",
    "pixels",
    "labels",
)  # of tensors, in the order that people read


def lines(artifact: Artifact, *, epoch: str) -> list[str]:
    """Name, size, origin and licence; `epoch` says what the caller has of it."""
    page, spent = artifact.manifest, artifact.ledger
    made, image = page.about.provenance, page.content.image
    color = "grey" if image.channels == 1 else "RGB"
    return [
        f"{page.about.name} {page.about.version}",
        f"    classes  {len(page.content.classes)}, {image.size}x{image.size} {color}, "
        f"{page.content.labels.kind} labels",
        f"    epoch    {epoch}",
        f"    stored   {stored(page)}",
        f"    bytes    {spent.content_bytes:,}: {spent.ipc_bytes:.3g} images per class in "
        f"bytes, {spent.ipc_floats:.3g} in values",
        f"    made     {made.date} from {made.task} by {page.about.method.name} "
        f"({page.about.method.reference})",
        f"    licence  {made.license} ({made.source})",
        f"    content  {page.content_sha256}",
    ]


def stored(manifest: Manifest) -> str:
    """How values are stored, such as `priors int4 with a scale per latent, decoder int8`."""
    content = manifest.content
    there = {purpose(name) for name in content.layout(content.parts[0])}
    rules = [part.quantization for part in content.parts]
    found = {name: _precision(name, rules) for name in KINDS if name in there}
    if set(found.values()) == {"float32"}:
        return "float32"
    return ", ".join(f"{name} {precision}" for name, precision in found.items())


def card(artifact: Artifact) -> str | None:
    """The text of an artifact's README.md, somebody's own, up to 1 MiB; None where it has none."""
    page = artifact.links.get(CARD, artifact.folder / CARD)
    if safe_open.absent(page.parent, page.name):
        return None
    text = safe_open.read(page.parent, page.name, most=MOST_OF_CARD)
    return text.decode("utf-8", errors="replace")


def _precision(kind: str, rules: Sequence[Quantization]) -> str:
    found = []
    for rule in rules:
        precision = rule.of(kind)
        scaled = kind == "priors" and precision.startswith("int")
        found.append(f"{precision} with a scale per {rule.axis[:-1]}" if scaled else precision)
    return " or ".join(dict.fromkeys(found))
