"""A set that is drawn with more or less noise than it was distilled with."""

from dataclasses import replace
from pathlib import Path

from d3data import artifact
from d3data.artifact.ancestry import RECIPE
from d3data.artifact.artifact import Artifact
from d3data.data.sets import AnySet, as_artifact
from d3data.errors import RecipeError
from d3data.sources.base import SourceSpec
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.spatial import SpatialSpec


def scaled(source: SourceSpec, factor: float) -> SourceSpec:
    """The source whose maps are drawn with so many times their spread; one of priors as it is.

    RecipeError if items have no noise, or it becomes wider than is allowed.
    """
    if isinstance(source, GaussianSpec):
        return source
    if not isinstance(source, SpatialSpec):
        raise RecipeError(f"items of {source.kind} have no noise: leave noise out")
    values = {**source.model_dump(), "spread": factor * source.spread}
    return SpatialSpec.parse(values, where=f"noise {factor:g}")


def scale_noise(dataset: AnySet, factor: float, *, out: Path) -> Artifact:
    """Write a set whose draws are `factor` times as far from their items' means.

    Standard deviations of priors are multiplied, or the spread of maps is; a residual stays as it
    is.

    Raises:
        RecipeError: items have no noise, or it becomes wider than is allowed.
        ArtifactError: `out` exists.
    """
    old = as_artifact(dataset)
    content, about = old.manifest.content, old.manifest.about
    parts = list(map(old.part, range(len(content.parts))))
    recipe = [entry.path for entry in old.manifest.files if entry.path == RECIPE]
    return artifact.write(
        out,
        spec=scaled(content.source, factor),
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=[
            replace(part, tensors={**part.tensors, "std": factor * part.tensors["std"]})
            if "std" in part.tensors
            else part
            for part in parts
        ],
        about=about.model_copy(update={"name": f"{about.name}-noise-{factor:g}"}),
        labels=content.labels,
        draws_per_class=content.sampling.draws_per_class,
        extras={path: old.file(path) for path in recipe},
    )
