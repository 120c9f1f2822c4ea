"""What is known of the real images behind a converted set, which are seldom at hand."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from d3data.artifact.manifest import About, SoftLabels
from d3data.errors import ArtifactError, DataError
from d3data.images.preprocessing import Preprocessing
from d3data.images.presets import IMAGENET_SOURCE, PRESETS
from d3data.images.tasks import UNSEEN, Task, load_task
from d3data.utils.checks import whole
from d3data.utils.device import versions
from d3data.utils.hashing import digest, file_sha256

NOTES = "conversion.json"


@dataclass(frozen=True)
class Origin:
    """The real images that a set was distilled from: `images` of them to train on.

    `seen` are these images, where they are at hand.
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

    def about(
        self,
        out: str | Path,
        *,
        name: str | None,
        method: str,
        reference: str,
        license: str | None,
    ) -> About:
        """The block `about` of a set that was converted today and is called like its folder.

        Its licence is that of the real images unless given.

        Raises:
            ArtifactError: an artifact cannot be called so.
        """
        values = {
            "name": name or Path(out).resolve().name,
            "version": "1.0.0",
            "method": {"name": method, "reference": reference},
            "provenance": {
                "task": self.task,
                "licence": license or self.license,
                "source": self.source,
                "fingerprint": self.fingerprint,
                "images": self.images,
                "recipe_sha256": None,
                "seeds": (),
                "versions": versions(),
                "device": "unknown",
                "seconds": 0.0,
                "date": datetime.now(UTC).date().isoformat(),
            },
        }
        return About.parse(values, where="the converted set", error=ArtifactError)


def origin(
    task: str, *, channels: int, size: int, data: str | Path | None, classes: Sequence[str] | None
) -> Origin:
    """What is known of `task` at this shape: of its images at `data`, else of its preset.

    Args:
        task: a preset's name, or any with `data`.
        channels: C of the set's images.
        size: their side in pixels.
        data: where the real images are; without them nothing is fetched.
        classes: the class names; those of the images unless given, or else numbers.

    Raises:
        DataError: too little is known of the task, or it has another shape.
    """
    if data is not None or task == "digits":
        found = _seen(load_task(task, data=data, size=size, channels=3 if channels == 3 else 1))
    elif task in PRESETS:
        found = _known(task)
    else:
        raise DataError(
            f"of {task!r} too little is known without its images: give them with --data (data=...)"
            f"; known are {', '.join(sorted(PRESETS))}"
        )
    names = tuple(classes) if classes else found.classes
    if len(names) != len(found.classes):
        raise DataError(f"{len(names)} class names, where {task} has {len(found.classes)} classes")
    if (found.rule.channels, found.rule.size) != (channels, size):
        raise DataError(
            f"the set's images are {channels}x{size}x{size}, those of {task} are "
            f"{found.rule.channels}x{found.rule.size}x{found.rule.size}: name another task, or "
            "give its images with --data (data=...), from which that shape is made"
        )
    return replace(found, classes=names)


def require_free(out: str | Path) -> None:
    """Raise ArtifactError where something is in the place of a set that is to be made."""
    if os.path.lexists(out):
        raise ArtifactError(f"{out} is there already: choose another folder, or delete it first")


def require_numbers(step_size: float, draws_per_class: int | None) -> None:
    """Raise ArtifactError where a step size is not above 0, or an epoch has no draws."""
    if not 0 < step_size < math.inf:
        raise ArtifactError(f"step_size={step_size}: the rate of a training step is above 0")
    if draws_per_class is not None:
        whole(draws_per_class, "draws_per_class", least=1, error=ArtifactError)


def labeled_by(teacher: str) -> SoftLabels:
    """Soft labels of a teacher that the manifest can name.

    Raises:
        ArtifactError: the name is empty, too long, or has control letters.
    """
    values = {"teacher": teacher, "temperature": 1.0}
    return SoftLabels.parse(values, where="soft labels", error=ArtifactError)


def notes(
    converted: Sequence[str | Path], *, data: str | Path | None = None, **said: object
) -> Mapping[str, bytes]:
    """The file `conversion.json`: what was converted, by size and sha256, and how.

    Of a folder the sha256 is over the paths and sha256 of all files below it. Where things are on
    this machine is left out, and so is what was not said.

    Raises:
        ArtifactError: a file cannot be read.
    """
    try:
        listed = [_listed(Path(path).expanduser()) for path in converted]
    except OSError as fault:
        raise ArtifactError(f"{fault.filename} cannot be read: {fault.strerror}") from None
    told = {"data": None if data is None else _public(data), **said}
    page = {"files": listed, **{key: value for key, value in told.items() if value is not None}}
    return {NOTES: (json.dumps(page, indent=1) + "\n").encode()}


def wordnet_order() -> tuple[str, ...]:
    """The WordNet ids of the classes of the downsampled ImageNet, in the order of its labels.

    Chrabaszcz, Loshchilov and Hutter 2017, arXiv:1707.08819, number classes as the file
    `map_clsloc.txt` of ILSVRC does. Everybody else sorts them by WordNet id.
    """
    listed = resources.files("d3data.convert").joinpath("imagenet64.txt")
    return tuple(listed.read_text(encoding="ascii").split())


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
    return Path(path).expanduser().resolve().name


def _seen(task: Task) -> Origin:
    return Origin(
        task=task.name,
        classes=task.classes,
        rule=task.rule,
        mean=task.mean,
        std=task.std,
        license=task.license,
        source=task.source,
        fingerprint=task.fingerprint,
        images=len(task.train) + len(task.validation),
        seen=task,
    )


def _known(task: str) -> Origin:
    preset = PRESETS[task]
    imagenet = preset.source == IMAGENET_SOURCE
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
