"""Converts the checkpoints that the authors of D3 published into an artifact.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999. A checkpoint is one subtask. Soft labels are
separate files, (N, K) each. The files have no step size.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.convert import torch_files
from d3data.convert.checkpoint import Checkpoint, read_checkpoint, use_batch
from d3data.convert.classes import (
    ClassOrder,
    class_blocks,
    published_order,
    require_distinct,
    require_order,
    require_own_classes,
)
from d3data.convert.labels import require_probabilities
from d3data.convert.provenance import Target, origin
from d3data.errors import ArtifactError, FormatError, nearest
from d3data.images.presets import PRESETS
from d3data.images.spec import Image
from d3data.sources import sampling
from d3data.sources.gaussian import GaussianSpec
from d3data.utils.text import brief

Norms = Literal["running", "batch"]
DRAWS = 128  # of each class in an epoch, or as many as it has items
METHOD = "gaussian + mtt + mmd"
REFERENCE = "arXiv:2403.00999; arXiv:2203.11932"  # D3, and MTT whose objective it uses

# how the published code normalizes the images of a task
IMAGENET = PRESETS["imagenet"].mean, PRESETS["imagenet"].std
CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
MOMENTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet-64": IMAGENET,
    "tiny-imagenet": IMAGENET,
}


def d3_official(
    checkpoints: Sequence[str | Path],
    *,
    out: str | Path,
    task: str = "imagenet-64",
    soft_labels: Sequence[str | Path] = (),
    teacher: str = "unknown",
    norms: Norms = "running",
    data: str | Path | None = None,
    classes: Sequence[str] | None = None,
    class_order: ClassOrder | None = None,
    blocks: Sequence[Sequence[int]] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    step_size: float = 0.01,
    draws_per_class: int | None = None,
    name: str | None = None,
    license: str | None = None,
) -> Artifact:
    """Write the artifact of published checkpoints, all of it or nothing.

    Args:
        checkpoints: one `.pt` file for each subtask, in the order of their classes.
        out: the folder of the artifact; nothing may be there.
        task: what was distilled, such as `imagenet-64`.
        soft_labels: the `.pt` file of each checkpoint's labels, in the same order; or none.
        teacher: what the manifest says of the network behind the labels.
        norms: "running" freezes the statistics in the files (evaluation mode); "batch" those of
            one batch of a draw of every prior of the subtask, as the published evaluation has it.
        data: the real images: for their class names and fingerprint. Nothing is fetched.
        classes: the class names of the task, in its order.
        class_order: of ImageNet, where class names are no WordNet ids: whether the task numbers
            classes by WordNet id ("wordnet": 0 is the tench) or as the downsampled ImageNet does
            ("downsampled": 0 is the kit fox).
        blocks: the ids that the classes of each checkpoint have in the published code's order; by
            themselves 0, 1, ..., through all checkpoints, whose names must then count upwards.
        mean: how the images were normalised, a channel each; known for ImageNet and CIFAR.
        std: likewise.
        step_size: above 0: what the set's readers are told, as the files do not say.
        draws_per_class: how many draws of each class are an epoch, at least as many as it has
            items; 128, or as many as it has items where these are more, unless given.
        name: of the artifact; that of its folder unless given.
        license: the terms of the set, as its card will tell them; those of the real images
            unless given.

    Raises:
        FormatError: a file is not what it should be.
        ArtifactError: the files do not make one set, or come in another order than their
            classes, or `out` is taken.
        DataError: too little is known of the task.
    """
    if norms not in get_args(Norms):
        raise ArtifactError(f"norms={norms!r}: {nearest(str(norms), get_args(Norms))}")
    target = Target(out, data, name, license, teacher, step_size, draws_per_class)
    require_order(checkpoints, soft_labels, ascending=blocks is None)
    subtasks = [read_checkpoint(path) for path in checkpoints]
    require_distinct([one.mean for one in subtasks], checkpoints)
    image = _image(subtasks, task, mean, std)
    real = origin(task, channels=image.channels, size=image.size, data=data, classes=classes)
    order = published_order(real, class_order)
    ids_of_each = class_blocks(subtasks, order, blocks)
    spec = _one_spec(subtasks, image)
    labels = _labels(soft_labels, subtasks, order, ids_of_each)
    parts = [
        _part(one, spec, image, ids, rows, norms=norms, step_size=step_size)
        for one, ids, rows in zip(subtasks, ids_of_each, labels, strict=True)
    ]
    if draws_per_class is None:
        items = max(number for part in parts for number in part.items_per_class)
        target = replace(target, draws_per_class=max(DRAWS, items))
    return target.write(
        real,
        parts,
        spec=spec,
        image=image,
        method=METHOD,
        reference=REFERENCE,
        files=[*checkpoints, *soft_labels],
        format="d3-official",
        norms=norms,
        class_order=class_order,
        blocks=blocks and [list(block) for block in blocks],
    )


def _image(
    subtasks: Sequence[Checkpoint],
    task: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Image:
    if not subtasks:
        raise ArtifactError("no checkpoints: give a file for each subtask")
    shapes = {(one.channels, one.size) for one in subtasks}
    if len(shapes) > 1:
        raise ArtifactError(f"the checkpoints make images of different shapes: {sorted(shapes)}")
    if (mean is None) != (std is None) or (mean is None and task not in MOMENTS):
        raise ArtifactError(
            f"the normalization of {task} is not known: give both --mean and --std"
        )
    known = MOMENTS[task] if mean is None or std is None else (tuple(mean), tuple(std))
    values = {"channels": subtasks[0].channels, "size": subtasks[0].size, "mean": known[0]}
    return Image.parse(values | {"std": known[1]}, where="the checkpoints", error=FormatError)


def _one_spec(subtasks: Sequence[Checkpoint], image: Image) -> GaussianSpec:
    decoders = [one.decoder_spec(image) for one in subtasks]
    for one, spec in zip(subtasks, decoders, strict=True):
        if spec != decoders[0]:
            raise ArtifactError(
                f"{one.path} has the decoder {spec}, {subtasks[0].path} has {decoders[0]}: the "
                "decoders of all subtasks must have the same sizes"
            )
        if spec.family == "small" and (type(one.width) is not int or one.width != spec.width):
            raise FormatError(
                f"{one.path}: kernel_num is {brief(one.width)}, the first layer has {spec.width}"
            )
    return GaussianSpec(decoder=decoders[0], std="item", values="normalised")


def _labels(
    paths: Sequence[str | Path],
    subtasks: Sequence[Checkpoint],
    order: Sequence[int],
    blocks: Sequence[Sequence[int]],
) -> Sequence[Tensor | None]:
    """Soft labels of each checkpoint in its own order of items, over the ids of the task."""
    if not paths:
        return [None] * len(subtasks)
    if len(paths) != len(subtasks):
        raise ArtifactError(f"{len(paths)} files of soft labels for {len(subtasks)} checkpoints")
    columns = torch.tensor(order)
    labels: list[Tensor] = []
    for path, one in zip(paths, subtasks, strict=True):
        shape = (len(one.mean), len(order))
        theirs = torch_files.tensor(torch_files.read(path), where=str(path), shape=shape)
        require_probabilities(theirs, path, remedy="; for logits, store the softmax")
        labels.append(torch.empty_like(theirs).index_copy_(1, columns, theirs))
    require_distinct(labels, paths)
    require_own_classes(labels, blocks, paths)
    return labels


def _part(
    one: Checkpoint,
    spec: GaussianSpec,
    image: Image,
    ids: Sequence[int],
    labels: Tensor | None,
    *,
    norms: Norms,
    step_size: float,
) -> Part:
    decoder = one.decoder(spec.decoder, image)
    items, values = one.mean.shape
    noise = torch.from_numpy(sampling.noise(0, 0, range(items), values=values))
    latents = one.mean + one.std * noise
    if norms == "batch":
        use_batch(decoder, latents)
    each = len(one.mean) // len(ids)
    one.require_finite(decoder, latents[::each])
    rows = torch.arange(len(one.mean)).view(len(ids), each)[torch.tensor(ids).argsort()].flatten()
    tensors = {
        "mean": one.mean[rows],
        "std": one.std[rows],
        "step_size": torch.tensor([step_size]),
    }
    if labels is not None:
        tensors["labels"] = labels[rows]
    folded = decoder.double().folded().state_dict()  # weights are folded in float64
    tensors |= {f"decoder.{key}": value.contiguous() for key, value in folded.items()}
    return Part(tuple(sorted(ids)), (each,) * len(ids), tensors)
