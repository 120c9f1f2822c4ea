"""load(): a name in, a data set out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from d3data.data.dataset import DistilledDataset
from d3data.data.outputs import Output
from d3data.hub import resolve
from d3data.hub.client import HubOptions
from d3data.utils.safe_open import Verify


def load(
    name: str | Path,
    *,
    seed: int = 0,
    draws_per_class: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    output: Output = "image",
    soft_labels: bool | Literal["auto"] = "auto",
    as_dict: bool = False,
    verify: Verify = "always",
    device: str | torch.device = "cpu",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> DistilledDataset:
    """The distilled set that `name` stands for.

    Args:
        name: a short name (`digits-ipc4`, `digits-ipc4@1.0.0`), a repository of the Hugging Face
            Hub (`org/name`, its newest version; `org/name@1.0.0`, `@~=1.0`, `@main`), or a folder
            written as a path (`./x`, `/x`).
        seed: of all noise, 0 <= seed < 2^64.
        draws_per_class: how many draws of each class are an epoch; the set's own unless given.
        transform: applied to each image.
        target_transform: applied to each label.
        output: "image" (uint8 `tv_tensors.Image`), "float" (0 to 1), "normalised" (unclipped) or
            "latent" (what a device decodes, `DistilledDataset.decode`).
        soft_labels: give soft labels (True), classes (False), or the set's own kind ("auto").
        as_dict: samples are dictionaries instead of (image, label).
        verify: what to check of the files that are opened: "always" size and sha256, "size", or
            "never".
        device: where images are decoded and returned; a loader with workers needs "cpu", or a
            `DecodingLoader`.
        revision: what else comes after the @.
        cache_dir: the Hub's cache; that of HF_HUB_CACHE or HF_HOME unless given.
        token: what to show the Hub; what one is logged in with unless given.
        local_files_only: ask nothing of the Hub, as with HF_HUB_OFFLINE=1.
        force_download: fetch again what is in the cache.

    Raises:
        UnknownNameError: the name stands for nothing.
        HubError: the Hub or its cache cannot give the set.
        ArtifactError: the set is not whole, or not what was published under the name.
        DeviceError: this machine does not have the device.
    """
    options = HubOptions(
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
        force_download=force_download,
    )
    place = resolve.resolve(name, options)
    found = place.read(verify=verify)
    with place.suggest_download():
        return DistilledDataset(
            found,
            seed=seed,
            draws_per_class=draws_per_class,
            transform=transform,
            target_transform=target_transform,
            output=output,
            soft_labels=soft_labels,
            as_dict=as_dict,
            device=device,
            revision=place.revision,
        )
