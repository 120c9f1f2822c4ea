"""Sets made from sets: written again with other parts, and the page `made_from.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d3data.artifact.artifact import Artifact, write
from d3data.artifact.part import Part
from d3data.errors import FormatError
from d3data.sources.base import SourceSpec

PATH = "made_from.json"
RECIPE = "recipe.toml"


def rewrite(
    old: Artifact,
    folder: str | Path,
    *,
    name: str,
    parts: Sequence[Part],
    spec: SourceSpec | None = None,
) -> Artifact:
    """Write a set again with other parts, under another name, to `folder`.

    It keeps recipe and provenance, but not reports and previews, which are of the old content.
    """
    content, most = old.manifest.content, max(max(part.items_per_class) for part in parts)
    recipe = [entry.path for entry in old.manifest.files if entry.path == RECIPE]
    return write(
        folder,
        spec=spec or content.source,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=old.manifest.about.model_copy(update={"name": name}),
        labels=content.labels,
        draws_per_class=max(content.sampling.draws_per_class, most),
        extras={path: old.file(path) for path in recipe},
    )


def ancestry(sets: Sequence[Artifact]) -> dict[str, bytes]:
    """The page about these sets: their manifests, recipes, and what they were made from.

    FormatError where a set's own page or recipe is broken.
    """
    return {PATH: (json.dumps({"sets": [*map(_entry, sets)]}, indent=1) + "\n").encode()}


def _entry(one: Artifact) -> dict[str, Any]:
    page, files = one.manifest, {entry.path for entry in one.manifest.files}
    try:
        recipe = one.file(RECIPE).decode() if RECIPE in files else None
        before = json.loads(one.file(PATH))["sets"] if PATH in files else []
    except (ValueError, LookupError, TypeError, RecursionError) as fault:
        raise FormatError(
            f"{RECIPE} or {PATH} of {page.about.name} is broken ({type(fault).__name__}), so it "
            "is not known what it was made from: fetch it again, or ask its author"
        ) from None
    return {
        "about": page.about.dump(),
        "classes": page.content.classes,
        "content_sha256": page.content_sha256,
        "recipe": recipe,
        "made_from": before,
    }
