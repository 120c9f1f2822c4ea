"""Tasks: real labelled images with their splits, found by name or by path.

A stratified part of train is held out as validation by a fixed seed, unless the data bring a
validation split beside a test split; whatever is selected or tuned looks at validation only.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
import torch
from torch import Tensor

from d3data.errors import DataError, UnknownNameError
from d3data.images import formats
from d3data.images.decoded import DecodedImages
from d3data.images.formats import builtin, hub_datasets
from d3data.images.formats.index import ImageIndex
from d3data.images.formats.layout import Role
from d3data.images.preprocessing import Fit, Preprocessing, is_deep, range_fault, suggest_rule
from d3data.images.presets import PRESETS, Preset
from d3data.images.spec import Image, Whitening, normalized
from d3data.images.splits import Split, SplitRows, fingerprint, partition
from d3data.images.whitening import Zca
from d3data.utils.hashing import digest
from d3data.utils.packages import naming_packages
from d3data.utils.schema import Frozen, stored_as
from d3data.utils.text import some

__all__ = ["PRESETS", "Preprocessing", "Split", "Task", "TaskSpec", "load_task"]

UNSEEN = "0" * 64  # the fingerprint of images that are not on this machine
LOT = 4096  # images that are looked at together
MOST_WHITENED = 3 * 64**2  # values of an image
SEEN = 512  # images whose headers tell the size and channels of one's own


@dataclass(frozen=True, repr=False)
class Task:
    """Real labelled images: train, validation and (where there is one) test.

    `mean` and `std` are per channel, of pixels in [0, 1]; with `whitening` values are whitened
    after they are normalized. `fingerprint` (hex sha256) changes when the data, the rule or the
    splits do; it is the same on every machine.
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
    whitening: Whitening | None = None
    zca: Zca | None = None

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
        values = normalized(pixels, image)
        return self.zca(values).view(values.shape) if self.zca else values

    def renormalized(self, mean: Sequence[float], std: Sequence[float]) -> "Task":
        """The same images with another mean and standard deviation per channel."""
        splits = {part: own.renormalized(mean, std) for part, own in self._splits().items()}
        return replace(self, mean=tuple(mean), std=tuple(std), **splits)

    def whitened(self, regularization: float) -> "Task":
        """The same images, whitened by the covariance of the train images (ZCA); or DataError."""
        train, size = self.train, self.channels * self.size**2
        if size > MOST_WHITENED:
            raise DataError(
                f"whitening: ZCA of images of {size:,} values takes a matrix of as many rows and "
                f"columns; {MOST_WHITENED:,} values are the most: choose a smaller size"
            )
        if known := self.fingerprint != UNSEEN:
            lots = (train.read(lot) for lot in torch.arange(len(train)).split(LOT))
            zca = Zca.of(lots, regularization=regularization)
        else:
            zca = Zca(torch.zeros(size), torch.eye(size))
        whitening = Whitening(regularization=regularization, images_sha256=self.fingerprint)
        fingerprint = digest([self.fingerprint, "zca", str(regularization)])
        return replace(
            self,
            whitening=whitening,
            zca=zca,
            fingerprint=fingerprint if known else UNSEEN,
            **{part: own.whitened(zca) for part, own in self._splits().items()},
        )

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


def _if_given(**field: Any) -> Any:
    return pydantic.Field(default=None, exclude_if=lambda value: value is None, **field)


class SplitPatterns(Frozen):
    """Which names of folders, files or splits are which split: patterns such as `train_*`."""

    train: str | None = _if_given(min_length=1)
    validation: str | None = _if_given(min_length=1)
    test: str | None = _if_given(min_length=1)


