"""Tasks: real labelled images with their splits, found by name or by path.

A stratified part of train is held out as validation by a fixed seed, unless the data bring a
validation split beside a test split; whatever is selected or tuned looks at validation only.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from d3data.errors import DataError, UnknownNameError, nearest
from d3data.images import formats
from d3data.images.formats import builtin, hub_datasets
from d3data.images.formats.index import ImageIndex, Role
from d3data.images.preprocessing import Fit, Preprocessing, suggest_rule
from d3data.images.presets import PRESETS, Preset
from d3data.images.spec import Image, normalized
from d3data.images.splits import DecodedImages, Split, SplitRows, fingerprint, partition
from d3data.utils.hashing import digest
from d3data.utils.schema import Frozen, stored_as
from d3data.utils.text import some

__all__ = ["PRESETS", "Preprocessing", "Split", "Task", "TaskSpec", "load_task"]

UNSEEN = "0" * 64  # the fingerprint of images that are not on this machine
SEEN = 512  # images whose headers tell the size and channels of one's own


@dataclass(frozen=True, repr=False)
class Task:
    """Real labelled images: train, validation and (where there is one) test.

    `mean` and `std` are per channel, of pixels in [0, 1]. `fingerprint` (hex sha256) changes when
    the data, the rule or the splits do; it is the same on every machine.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rule: Preprocessing
    license: str
    source: str
    fingerprint: str
    train: Split
    validation: Split
    test: Split | None

    def __repr__(self) -> str:
        counts = ", ".join(f"{part} {len(own)}" for part, own in self._splits().items() if own)
        color = "grey" if self.channels == 1 else "RGB"
        return (
            f"Task({self.name}: {len(self.classes)} classes ({some(self.classes)}), "
            f"{self.size}x{self.size} {color}; {counts}; licence: {self.license}; {self.source})"
        )

    @property
    def channels(self) -> Literal[1, 3]:
        """1 for grey, 3 for RGB."""
        return self.rule.channels

    @property
    def size(self) -> int:
        """The side of its square images, in pixels."""
        return self.rule.size

    def normalized(self, pixels: Tensor) -> Tensor:
        """(..., C, H, W) uint8 pixels -> float32 values, as those of its splits."""
        image = Image(channels=self.channels, size=self.size, mean=self.mean, std=self.std)
        return normalized(pixels, image)

    def renormalized(self, mean: Sequence[float], std: Sequence[float]) -> "Task":
        """The same images with another mean and standard deviation per channel."""
        splits = {part: own.renormalized(mean, std) for part, own in self._splits().items()}
        return replace(self, mean=tuple(mean), std=tuple(std), **splits)

    def on(self, device: torch.device) -> "Task":
        """The same images, kept on a device, where they fit, and normalized there."""
        return replace(self, **{part: own.on(device) for part, own in self._splits().items()})

    def stored(self, files: Sequence[Path]) -> "Task":
        """The same, whose train images are in files already; see `Split.store`."""
        return replace(self, train=self.train.stored(files)) if files else self

    def subtask(self, classes: Sequence[int]) -> "Task":
        """The task of some of its classes, relabelled 0, 1, ... in the order given.

        Raises:
            DataError: a class is unknown, named twice, or none is named.
        """
        known = range(len(self.classes))
        if not classes or len({*classes}) != len(classes) or not {*classes} <= {*known}:
            raise DataError(
                f"{self.name}: {list(classes)} are not distinct classes of 0..{len(known) - 1}"
            )
        return replace(
            self,
            classes=tuple(self.classes[label] for label in classes),
            fingerprint=digest([self.fingerprint, *map(str, classes)]),
            **{part: own.of(classes) for part, own in self._splits().items()},
        )

    def _splits(self) -> dict[str, Any]:
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: own for part, own in splits.items() if own is not None}


