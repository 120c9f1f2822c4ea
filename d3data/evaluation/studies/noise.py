"""A set that is drawn with more or less noise than it was distilled with."""

from dataclasses import replace
from pathlib import Path

from d3data import artifact
from d3data.artifact.ancestry import RECIPE
from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.data.sets import AnySet, as_artifact


def scale_noise(dataset: AnySet, factor: float, *, out: Path) -> Artifact:
    """Write a set whose draws are `factor` times as far from their items' means.

    Raises:
        RecipeError: items have no noise, or it becomes wider than is allowed.
        ArtifactError: `out` exists.
    """
    old = as_artifact(dataset)
    content, about = old.manifest.content, old.manifest.about
    parts = list[Part]()
    for part in map(old.part, range(len(content.parts))):
        spec, tensors = content.source.with_noise(factor, part.tensors)
        parts.append(replace(part, tensors=tensors))
    recipe = [entry.path for entry in old.manifest.files if entry.path == RECIPE]
    return artifact.write(
        out,
        spec=spec,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=about.model_copy(update={"name": f"{about.name}-noise-{factor:g}"}),
        labels=content.labels,
        draws_per_class=content.sampling.draws_per_class,
        extras={path: old.file(path) for path in recipe},
    )