class TaskSpec(Frozen):
    """What names a task, in plain values: the `[task]` table of a recipe.

    A value of None is the preset's, or for one's own images what `suggest_rule` derives from them.
    `data` is a place on this machine, so a recipe leaves it out; `columns` are the image and the
    label column of a table, or such members of shards; `splits` says which are the splits where
    names do not say it plainly, `classes` how many classes are meant, `white` which value is white
    in images of more than 8 bits; `validation` is the fraction of train that is held out;
    `whitening` is what ZCA adds to eigenvalues of normalized values, where they are whitened.
    """

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    data: str | None = None
    size: int | None = pydantic.Field(default=None, ge=8, le=512)
    channels: Literal[1, 3] | None = None
    fit: Fit | None = None
    columns: tuple[str, str] | None = None
    splits: SplitPatterns | None = _if_given()
    classes: int | None = _if_given(ge=1)
    white: float | None = _if_given(gt=0, le=2**32)
    validation: float = pydantic.Field(default=0.1, gt=0, le=0.5)
    whitening: float | None = _if_given(gt=0, le=1e6)
    license: str | None = stored_as("licence", default=None)
    source: str | None = None

    @classmethod
    def of_recipe(cls, path: str | Path, **given: Any) -> Self:
        """The task of a recipe, such as `d3data init` writes; what is given is taken instead."""
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))["task"]
        except (OSError, ValueError) as failure:
            raise DataError(f"{path} cannot be read as a recipe ({failure})") from None
        except KeyError:
            raise DataError(f"{path} has no [task], as recipes of `d3data init` have") from None
        table = table if isinstance(table, dict) else {"name": table}
        own = {key: value for key, value in given.items() if value is not None}
        return cls.parse({**table, **own}, where=f"{path}: task", error=DataError)

    @property
    def folder(self) -> str:
        """What its folder in `$D3DATA_DATA` is called."""
        return self.name.replace("-", "_")

    def find(self, data: str | Path | None = None) -> ImageIndex:
        """Find the images and index them, as `load` does, with the same errors."""
        preset = PRESETS.get(self.name)
        return _local(self, data or self.data, preset) or _download(self, preset)

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
        index = index if preset else index.used()
        rows = partition(index, test=test, validation=self.validation, classes=self.classes)
        rule = _rule(self, preset, rows["train"], index.place)
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

        task = Task(
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
        return task if self.whitening is None else task.whitened(self.whitening)


@naming_packages()
def load_task(
    name: str,
    *,
    data: str | Path | None = None,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Fit | None = None,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    classes: int | None = None,
    white: float | None = None,
    validation: float | None = None,
) -> Task:
    """Load real labelled images with their splits: a known data set, or your own.

    They are indexed now and decoded when they are asked for. A stratified part of train is held
    out as validation, unless the images bring a validation split beside a test split.

    Args:
        name: one of `PRESETS`, a folder of `$D3DATA_DATA`, or with `data` any name; or a recipe,
            `x.toml`, whose `[task]` says what is not given here.
        data: a path, `hf:ORG/NAME[:CONFIG][@REVISION]` or `torchvision:CLASS:ROOT`.
        size: side of the square images, 8 to 512 pixels.
        channels: 1 for grey, 3 for RGB.
        fit: the rule for images of another shape: exact, squash, crop or pad.
        columns: the image and the label column of a table, or such members of shards.
        splits: the name of each split, or a pattern of them, where names do not say it plainly.
        classes: how many there must be; one class only where this says 1.
        white: the value that is white in images of more than 8 bits.
        validation: the fraction of train that is held out; a tenth unless given.

    Returns:
        The task: `train`, `validation` and, where there is one, `test`, whose images have the
        shape (C, H, W) and are normalized by the mean and standard deviation of train.

    Raises:
        DataError: images are missing, unlabelled or too few, or an argument has no such value.
        UnknownNameError: no data set has this name, and no data are given.

    Examples:
        >>> load_task("digits").train.labels.shape
        torch.Size([1295])
    """
    values: dict[str, Any] = {
        "size": size,
        "channels": channels,
        "fit": fit,
        "columns": columns,
        "splits": splits,
        "classes": classes,
        "white": white,
        "validation": validation,
    }
    if name.endswith(".toml"):
        return TaskSpec.of_recipe(name, **values).load(data)
    values = {"name": name, **{key: value for key, value in values.items() if value is not None}}
    return TaskSpec.parse(values, where="load_task", error=DataError).load(data)


def _local(spec: TaskSpec, data: str | Path | None, preset: Preset | None) -> ImageIndex | None:
    if data is not None:
        return _read(spec, data, preset)
    if preset and not preset.hub:
        return builtin.digits()
    root = Path(os.environ.get("D3DATA_DATA") or os.devnull)
    for place in sorted(root.iterdir()) if root.is_dir() else ():
        if place.name.replace("-", "_") == spec.folder:
            return _read(spec, place, preset)
    return None


def _read(spec: TaskSpec, place: str | Path, preset: Preset | None) -> ImageIndex:
    splits: Any = spec.splits and spec.splits.dump()
    return _of_preset(formats.read(place, columns=spec.columns, splits=splits), preset)


def _of_preset(index: ImageIndex, preset: Preset | None) -> ImageIndex:
    """The classes that a preset has of a larger data set, where `index` is that of all of it."""
    if preset is None or preset.every == 1:
        return index
    whole = len(index.classes) == preset.every * preset.classes
    return index.every(preset.every) if whole else index


def _download(spec: TaskSpec, preset: Preset | None) -> ImageIndex:
    remedy = f"give its images with --data (data=...), or put them into $D3DATA_DATA/{spec.folder}"
    if preset is None:
        near = get_close_matches(spec.name, PRESETS, n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}? Else " if near else ""
        raise UnknownNameError(
            f"no place is known for the images of {spec.name!r}: {meant}{remedy}"
        )
    try:
        columns = spec.columns or (preset.image, preset.label)
        splits: Any = spec.splits.dump() if spec.splits else preset.splits
        return _of_preset(hub_datasets.read(preset.hub, columns, splits), preset)
    except DataError as failure:
        raise DataError(
            f"{spec.name} is not on this machine, and {failure}; {remedy}"
        ) from failure


def _rule(spec: TaskSpec, preset: Preset | None, train: SplitRows, place: str) -> Preprocessing:
    if preset is None:
        shapes = train.shapes(SEEN)
        deep = spec.white is None and any(map(is_deep, (kind for *_, kind in shapes)))
        if deep and (fault := range_fault(train.opened(SEEN))):
            raise DataError(f"{place}: {fault}")
        own = suggest_rule(shapes, size=spec.size)
        given = {"channels": spec.channels, "fit": spec.fit, "white": spec.white}
        return own.model_copy(update={key: value for key, value in given.items() if value})
    size = spec.size or preset.native
    fit = spec.fit or (preset.fit if size == preset.native else preset.elsewhere)
    framed = fit == preset.elsewhere == "pad"  # grey digits keep their scale in a larger square
    return Preprocessing(
        channels=spec.channels or preset.channels,
        size=size,
        fit=fit,
        padding=max(0, (size - preset.native) // 2) if framed else 0,
        white=spec.white,
    )
