"""A set that is drawn with more or less noise than it was distilled with."""

from dataclasses import replace
from pathlib import Path

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.data.sets import AnySet, as_artifact
from d3data.errors import ArtifactError
from d3data.sources.spatial import SpatialSpec


def scale_noise(dataset: AnySet, factor: float, *, out: Path) -> Artifact:
    """Write a set whose draws are `factor` times as far from their items' means.

    Standard deviations of priors are multiplied, or the spread of maps is; a residual stays as it
    is.

    Raises:
        ArtifactError: the set has neither, or `out` exists.
    """
    old = as_artifact(dataset)
    content, about = old.manifest.content, old.manifest.about
    spec, parts = content.source, list(map(old.part, range(len(content.parts))))
    if isinstance(spec, SpatialSpec):
        spec = spec.model_copy(update={"spread": factor * spec.spread})
    elif all("std" in part.tensors for part in parts):
        parts = [
            replace(part, tensors={**part.tensors, "std": factor * part.tensors["std"]})
            for part in parts
        ]
    else:
        raise ArtifactError(f"{about.name} is drawn without noise of a width")
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
    )
