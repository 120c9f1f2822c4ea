"""merge(): sets of different classes as one, whose parts they are, as subtasks of one run are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from torch.nn import functional as F

from d3data import artifact
from d3data.artifact.ancestry import ancestry
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import About, HardLabels, Manifest, SoftLabels, TargetLabels
from d3data.artifact.part import Part
from d3data.errors import ArtifactError
from d3data.hub import resolve
from d3data.utils.checks import whole
from d3data.utils.hashing import digest
from d3data.utils.text import some

ALIKE = (
    "the shape of their images",
    "whitening",
    "preprocessing",
    "their source",
    "the temperature of their labels",
)


def merge(
    sources: Sequence[Artifact | str | Path],
    *,
    out: str | Path,
    name: str | None = None,
    version: str = "1.0.0",
    task: str | None = None,
) -> Artifact:
    """Write sets of different classes as one: all of it, or nothing.

    Classes come in the order of the sets, so those of the first keep their numbers; draws of a
    class are made of the same items. Values are normalized as those of the first set.
    `made_from.json` keeps where each set comes from, and its recipe.

    Args:
        sources: two sets or more: artifacts, or names or folders that `d3data.load` takes.
        out: the folder of the new artifact; nothing may be there.
        name: of the new set; that of its folder unless given.
        version: of the new set.
        task: the real images of all classes, for its evaluation; the sets' own where they have
            the same, else the name of the set.

    Raises:
        ArtifactError: two sets have a class of one name, or do not go together; `out` is taken.
        UnknownNameError: there is no set of a name.
        HubError: the Hub or its cache cannot provide a set.
    """
    if Path(out).exists():
        raise ArtifactError(f"{out} exists: choose another folder, or delete it first")
    whole(len(sources), "the number of sets", least=2, error=ArtifactError)
    sets = [one if isinstance(one, Artifact) else resolve.resolve(one).read() for one in sources]
    require_alike(sets)
    contents = [one.manifest.content for one in sets]
    classes = [label for content in contents for label in content.classes]
    starts = accumulate((len(content.classes) for content in contents), initial=0)
    moved = [_Moved(one, start, len(classes)) for one, start in zip(sets, starts, strict=False)]
    image = contents[0].image
    return artifact.write(
        out,
        spec=contents[0].source,
        image=image,
        preprocessing=contents[0].preprocessing,
        classes=classes,
        parts=[part for one in moved for part in one.parts(sets[0])],
        about=_about(sets, name or Path(out).resolve().name, version, task),
        labels=_labels(sets),
        draws_per_class=max(content.sampling.draws_per_class for content in contents),
        extras=ancestry(sets),
    )


def require_alike(sets: Sequence[Artifact]) -> None:
    """Refuse sets that have a class in common, or of which one set cannot be made."""
    names = Counter(label for one in sets for label in one.manifest.content.classes)
    if twice := [label for label, times in names.items() if times > 1]:
        raise ArtifactError(
            f"classes that several sets have: {some(map(repr, twice))}; sets of different classes "
            "are joined, and another set of the same classes takes the place of the first"
        )
    first = sets[0].manifest
    for other in (one.manifest for one in sets[1:]):
        both = f"{first.about.name} and {other.about.name} differ in"
        for what, one, another in zip(ALIKE, _terms(first), _terms(other), strict=True):
            if one != another:
                raise ArtifactError(
                    f"{both} {what} ({one}; {another}): distil both with the same settings"
                )


def _terms(page: Manifest) -> tuple[object, ...]:
    """What sets must share to be one: by the names in `ALIKE`."""
    content = page.content
    image, labels = content.image, content.labels
    temperature = labels.temperature if isinstance(labels, SoftLabels) else "hard"
    return image.shape, image.whitening, content.preprocessing, content.source, temperature


@dataclass(frozen=True)
class _Moved:
    """The parts of a set whose classes begin at number `start` of `classes`."""

    artifact: Artifact
    start: int
    classes: int

    def parts(self, first: Artifact) -> list[Part]:
        content, image = self.artifact.manifest.content, first.manifest.content.image
        parts = []
        for number in range(len(content.parts)):
            part = self.artifact.part(number)
            tensors = dict(part.tensors)
            if image != content.image:
                tensors = dict(content.source.renormalized(tensors, content.image, image))
            if "labels" in tensors:
                rest = self.classes - self.start - len(content.classes)
                tensors["labels"] = F.pad(tensors["labels"], (self.start, rest))
            ids = tuple(self.start + label for label in part.classes)
            parts.append(replace(part, classes=ids, tensors=tensors))
        return parts


def _labels(sets: Sequence[Artifact]) -> HardLabels | SoftLabels:
    """Soft labels are over the classes of their own set; those of the others get nothing."""
    labels = [one.manifest.content.labels for one in sets]
    for one, kind in zip(sets, labels, strict=True):
        if isinstance(kind, TargetLabels):
            raise ArtifactError(
                f"{one.manifest.about.name} has learned labels, which say nothing of the classes "
                "of other sets: it cannot be joined"
            )
    soft = [one for one in labels if isinstance(one, SoftLabels)]
    if not soft:
        return HardLabels()
    return soft[0].model_copy(update={"teacher": _joined([one.teacher for one in soft])})


def _about(sets: Sequence[Artifact], name: str, version: str, task: str | None) -> About:
    abouts = [one.manifest.about for one in sets]
    from_ = [one.provenance for one in abouts]
    tasks = {one.task for one in from_}
    values = {
        "name": name,
        "version": version,
        "method": {
            "name": _joined([one.method.name for one in abouts]),
            "reference": _joined([one.method.reference for one in abouts]),
        },
        "provenance": {
            "task": task or (tasks.pop() if len(tasks) == 1 else name),
            "licence": _joined([one.license for one in from_]),
            "source": _joined([one.source for one in from_]),
            "fingerprint": digest([one.fingerprint for one in from_]),
            "images": sum(one.images for one in from_),
            "recipe_sha256": None,
            "seeds": tuple(dict.fromkeys(seed for one in from_ for seed in one.seeds)),
            "versions": from_[0].versions,
            "device": _joined([one.device for one in from_]),
            "seconds": sum(one.seconds for one in from_),
            "date": max(one.date for one in from_),
        },
    }
    return About.parse(values, where="the merged set", error=ArtifactError)


def _joined(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
