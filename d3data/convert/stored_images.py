"""Converts distilled images of DC, DSA, DM, MTT and other methods into an artifact.

They become the `pixels` source: whitening and normalization are undone, and the images are
normalized as those of their task are here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.convert import image_files, tiles
from d3data.convert.image_files import StoredImages
from d3data.convert.labels import LabelKind
from d3data.convert.normalization import given_moments, renormalized, unwhitened
from d3data.convert.provenance import Origin, Target, origin
from d3data.errors import ArtifactError, FormatError
from d3data.images.class_names import class_ids, numbered
from d3data.images.formats.layout import Role
from d3data.images.spec import Image
from d3data.sources.pixels import PixelsSpec
from d3data.utils.text import some

SUFFIXES = (".pt", ".pth")
METHODS = {
    "datm": "Guo, Wang, Cazenavette, Li, Zhang and You 2024, arXiv:2310.05773",
    "dc": "Zhao, Mopuri and Bilen 2021, arXiv:2006.05929",
    "dm": "Zhao and Bilen 2023, arXiv:2110.04181",
    "dream": "Liu, Gu, Wang, Zhu, Jiang and You 2023, arXiv:2302.14416",
    "dsa": "Zhao and Bilen 2021, arXiv:2102.08259",
    "glad": "Cazenavette, Wang, Torralba, Efros and Zhu 2023, arXiv:2305.01649",
    "idc": "Kim, Kim, Oh, Yun, Song, Jeong, Ha and Song 2022, arXiv:2205.14959",
    "mtt": "Cazenavette, Wang, Torralba, Efros and Zhu 2022, arXiv:2203.11932",
    "sre2l": "Yin, Xing and Shen 2023, arXiv:2306.13092",
}
Files = str | Path | Sequence[str | Path]


def images(
    source: Files,
    *,
    out: str | Path,
    task: str,
    labels: Files | None = None,
    labels_are: LabelKind = "probabilities",
    index: int = 0,
    factor: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    zca: float | None = None,
    data: str | Path | None = None,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    white: float | None = None,
    classes: Sequence[str] | None = None,
    method: str = "unknown",
    reference: str | None = None,
    teacher: str = "unknown",
    step_size: float | str | Path = 0.01,
    as_given: bool = False,
    draws_per_class: int | None = None,
    name: str | None = None,
    license: str | None = None,
) -> Artifact:
    """Write the artifact of distilled images, all of it or nothing.

    Args:
        source: a `.pt` file with tensors, or several of one set; or images as `load_task` takes
            them, such as a folder with a folder for each class or an `.npz`. Where it names
            classes, labels go by these names, and they are the set's own names if neither `data`
            nor `classes` are given.
        out: the folder of the artifact; nothing may be there.
        task: the data set that was distilled, such as `cifar10`; or a recipe, `x.toml`, whose
            `[task]` says how `data` are read.
        labels: the `.pt` file or files of labels, where `source` has none: class numbers (N,),
            one-hot rows or probabilities (N, K).
        labels_are: what labels (N, K) of floats are: probabilities, or logits.
        index: which of the experiments that DC, DSA and DM save together.
        factor: how many smaller images each one shows along a side, as those of IDC and DREAM do;
            they are taken apart. 1 for images that are trained on as they are.
        mean: what was subtracted from pixels of 0 to 1, a channel each; for tensors of floats.
        std: what they were then divided by.
        zca: the images were whitened by ZCA with this regularisation, after being normalised if
            `mean` and `std` are given too; `data` are then needed.
        data: the real images: for class names and fingerprint, and to undo whitening.
        columns: the image and the label column, or members of shards, of a `source` of images.
        splits: the name of each split there, or a pattern of them; train is what is converted.
        white: the value that is white in images there of more than 8 bits.
        classes: the class names of the task, in its order.
        method: a name of `METHODS`, or any other.
        reference: the paper of the method; known for those in `METHODS`.
        teacher: what the manifest says of the network behind soft labels.
        step_size: the method's, as far as one knows, above 0; or the `.pt` file of a learned one.
        as_given: accept values that are unlike pixels of the task's images.
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
    size = _step_size(step_size)
    target = Target(out, data, name, license, teacher, size, draws_per_class)
    sources, label_files = _listed(source), _listed(labels or ())
    reading: dict[str, Any] = {"columns": columns, "splits": splits, "white": white}
    stored = _read(sources, label_files, index, labels_are, reading)
    divided = tiles.require_said(stored.values, factor, method)
    stored = tiles.taken_apart(stored, divided)
    real = _origin(stored, task, data, classes)
    if stored.classes is not None:
        ids = class_ids(stored.classes, real.classes, sources[0], error=ArtifactError)
        stored = replace(stored, labels=torch.tensor(ids)[stored.labels])
    moments = given_moments(stored, mean, std, zca)
    if zca is not None:
        stored = replace(stored, values=unwhitened(stored, moments, real, zca))
    image = Image(channels=real.rule.channels, size=real.rule.size, mean=real.mean, std=real.std)
    pixels = renormalized(stored.values, moments, image, as_given=as_given)
    return target.write(
        real,
        [_part(stored, pixels, real, size)],
        spec=PixelsSpec(),
        image=image,
        method=method,
        reference=reference or METHODS.get(method, "unknown"),
        files=[*sources, *label_files],
        format="images",
        index=index or None,
        factor=divided if divided > 1 else None,
        labels_are=labels_are if stored.labels.ndim == 2 else None,
        mean=moments[0].tolist(),
        std=moments[1].tolist(),
        zca=zca,
        as_given=as_given or None,
    )


def _listed(files: Files) -> list[str | Path]:
    return [files] if isinstance(files, str | Path) else list(files)


def _step_size(given: float | str | Path) -> float:
    """A number, as it is or in words; or that of a `.pt` file."""
    if isinstance(given, str | Path) and Path(given).suffix.lower() in SUFFIXES:
        return image_files.read_number(given)
    try:
        return float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ArtifactError(
            f"step_size={given!r}: give a number, or the .pt file that holds it"
        ) from None


def _read(
    sources: Sequence[str | Path],
    labels: Sequence[str | Path],
    index: int,
    kind: LabelKind,
    reading: Mapping[str, Any],
) -> StoredImages:
    if not sources:
        raise ArtifactError("no file of images is named: give at least one")
    if all(Path(source).suffix.lower() in SUFFIXES for source in sources):
        if given := [key for key, value in reading.items() if value is not None]:
            raise ArtifactError(f"{sources[0]} holds tensors: omit {some(given)}")
        return image_files.read_tensors(sources, labels, index=index, kind=kind)
    if len(sources) > 1:
        raise ArtifactError(
            f"{sources[0]} and {sources[1]}: several files of one set must all hold tensors and "
            "end in .pt or .pth; put images into one folder"
        )
    if labels or kind != "probabilities":
        raise ArtifactError(
            f"{sources[0]}: --labels and --labels-are are for tensors in files that end in .pt or "
            ".pth; folders and archives have their own labels"
        )
    return image_files.read_images(sources[0], **reading)


def _origin(
    stored: StoredImages, task: str, data: str | Path | None, classes: Sequence[str] | None
) -> Origin:
    """The real images; their classes have the names in the files where nothing else names them."""
    _, channels, size, _ = stored.values.shape
    real = origin(task, channels=channels, size=size, data=data, classes=classes)
    if classes or real.seen or not stored.classes or numbered(stored.classes):
        return real
    return origin(task, channels=channels, size=size, data=data, classes=stored.classes)


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
