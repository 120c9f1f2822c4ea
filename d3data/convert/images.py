"""Converts distilled images of DC, DSA, DM, MTT and other methods into an artifact.

They become the `pixels` source: whitening and normalization are undone, and the images are
normalized as those of their task are here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.convert import image_files, whitening
from d3data.convert.classes import class_ids, is_number
from d3data.convert.image_files import StoredImages
from d3data.convert.provenance import Origin, Target, origin
from d3data.errors import ArtifactError, DataError, FormatError
from d3data.images.spec import Image
from d3data.sources.pixels import PixelsSpec
from d3data.utils.text import some

SUFFIXES = (".pt", ".pth")
LARGE = 2  # mean absolute value of pixels that should go from 0 to 1
BEYOND = 0.1  # of the range of pixels, to either side; distilled images often exceed it
ZCA = 0.1  # what MTT, and those after it, add to the eigenvalues
METHODS = {
    "dc": "Zhao, Mopuri and Bilen 2021, arXiv:2006.05929",
    "dm": "Zhao and Bilen 2023, arXiv:2110.04181",
    "dsa": "Zhao and Bilen 2021, arXiv:2102.08259",
    "frepo": "Zhou, Nezhadarya and Ba 2022, arXiv:2206.00719",
    "glad": "Cazenavette, Wang, Torralba, Efros and Zhu 2023, arXiv:2305.01649",
    "kip": "Nguyen, Chen and Lee 2021, arXiv:2011.00050",
    "mtt": "Cazenavette, Wang, Torralba, Efros and Zhu 2022, arXiv:2203.11932",
}


def images(
    source: str | Path,
    *,
    out: str | Path,
    task: str,
    labels: str | Path | None = None,
    index: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    zca: float | None = None,
    data: str | Path | None = None,
    classes: Sequence[str] | None = None,
    method: str = "unknown",
    reference: str | None = None,
    teacher: str = "unknown",
    step_size: float = 0.01,
    draws_per_class: int | None = None,
    name: str | None = None,
    license: str | None = None,
) -> Artifact:
    """Write the artifact of distilled images, all of it or nothing.

    Args:
        source: a `.pt` file with tensors, a folder with a folder for each class, or an `.npz`.
            Where it names classes, labels go by these names, and they are the set's own names if
            neither `data` nor `classes` are given.
        out: the folder of the artifact; nothing may be there.
        task: the data set that was distilled, such as `cifar10`.
        labels: the `.pt` file of labels, where `source` has none: class numbers (N,) or
            probabilities (N, K).
        index: which of the experiments that DC, DSA and DM save together.
        mean: what was subtracted from pixels of 0 to 1, a channel each; for tensors of floats.
        std: what they were then divided by.
        zca: the images were whitened by ZCA with this regularisation, after being normalised if
            `mean` and `std` are given too; `data` are then needed.
        data: the real images: for class names and fingerprint, and to undo whitening.
        classes: the class names of the task, in its order.
        method: a name of `METHODS`, or any other.
        reference: the paper of the method; known for those in `METHODS`.
        teacher: what the manifest says of the network behind soft labels.
        step_size: the method's, as far as one knows; above 0.
        draws_per_class: how many draws of each class are an epoch; the most images of a class
            unless given.
        name: of the artifact; that of its folder unless given.
        license: the terms of the set, as its card will tell them; those of the real images
            unless given.

    Raises:
        FormatError: a file is not what it should be.
        ArtifactError: images, labels and task do not go together, or `out` is taken.
        DataError: too little is known of the task, or values are no colours after all.
    """
    target = Target(out, data, name, license, teacher, step_size, draws_per_class)
    stored = _read(source, labels, index)
    real = _origin(stored, task, data, classes)
    if stored.classes is not None:
        ids = torch.tensor(class_ids(stored.classes, real.classes, source))
        stored = replace(stored, labels=ids[stored.labels])
    moments = _moments(stored, mean, std, zca)
    if zca is not None:
        stored = replace(stored, values=_unwhitened(stored, moments, real, zca))
    image = Image(channels=real.rule.channels, size=real.rule.size, mean=real.mean, std=real.std)
    pixels = _renormalized(stored.values, moments, image)
    return target.write(
        real,
        [_part(stored, pixels, real, step_size)],
        spec=PixelsSpec(),
        image=image,
        method=method,
        reference=reference or METHODS.get(method, "unknown"),
        files=[source, *([labels] if labels else [])],
        format="images",
        index=index or None,
        mean=moments[0].tolist(),
        std=moments[1].tolist(),
        zca=zca,
    )


def _read(source: str | Path, labels: str | Path | None, index: int) -> StoredImages:
    if Path(source).suffix.lower() in SUFFIXES:
        return image_files.read_tensors(source, labels, index=index)
    if labels is not None:
        raise ArtifactError(
            f"{source}: --labels is for tensors in a file that ends in .pt or .pth; folders and "
            "archives have their own labels"
        )
    return image_files.read_images(source)


def _origin(
    stored: StoredImages, task: str, data: str | Path | None, classes: Sequence[str] | None
) -> Origin:
    """The real images; their classes have the names in the files where nothing else names them."""
    _, channels, size, _ = stored.values.shape
    real = origin(task, channels=channels, size=size, data=data, classes=classes)
    if classes or real.seen or not stored.classes or all(map(is_number, stored.classes)):
        return real
    return origin(task, channels=channels, size=size, data=data, classes=stored.classes)


def _moments(
    stored: StoredImages,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    zca: float | None,
) -> Tensor:
    """(2, C) mean and standard deviation that the values were normalised with, float64."""
    channels = stored.values.shape[1]
    if stored.values.dtype == torch.uint8:
        if mean is not None or std is not None or zca is not None:
            raise ArtifactError(
                "uint8 images are neither normalized nor whitened: omit --mean, --std and --zca"
            )
        return torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, channels)
    if zca is not None and mean is None and std is None:
        mean, std = (0.0,) * channels, (1.0,) * channels
    if mean is None or std is None:
        raise ArtifactError(
            "give the --mean and --std that these values were normalized with; for pixels from 0 "
            "to 1 they are 0 and 1"
        )
    if not len(mean) == len(std) == channels or min(std) <= 0:
        raise ArtifactError(
            f"--mean {mean}, --std {std}: give {channels} numbers each, std above 0"
        )
    return torch.tensor([list(mean), list(std)], dtype=torch.float64)


def _unwhitened(stored: StoredImages, moments: Tensor, real: Origin, zca: float) -> Tensor:
    if zca <= 0:
        raise ArtifactError(
            f"the regularization of ZCA must be above 0, got {zca} (MTT uses {ZCA})"
        )
    if real.seen is None:
        raise ArtifactError(
            "undoing ZCA needs the real images that it was computed from: give --data"
        )
    return whitening.colored(stored.values, real.seen, regularization=zca, moments=moments)


def _renormalized(values: Tensor, moments: Tensor, image: Image) -> Tensor:
    """Values of one normalisation, or uint8 pixels -> those that `image` says; float32."""
    given = values.double() / (255 if values.dtype == torch.uint8 else 1)
    mean, std = moments[..., None, None]
    _require_plausible(given * std + mean, mean)
    low, span = torch.tensor([image.mean, image.std], dtype=torch.float64)[..., None, None]
    again: Tensor = given * (std / span) + (mean - low) / span
    return again.float()


def _require_plausible(pixels: Tensor, mean: Tensor) -> None:
    below = float((pixels < -BEYOND).double().mean())
    above = float((pixels > 1 + BEYOND).double().mean())
    middle = float(pixels.abs().mean())
    if below + above > 0.5 or middle > LARGE:
        raise DataError(
            f"{below:.0%} of the pixels would be below -{BEYOND} and {above:.0%} above "
            f"{1 + BEYOND}, with a mean absolute value of {middle:.3g}; pixels go from 0 to 1. "
            "The values were normalized otherwise (--mean, --std), whitened (--zca), or go to 255"
        )
    if mean.min() > 0 and (pixels < mean).double().mean() < 0.01:
        raise DataError(
            "almost no pixel would be darker than the mean of all images (--mean): the values "
            "were not normalized with it; for pixels from 0 to 1 give --mean 0 and --std 1"
        )


def _part(stored: StoredImages, pixels: Tensor, real: Origin, step_size: float) -> Part:
    kinds, classes = stored.kinds, len(real.classes)
    if stored.labels.ndim == 2 and stored.labels.shape[1] != classes:
        raise FormatError(
            f"the soft labels have {stored.labels.shape[1]} classes, {real.task} has {classes}"
        )
    if int(kinds.min()) < 0 or int(kinds.max()) >= classes:
        raise FormatError(
            f"labels go from {int(kinds.min())} to {int(kinds.max())}, the classes of {real.task} "
            f"from 0 to {classes - 1}"
        )
    counts = torch.bincount(kinds, minlength=classes)
    if counts.min() == 0:
        missing = (counts == 0).nonzero().flatten().tolist()
        raise ArtifactError(
            f"classes without an image: {some(map(str, missing))}; a set needs images of every "
            "class: check --task"
        )
    order = kinds.argsort(stable=True)
    tensors = {"pixels": pixels[order], "step_size": torch.tensor([step_size])}
    if stored.labels.ndim == 2:
        tensors["labels"] = stored.labels[order]
    return Part(tuple(range(classes)), tuple(counts.tolist()), tensors)
