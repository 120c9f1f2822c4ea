"""load(): a name in, a data set out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor

from d3data.artifact.drawing import Latent
from d3data.data.dataset import DistilledDataset
from d3data.data.options import SampleOptions
from d3data.data.outputs import Output
from d3data.hub import resolve
from d3data.hub.client import HubOptions
from d3data.utils.safe_open import Verify

if TYPE_CHECKING:
    import PIL.Image


class LoadArguments(TypedDict, total=False):
    """The arguments of `load` that do not decide of which type a sample is."""

    seed: int
    draws_per_class: int | None
    soft_labels: bool | Literal["auto"]
    verify: Verify
    device: str | torch.device
    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool


@overload
def load(
    name: str | Path,
    *,
    transform: None = None,
    target_transform: None = None,
    output: Literal["image", "float", "normalized"] = "image",
    as_dict: Literal[False] = False,
    **others: Unpack[LoadArguments],
) -> DistilledDataset: ...
@overload
def load(
    name: str | Path,
    *,
    transform: None = None,
    target_transform: None = None,
    output: Literal["pil"],
    as_dict: Literal[False] = False,
    **others: Unpack[LoadArguments],
) -> DistilledDataset[tuple["PIL.Image.Image", int | Tensor]]: ...
@overload
def load(
    name: str | Path,
    *,
    target_transform: None = None,
    output: Literal["latent"],
    as_dict: Literal[False] = False,
    **others: Unpack[LoadArguments],
) -> DistilledDataset[tuple[Latent, int | Tensor]]: ...
@overload
def load(
    name: str | Path,
    *,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    output: Output = "image",
    as_dict: Literal[True],
    **others: Unpack[LoadArguments],
) -> DistilledDataset[dict[str, Any]]: ...
@overload
def load(
    name: str | Path,
    *,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    output: Output = "image",
    as_dict: bool = False,
    **others: Unpack[LoadArguments],
) -> DistilledDataset[Any]: ...
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
) -> DistilledDataset[Any]:
    """Load a distilled set as a PyTorch data set, whose images are drawn anew in every epoch.

    A set of the Hugging Face Hub is downloaded once, and verified by the SHA-256 of its files;
    later calls that name a version contact no network.

    Args:
        name: A short name of `d3data.list_sets()`, such as `"digits-ipc4"` or
            `"digits-ipc4@1.0.0"`; a repository of the Hub (`"org/name"` is its newest version;
            also `"org/name@1.0.0"`, `"@~=1.0"`, `"@main"`); or a folder, as a `Path` or written
            with a slash (`"./x"`, `"/x"`).
        seed: The seed of all noise, 0 <= seed < 2^64. Equal seeds give equal images, in any
            process and on any machine.
        draws_per_class: How many draws of each class an epoch has. The default is the set's own.
        transform: A function that is applied to each image.
        target_transform: A function that is applied to each label.
        output: What an image is: `"image"` (a uint8 `tv_tensors.Image`), `"pil"` (as torchvision's
            data sets have them), `"float"` (float32 from 0 to 1), `"normalized"` (float32 with the
            mean and standard deviation of the real images removed, not clipped) or `"latent"`
            (what `DistilledDataset.decode` makes an image of later).
        soft_labels: Whether labels are probabilities (True), classes (False), or what the set has
            ("auto").
        as_dict: Whether a sample is a dictionary instead of a pair.
        verify: How each file that is opened is checked: `"always"` by its size and SHA-256,
            `"size"`, or `"never"`.
        device: Where images are decoded and returned. A loader with workers needs `"cpu"`, or a
            `DecodingLoader`.
        revision: A version, branch or commit, in place of the `@...` of the name.
        cache_dir: The Hub's cache. The default is that of `HF_HUB_CACHE` or `HF_HOME`.
        token: The token for the Hub. The default is the one that `hf auth login` saved.
        local_files_only: Do not contact the Hub, as with `HF_HUB_OFFLINE=1`.
        force_download: Download files again that are in the cache.

    Returns:
        The set. `len` is the number of draws of an epoch, and a sample is `(image, label)`: an
        image of shape (C, H, W) and a class as an `int`, or float32 probabilities of shape (K,).
        With `as_dict` it is a dictionary with the keys image, label, item, epoch and draw.

    Raises:
        UnknownNameError: There is no set of this name.
        HubError: The Hub or its cache cannot provide the set.
        ArtifactError: Files are missing or broken, or are not what was published under the name.
        DeviceError: This machine does not have the device.
        D3DataError: An option has a value that does not exist.

    Examples:
        >>> import d3data
        >>> data = d3data.load("digits-ipc4", output="float")
        >>> image, label = data[0]
        >>> image.shape, data.classes[label], len(data)
        (torch.Size([1, 8, 8]), '0', 1280)

        With a loader, every epoch has new images:

        >>> from torch.utils.data import DataLoader
        >>> images, labels = next(iter(DataLoader(data, batch_size=64, shuffle=True)))
        >>> images.shape
        torch.Size([64, 1, 8, 8])
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