class TaskSpec(Frozen):
    """What names a task, in plain values: the `[task]` table of a recipe.

    A value of None is the preset's, or for one's own images what `suggest_rule` derives from them.
    `data` is a place on this machine, so a recipe leaves it out; `columns` are the image and the
    label column of a table; `validation` is the fraction of train that is held out.
    """

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    data: str | None = None
    size: int | None = pydantic.Field(default=None, ge=8, le=512)
    channels: Literal[1, 3] | None = None
    fit: Fit | None = None
    columns: tuple[str, str] | None = None
    validation: float = pydantic.Field(default=0.1, gt=0, le=0.5)
    license: str | None = stored_as("licence", default=None)
    source: str | None = None

    @property
    def folder(self) -> str:
        """What its folder in `$D3DATA_DATA` is called."""
        return self.name.replace("-", "_")

    def load(
        self, data: str | Path | None = None, *, memory: int | None = None, imagine: bool = False
    ) -> Task:
        """Find the images and index them; they are decoded when they are asked for.

        Args:
            data: where they are, in place of `self.data`: a path, `hf:...` or `torchvision:...`.
            memory: bytes of decoded images that each split may keep; an eighth of all if None.
            imagine: use as many black images where those of a known data set are not on this
                machine; the fingerprint is then `UNSEEN`.

        Raises:
            DataError: images are missing, unlabelled or too few.
            UnknownNameError: no data set has this name and no data are given.
        """
        preset = PRESETS.get(self.name)
        index = _local(self, data or self.data, preset)
        imagined = index is None and imagine and preset is not None
        if index is None:
            index = builtin.black(preset) if preset and imagined else _download(self, preset)
        test = preset.test if preset else "test"
        rows = partition(index, test=test, validation=self.validation)
        rule = _rule(self, preset, rows["train"])
        images = {
            part: DecodedImages(own.images, torch.from_numpy(own.rows), rule, memory=memory)
            for part, own in rows.items()
        }
        if preset and preset.channels == rule.channels:
            mean, std = preset.mean, preset.std
        else:
            mean, std = images["train"].moments()

        def split(part: Role) -> Split:
            labels = torch.from_numpy(rows[part].labels)
            return Split(images[part], labels, classes=len(index.classes), mean=mean, std=std)

        return Task(
            name=self.name,
            classes=index.classes,
            mean=mean,
            std=std,
            rule=rule,
            license=self.license or (preset.license if preset else "not stated"),
            source=self.source or (preset.source if preset else "own images"),
            fingerprint=UNSEEN if imagined else fingerprint(index, rows, rule.model_dump_json()),
            train=split("train"),
            validation=split("validation"),
            test=split("test") if "test" in rows else None,
        )


def load_task(
    name: str,
    *,
    data: str | Path | None = None,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Fit | None = None,
    columns: tuple[str, str] | None = None,
    validation: float = 0.1,
) -> Task:
    """Load a task by name; what the arguments mean is said at `TaskSpec` and `TaskSpec.load`.

    Args:
        name: one of `PRESETS`, a folder of `$D3DATA_DATA`, or with `data` any name.
        data: a path, `hf:ORG/NAME[:CONFIG][@REVISION]` or `torchvision:CLASS:ROOT`.
        size: side of the square images, 8 to 512 pixels.
        channels: 1 for grey, 3 for RGB.
        fit: the rule for images of another shape: exact, squash, crop or pad.
        columns: the image and the label column of a table.
        validation: the fraction of train that is held out.
    """
    values = {
        "name": name,
        "size": size,
        "channels": channels,
        "fit": fit,
        "columns": columns,
        "validation": validation,
    }
    return TaskSpec.parse(values, where="load_task", error=DataError).load(data)


def _local(spec: TaskSpec, data: str | Path | None, preset: Preset | None) -> ImageIndex | None:
    if data is not None:
        return formats.read(data, columns=spec.columns)
    if preset and not preset.hub:
        return builtin.digits()
    root = Path(os.environ.get("D3DATA_DATA") or os.devnull)
    for place in sorted(root.iterdir()) if root.is_dir() else ():
        if place.name.replace("-", "_") == spec.folder:
            return formats.read(place, columns=spec.columns)
    return None


def _download(spec: TaskSpec, preset: Preset | None) -> ImageIndex:
    remedy = f"give its images with --data (data=...), or put them into $D3DATA_DATA/{spec.folder}"
    if preset is None:
        raise UnknownNameError(
            f"no data set {spec.name!r}: {nearest(spec.name, PRESETS)}; {remedy}"
        )
    try:
        return hub_datasets.read(preset.hub, spec.columns or (preset.image, preset.label))
    except DataError as failure:
        raise DataError(
            f"{spec.name} is not on this machine, and {failure}; {remedy}"
        ) from failure


def _rule(spec: TaskSpec, preset: Preset | None, train: SplitRows) -> Preprocessing:
    if preset is None:
        own = suggest_rule(train.shapes(SEEN), size=spec.size)
        return own.model_copy(
            update={"channels": spec.channels or own.channels, "fit": spec.fit or own.fit}
        )
    size = spec.size or preset.native
    fit = spec.fit or (preset.fit if size == preset.native else preset.elsewhere)
    framed = fit == preset.elsewhere == "pad"  # grey digits keep their scale in a larger square
    return Preprocessing(
        channels=spec.channels or preset.channels,
        size=size,
        fit=fit,
        padding=max(0, (size - preset.native) // 2) if framed else 0,
    )
