"""Start from a finished set: its tensors as they are, kept in the run folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from d3data import artifact
from d3data.artifact.ancestry import PATH, RECIPE
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import NAME, Content
from d3data.errors import ForeignRunError, RecipeError
from d3data.images.spec import Image
from d3data.sources.base import Source
from d3data.utils.atomic import replace_folder

FOLDER = "start"


def kept(run: Path) -> Artifact | None:
    """The set that a run goes on from, if any."""
    return artifact.read(run / FOLDER) if (run / FOLDER / NAME).exists() else None


def keep(run: Path, start: Artifact | None) -> None:
    """Copy what a run needs of the set, so that it can be resumed, and on other machines.

    Without a set, remove the one that is left of a run that was killed before it began.
    """
    if start is None:
        shutil.rmtree(run / FOLDER, ignore_errors=True)
        return
    paths = [entry.path for entry in start.manifest.content.parts]
    paths += [one.path for one in start.manifest.files if one.path in (PATH, RECIPE)]
    files = {path: start.file(path) for path in paths}
    replace_folder(run / FOLDER, {NAME: start.manifest.encode(), **files})


def chosen(run: Path, given: Artifact | None, *, begun: bool) -> Artifact | None:
    """The set that a run in this folder goes on from: that of its beginning, else the given one.

    ForeignRunError where these differ.
    """
    if not begun:
        return given
    start = kept(run)
    of = start and start.manifest.content_sha256
    if given is not None and of != given.manifest.content_sha256:
        began = f"from {start.manifest.about.name} ({of})" if start else "from no set"
        raise ForeignRunError(
            f"{run} was started {began}, not from {given.manifest.about.name} "
            f"({given.manifest.content_sha256}): choose another folder"
        )
    return start


def require_fits(start: Artifact, draft: Content, *, steps: int) -> None:
    """Refuse a set that a run with this draft of its manifest cannot go on from."""
    content, name = start.manifest.content, start.manifest.about.name
    faults = {
        "source": (content.source, draft.source),
        "image": (content.image.shape, draft.image.shape),
        "whitening": (content.image.whitening, draft.image.whitening),
        "preprocessing": (content.preprocessing, draft.preprocessing),
        "classes": (content.classes, draft.classes),
    }
    for what, (theirs, ours) in faults.items():
        if theirs != ours:
            raise RecipeError(
                f"{name} has another {what} than the recipe: {theirs}, not {ours}; go on from it "
                "with a recipe like its own"
            )
    if content.image != draft.image:
        content.source.renormalized(start.part(0).tensors, content.image, draft.image)
    if content.labels.kind == "soft" and draft.labels.kind == "hard":
        raise RecipeError(f"{name} has soft labels, which would be lost: add a [labels] table")
    if content.labels.kind == "targets" and draft.labels.kind != "targets":
        raise RecipeError(f"{name} has learned labels, which would be lost: set learn_labels")
    blocks = {part.classes: part.items_per_class for part in content.parts}
    for part in draft.parts:
        if part.classes not in blocks:
            raise RecipeError(
                f"the subtasks of {name} are {[list(block) for block in blocks]}: add "
                f"--set 'subtasks.blocks={[list(block) for block in blocks]}'"
            )
        if (items := blocks[part.classes]) != part.items_per_class:
            raise RecipeError(
                f"{name} has other items than the recipe, {_numbers(items)} a class: add --set "
                f"'items_per_class={_numbers(content.items_per_class)}'"
            )
    if not steps:
        raise RecipeError(
            "the recipe has no steps, so nothing would be done: give it some, with an objective "
            "and optimizers"
        )


def fill(source: Source, start: Artifact, *, classes: Sequence[int], image: Image) -> None:
    """Give a blank source of some classes the tensors of the part that has them."""
    content = start.manifest.content
    blocks = [part.classes for part in content.parts]
    tensors = dict(start.part(blocks.index(tuple(classes))).tensors)
    if content.image != image:
        tensors = dict(content.source.renormalized(tensors, content.image, image))
    if source.labels is None or content.labels.kind != "targets":
        tensors.pop("labels", None)  # those of a teacher come last
    if source.labels is not None:
        tensors.setdefault("labels", source.labels.data)
    with torch.no_grad():
        source.step_size.data = tensors["step_size"].to(source.step_size)
        source.load_state_dict(tensors, strict=True)


def _numbers(items: Sequence[int]) -> int | list[int]:
    return items[0] if len(set(items)) == 1 else list(items)
