"""load(): a name in, a data set out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from d3data.data.dataset import DistilledDataset
from d3data.data.options import SampleOptions
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
    """Load the distilled set `name`.

    Args:
        name: a short name (`digits-ipc4`, `digits-ipc4@1.0.0`), a repository of the Hugging Face
            Hub (`org/name`, its newest version; `org/name@1.0.0`, `@~=1.0`, `@main`), or a folder
            written as a path (`./x`, `/x`).
        seed: of all noise, 0 <= seed < 2^64.
        draws_per_class: how many draws of each class an epoch has; the set's own by default.
        transform: applied to each image.
        target_transform: applied to each label.
        output: "image" (uint8 `tv_tensors.Image`), "pil" (as torchvision's data sets have them),
            "float" (0 to 1), "normalized" (unclipped) or "latent" (decoded later, by
            `DistilledDataset.decode`).
        soft_labels: return soft labels (True), classes (False), or what the set has ("auto").
        as_dict: samples are dictionaries instead of (image, label).
        verify: how each file that is opened is checked: "always" size and SHA-256, "size", or
            "never".
        device: where images are decoded and returned; a loader with workers needs "cpu", or a
            `DecodingLoader`.
        revision: a version, branch or commit, instead of `@...` in the name.
        cache_dir: the Hub's cache; by default that of HF_HUB_CACHE or HF_HOME.
        token: for the Hub; by default the one saved by `hf auth login`.
        local_files_only: do not contact the Hub, as with HF_HUB_OFFLINE=1.
        force_download: download files again that are in the cache.

    Raises:
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
        ArtifactError: files are missing or broken, or are not what was published under the name.
        DeviceError: this machine does not have the device.
    """
    samples = SampleOptions(
        seed=seed,
        draws_per_class=draws_per_class,
        transform=transform,
        target_transform=target_transform,
        output=output,
        soft_labels=soft_labels,
        as_dict=as_dict,
        device=device,
    )
    hub = HubOptions(
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
        force_download=force_download,
    )
    place = resolve.resolve(name, hub)
    artifact = place.read(verify=verify)
    with place.suggest_download():
        return DistilledDataset(artifact, samples, revision=place.revision)
