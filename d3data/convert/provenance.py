"""What is known of the real images behind a converted set, and how the set is written.

The real images are seldom at hand: then what is known comes from the table of presets.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import About, SoftLabels
from d3data.artifact.part import Part
from d3data.errors import ArtifactError, DataError
from d3data.images.preprocessing import Preprocessing
from d3data.images.presets import PRESETS
from d3data.images.spec import Image
from d3data.images.tasks import UNSEEN, Task, load_task
from d3data.utils.checks import whole
from d3data.utils.device import versions
from d3data.utils.hashing import digest, file_sha256
from d3data.utils.paths import expanded
from d3data.utils.text import slug

NOTES = "conversion.json"


@dataclass(frozen=True)
class Origin:
    """The real images that a set was distilled from: `images` of them to train on.

    `seen` is the task of these images, where they are at hand.
    """

    task: str
    classes: tuple[str, ...]
    rule: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    license: str
    source: str
    fingerprint: str
    images: int
    seen: Task | None = None


@dataclass(frozen=True)
class Target:
    """Where a converted set is written, and what its manifest says that its files do not."""

    out: str | Path
    data: str | Path | None
    name: str | None
    license: str | None
    teacher: str
    step_size: float
    draws_per_class: int | None

    def __post_init__(self) -> None:
        if os.path.lexists(self.out):
            raise ArtifactError(f"{self.out} already exists: choose another folder or delete it")
        if not 0 < self.step_size < math.inf:
            raise ArtifactError(f"step_size={self.step_size}: it must be finite and above 0")
        if self.draws_per_class is not None:
            whole(self.draws_per_class, "draws_per_class", least=1, error=ArtifactError)
        self.soft_labels()

    def soft_labels(self) -> SoftLabels:
        """The manifest's entry for soft labels."""
        values = {"teacher": self.teacher, "temperature": 1.0}
        return SoftLabels.parse(values, where="soft labels", error=ArtifactError)

    def write(
        self,
        real: Origin,
        parts: Sequence[Part],
        *,
        spec: Any,
        image: Image,
        method: str,
        reference: str,
        files: Sequence[str | Path],
        **options: object,
    ) -> Artifact:
        """Write the artifact: all of it, or nothing.

        `files` are what was converted and `options` how, for `conversion.json`, which omits those
        that are None.
        """
        provenance = {
            "task": real.task,
            "licence": self.license or real.license,
            "source": real.source,
            "fingerprint": real.fingerprint,
            "images": real.images,
            "recipe_sha256": None,
            "seeds": (),
            "versions": versions(),
            "device": "unknown",
            "seconds": 0.0,
            "date": datetime.now(UTC).date().isoformat(),
        }
        about = {
            "name": self.name or slug(Path(self.out).resolve().name),
            "version": "1.0.0",
            "method": {"name": method, "reference": reference},
            "provenance": provenance,
        }
        return artifact.write(
            self.out,
            spec=spec,
            image=image,
            preprocessing=real.rule,
            classes=real.classes,
            parts=parts,
            about=About.parse(about, where="the converted set", error=ArtifactError),
            labels=self.soft_labels() if "labels" in parts[0].tensors else None,
            draws_per_class=self.draws_per_class,
            extras=_notes(files, {"data": self.data and _public(self.data), **options}),
        )


def origin(
    task: str, *, channels: int, size: int, data: str | Path | None, classes: Sequence[str] | None
) -> Origin:
    """What is known of `task` at this shape: from its images at `data`, else from its preset.

    Nothing is downloaded. Class names are those of the images unless given, or else numbers.
    """
    if data is not None or task == "digits" or task.endswith(".toml"):
        seen = load_task(task, data=data, size=size, channels=3 if channels == 3 else 1)
        same = ("classes", "rule", "mean", "std", "license", "source", "fingerprint")
        images = len(seen.train) + len(seen.validation)
        about = {field: getattr(seen, field) for field in same}
        real = Origin(task=seen.name, images=images, seen=seen, **about)
    elif task in PRESETS:
        real = _known(task)
    else:
        raise DataError(
            f"{task!r} is not one of {', '.join(sorted(PRESETS))}, so its classes and shape are "
            "unknown: give its real images with --data (data=...)"
        )
    names = tuple(classes) if classes else real.classes
    if len(names) != len(real.classes):
        raise DataError(f"{len(names)} class names were given, {task} has {len(real.classes)}")
    if (real.rule.channels, real.rule.size) != (channels, size):
        raise DataError(
            f"the set's images are {channels}x{size}x{size}, those of {task} are "
            f"{real.rule.channels}x{real.rule.size}x{real.rule.size}: name another task, or give "
            "its images with --data (data=...), which are then brought to the set's shape"
        )
    return replace(real, classes=names)


def wordnet_order() -> tuple[str, ...]:
    """The WordNet ids of the classes of the downsampled ImageNet, in the order of its labels.

    Chrabaszcz, Loshchilov and Hutter 2017, arXiv:1707.08819, number classes as the file
    `map_clsloc.txt` of ILSVRC does. Everybody else sorts them by WordNet id.
    """
    listed = resources.files("d3data.convert").joinpath("imagenet64.txt")
    return tuple(listed.read_text(encoding="ascii").split())


def _notes(files: Sequence[str | Path], options: Mapping[str, object]) -> Mapping[str, bytes]:
    """The file `conversion.json`: what was converted, by size and sha256, and how.

    Of a folder the sha256 is over the paths and sha256 of all files below it. Paths on this
    machine are omitted.
    """
    try:
        listed = [_listed(expanded(path)) for path in files]
    except OSError as fault:
        raise ArtifactError(f"{fault.filename} cannot be read: {fault.strerror}") from None
    page = {"files": listed, **{k: value for k, value in options.items() if value is not None}}
    return {NOTES: (json.dumps(page, indent=1) + "\n").encode()}


def _listed(path: Path) -> dict[str, str | int]:
    name = _name(path)
    if path.is_file():
        return {"name": name, "size": path.stat().st_size, "sha256": file_sha256(path)}
    if not path.exists():
        return {"name": _public(path)}
    folders = os.walk(path, followlinks=True)
    below = (Path(folder, name) for folder, _, names in folders for name in names)
    files = {file.relative_to(path).as_posix(): file for file in below if file.is_file()}
    pieces = (piece for key in sorted(files) for piece in (key, file_sha256(files[key])))
    return {
        "name": name,
        "count": len(files),
        "size": sum(file.stat().st_size for file in files.values()),
        "sha256": digest(pieces),
    }


def _public(data: str | Path) -> str:
    """What real images are called, without where they are on this machine."""
    scheme, _, rest = str(data).partition(":")
    if scheme == "hf":
        return str(data)
    return f"{scheme}:{rest.partition(':')[0]}" if scheme == "torchvision" else _name(data)


def _name(path: str | Path) -> str:
    return expanded(path).resolve().name


def _known(task: str) -> Origin:
    preset = PRESETS[task]
    imagenet = preset.source == PRESETS["imagenet"].source
    return Origin(
        task=task,
        classes=tuple(sorted(wordnet_order()) if imagenet else map(str, range(preset.classes))),
        rule=Preprocessing(channels=preset.channels, size=preset.native, fit=preset.fit),
        mean=preset.mean,
        std=preset.std,
        license=preset.license,
        source=preset.source,
        fingerprint=UNSEEN,
        images=preset.images,
    )
