"""bake(): the images of a set as pixels, which need no decoder and no generator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from d3data import artifact
from d3data.artifact.ancestry import ancestry
from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.artifact.quantize import Quantization
from d3data.data.requantize import precision
from d3data.data.sets import AnySet, as_artifact
from d3data.errors import ArtifactError
from d3data.sources import sampling
from d3data.sources.base import Source
from d3data.sources.pixels import PixelsSpec
from d3data.utils.checks import seed as checked_seed
from d3data.utils.checks import whole

CHUNK = 64  # images at a time


def bake(
    dataset: AnySet,
    *,
    out: str | Path,
    draws_per_item: int = 1,
    bits: int = 32,
    seed: int = 0,
    name: str | None = None,
) -> Artifact:
    """Write the images of a set as a set of pixels, which any tool can show and nothing decodes.

    Where an item gives another image each time it is drawn, so many draws of it become images; a
    set that is a distribution is then one no more. What it costs is the difference of the two
    ledgers. `made_from.json` keeps where the set comes from, and its recipe.

    Args:
        dataset: a set that was loaded, an artifact, a name or a folder.
        out: the folder of the new artifact; nothing may be there.
        draws_per_item: draws of each item, where items are random.
        bits: of a pixel's value: 32, 16, or 8 to 2.
        seed: of the noise of draws.
        name: of the new set; by default the old one with `-pixels`.

    Raises:
        ArtifactError: the set stores images already, nothing is random and several draws are
            asked for, the bits do not exist, `dataset` is faulty, or `out` exists.
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
    """
    old = as_artifact(dataset)
    content, about = old.manifest.content, old.manifest.about
    whole(draws_per_item, "draws_per_item", least=1, error=ArtifactError)
    if Path(out).exists():
        raise ArtifactError(f"{out} exists: choose another folder, or delete it first")
    sources = old.sources()
    if sources[0].latent_shape == content.image.shape:
        raise ArtifactError(f"{about.name} stores its images as pixels already")
    if draws_per_item > 1 and not content.source.random:
        raise ArtifactError(f"{about.name} has one image of each item: leave out draws_per_item")
    stored = Quantization.model_validate({"pixels": precision(bits)})
    parts = [
        _baked(old.part(number), source, stored, draws_per_item, checked_seed(seed))
        for number, source in enumerate(sources)
    ]
    return artifact.write(
        out,
        spec=PixelsSpec(),
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=about.model_copy(update={"name": name or f"{about.name}-pixels"}),
        labels=content.labels,
        extras=ancestry([old]),
    )


def _baked(part: Part, source: Source, stored: Quantization, draws: int, seed: int) -> Part:
    """The part whose pixels are so many draws of each item of `source`, one after the other."""
    items = torch.arange(len(source.classes)).repeat_interleave(draws)
    noise = None
    if source.noise_values:
        turns, number = np.arange(len(items)) % draws, items.numpy()
        made = sampling.noise(seed, turns, number, values=source.noise_values)
        noise = torch.from_numpy(made)
    tensors = {"pixels": _images(source, items, noise), "step_size": part.tensors["step_size"]}
    if "labels" in part.tensors:
        tensors["labels"] = part.tensors["labels"][items].contiguous()
    labels = part.quantization.labels
    return replace(
        part,
        items_per_class=tuple(draws * count for count in part.items_per_class),
        tensors=tensors,
        quantization=stored.model_copy(update={"labels": labels}),
    )


@torch.no_grad()
def _images(source: Source, items: Tensor, noise: Tensor | None) -> Tensor:
    pieces = [None] * len(items.split(CHUNK)) if noise is None else noise.split(CHUNK)
    pairs = zip(items.split(CHUNK), pieces, strict=True)
    return torch.cat([source(some, white) for some, white in pairs]).contiguous()
