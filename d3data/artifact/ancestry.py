"""What a set was made from that is a set itself: the page `made_from.json` of an artifact."""

import json
from collections.abc import Sequence
from typing import Any

from d3data.artifact.artifact import Artifact
from d3data.errors import FormatError

PATH = "made_from.json"
RECIPE = "recipe.toml"


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
