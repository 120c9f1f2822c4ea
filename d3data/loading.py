"""load(): a name in, a data set out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d3data import artifact
from d3data.dataset import DistilledDataset
from d3data.hub import names
from d3data.presentation import Output
from d3data.untrusted import Verify


def load(
    name: str | Path,
    *,
    seed: int = 0,
    draws_per_class: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    output: Output = "image",
    soft_labels: bool = True,
    as_dict: bool = False,
    verify: Verify = "always",
) -> DistilledDataset:
    """The distilled set that `name` stands for.

    Args:
        name: a short name (`digits-ipc2`, `digits-ipc2@1.0.0`), or a folder written as a path
            (`./x`, `/x`).
        seed: of all noise, 0 <= seed < 2^64.
        draws_per_class: how many draws of each class are an epoch; the set's own unless given.
        transform: applied to each image.
        target_transform: applied to each label.
        output: "image" (uint8 `tv_tensors.Image`), "float" (0 to 1) or "normalised" (unclipped).
        soft_labels: give soft labels where the set has them.
        as_dict: samples are dictionaries instead of (image, label).
        verify: what to check of the files that are opened: "always" size and sha256, "size", or
            "never".

    Raises:
        UnknownNameError: the name stands for nothing.
        ArtifactError: the set is not whole, or not what was published under the name.
    """
    place = names.resolve(name)
    found = artifact.read(place.folder, verify=verify)
    place.require(found.manifest)
    return DistilledDataset(
        found,
        seed=seed,
        draws_per_class=draws_per_class,
        transform=transform,
        target_transform=target_transform,
        output=output,
        soft_labels=soft_labels,
        as_dict=as_dict,
    )
