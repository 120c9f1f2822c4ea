"""An artifact: a folder with a manifest and parts, written whole or not at all, read in distrust.

`docs/format.md` specifies the folder.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import get_args

from d3data.artifact import ledger, reference_draws
from d3data.artifact.manifest import (
    DERIVED,
    MOST_OF_A_FILE,
    MOST_OF_A_PART,
    NAME,
    About,
    AnyLabels,
    Content,
    FileEntry,
    HardLabels,
    Manifest,
    PartEntry,
    format_of,
    parse,
    part_paths,
)
from d3data.artifact.part import Part
from d3data.errors import ArtifactError, FormatError, nearest
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import Image
from d3data.sources.base import Source, SourceSpec
from d3data.utils import safe_open
from d3data.utils.atomic import file_sizes, replace_folder, require_replaceable
from d3data.utils.canonical_json import MOST_BYTES
from d3data.utils.paths import ZOO, as_name
from d3data.utils.safe_open import Verify


@dataclass(frozen=True)
class Artifact:
    """A folder whose manifest has been read; its files are read, and checked, when asked for.

    `verify` is how: "always" (size and sha256), "size", or "never". Names, shapes and dtypes of
    tensors, and that values are finite, are checked in any case. Where the folder holds links,
    as in a cache, `links` names the file of every path.
    """

    folder: Path
    manifest: Manifest
    verify: Verify = "always"
    links: Mapping[str, Path] = field(default_factory=dict)

    def file(self, path: str) -> bytes:
        """The bytes of a part, or of a file that the manifest lists.

        Raises:
            IntegrityError: it is not the file that was written.
            ArtifactError: the manifest does not list it.
        """
        if (entry := self._entries.get(path)) is None:
            known = ", ".join([*self._entries][:20])
            raise ArtifactError(f"{self.folder} has no {path}; it has {known}")
        most = MOST_OF_A_FILE if isinstance(entry, FileEntry) else MOST_OF_A_PART
        with self._open(entry) as file:
            return file.read(most=most)

    def part(self, number: int) -> Part:
        """One part, checked.

        Raises:
            IntegrityError: its file is not the one that was written.
            FormatError: it does not hold what the manifest says.
        """
        content = self.manifest.content
        entry, where = content.parts[number], str(self.folder / content.parts[number].path)
        with self._open(entry) as file:
            part = Part.decode(
                file,
                spec=content.source,
                image=content.image,
                labels=content.label_values,
                targets=content.labels.kind == "targets",
                where=where,
                quantization=entry.quantization,
            )
        if (part.classes, part.items_per_class) != (entry.classes, entry.items_per_class):
            raise FormatError(f"{where}: it holds other classes or items than its manifest says")
        return part

    def sources(self) -> list[Source]:
        """The source of each part, on the CPU, frozen; classes are those of the whole set."""
        content = self.manifest.content
        parts = map(self.part, range(len(content.parts)))
        return [part.source(content.source, content.image) for part in parts]

    @cached_property
    def ledger(self) -> ledger.Ledger:
        """What every byte is spent on."""
        return ledger.measure(self.manifest, locate=self._locate, sizes=self._sizes())

    def check(self, *, without: Collection[str] = ()) -> None:
        """Read every file that the manifest lists, parts as tensors, others piece by piece.

        Sets that come with d3data may lack those that publishing makes again.

        Args:
            without: paths of files, not of parts, that are not looked at.

        Raises:
            ArtifactError: the first fault.
        """
        self.sources()
        for entry in self.manifest.files:
            absent = self.folder.parent == ZOO and not (self.folder / entry.path).exists()
            if entry.path not in without and not absent:
                with self._open(entry):
                    pass  # what is left to read is hashed at the end

    def check_golden(self) -> reference_draws.Golden:
        """Draw the golden images again on this machine, and compare.

        Raises:
            ArtifactError: they differ by more than rounding explains, or the file has a fault.
        """
        where = str(self.folder / reference_draws.PATH)
        stored = self.file(reference_draws.PATH)
        return reference_draws.compare(stored, self.manifest.content, self.sources(), where=where)

    @cached_property
    def _entries(self) -> dict[str, PartEntry | FileEntry]:
        listed: list[PartEntry | FileEntry] = [*self.manifest.content.parts, *self.manifest.files]
        return {entry.path: entry for entry in listed}

    def _open(self, entry: PartEntry | FileEntry) -> AbstractContextManager[safe_open.Reader]:
        return safe_open.known(
            *self._locate(entry.path), size=entry.size, sha256=entry.sha256, verify=self.verify
        )

    def _locate(self, path: str) -> tuple[Path, str]:
        """The folder, and the path in it, of the file that holds `path`."""
        if path in self.links:
            return self.links[path].parent, self.links[path].name
        return self.folder, path

    def _sizes(self) -> dict[str, int]:
        if self.links:
            return {path: file.stat().st_size for path, file in self.links.items()}
        return file_sizes(self.folder)


def read(
    folder: str | Path, *, verify: Verify = "always", links: Mapping[str, Path] | None = None
) -> Artifact:
    """The artifact in `folder`.

    Args:
        folder: where it is.
        verify: what to check of its files: "always" size and sha256, "size", or "never".
        links: the real file of every path, where the folder holds links to them; any other link
            is refused.

    Raises:
        ArtifactError: there is none, or its manifest has a fault.
    """
    if verify not in get_args(Verify):
        raise ArtifactError(f"verify={verify!r}: {nearest(str(verify), get_args(Verify))}")
    folder, links = Path(folder), links or {}
    page = links.get(NAME, folder / NAME)
    if safe_open.absent(page.parent, page.name):
        raise ArtifactError(
            f"{folder} is not a data set of d3data (no {NAME}): write the folder that holds one, "
            f"or `d3data init {quote(as_name(folder))}` if these are images to distill"
        )
    text = safe_open.read(page.parent, page.name, most=MOST_BYTES)
    return Artifact(folder, parse(text, where=str(folder / NAME)), verify, links)


def check_golden(folder: str | Path) -> reference_draws.Golden:
    """`Artifact.check_golden` of the artifact in `folder`."""
    return read(folder).check_golden()


def merge(parts: Sequence[Part], *, classes: int) -> list[Part]:
    """The parts of the subtasks of a task of so many classes, in the order they are written in.

    Raises:
        ArtifactError: a class is in none of them, or in two.
    """
    found = Counter(c for part in parts for c in part.classes)
    missing = sorted(set(range(classes)) - found.keys())
    twice = sorted(c for c, times in found.items() if times > 1)
    strange = sorted(found.keys() - set(range(classes)))
    for fault, ids in (("in no part", missing), ("in two parts", twice), ("unknown", strange)):
        if ids:
            raise ArtifactError(
                f"the parts do not make {classes} classes: {fault}: {str(ids)[1:60]}; "
                "finish all subtasks of one run before they are joined"
            )
    return sorted(parts, key=lambda part: part.classes)


def write(
    folder: str | Path,
    *,
    spec: SourceSpec,
    image: Image,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    parts: Sequence[Part],
    about: About,
    labels: AnyLabels | None = None,
    draws_per_class: int | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> Artifact:
    """Write an artifact: all of it, or nothing.

    The same tensors and content give the same parts and the same `content` on every machine.

    Args:
        folder: where; an artifact that is there is replaced.
        spec: the kind of source that the parts hold, and its sizes.
        image: the shape and normalisation of the images.
        preprocessing: the rule that brings real images to this shape.
        classes: all class names, in order of class id.
        parts: one per subtask; together they have every class once.
        about: name, version and provenance.
        labels: hard unless said otherwise; others are a tensor `labels` (N, K) in every part.
        draws_per_class: D, the length of an epoch; the most items of a class unless given.
        extras: other files by path: recipe.toml, report.json, previews, README.md.

    Raises:
        ArtifactError: the parts do not fit together, a value is not finite, `folder` holds
            something else, or the disk is full.
    """
    folder, where = Path(folder), f"the artifact for {folder}"
    joined = merge(parts, classes=len(classes))
    encoded = dict(zip(part_paths(len(joined)), (part.encode() for part in joined), strict=True))
    most = max(n for part in joined for n in part.items_per_class)
    labels = labels or HardLabels()
    content = Content.parse(
        {
            "format": format_of(labels, spec),
            "image": image,
            "preprocessing": preprocessing,
            "classes": tuple(classes),
            "source": spec,
            "parts": tuple(
                {**_entry(path, encoded[path]), **_members(part)}
                for path, part in zip(encoded, joined, strict=True)
            ),
            "labels": labels,
            "sampling": {"draws_per_class": draws_per_class or most},
        },
        where=where,
        error=ArtifactError,
    )
    again = [
        Part.decode(
            encoded[entry.path],
            spec=spec,
            image=image,
            labels=content.label_values,
            targets=content.labels.kind == "targets",
            where=where,
            quantization=entry.quantization,
        )
        for entry in content.parts
    ]
    others = dict(extras or {})
    others[reference_draws.PATH] = reference_draws.make(
        content, [part.source(spec, image) for part in again]
    )
    entries = [
        FileEntry.parse(_entry(path, data), where=where, error=ArtifactError)
        for path, data in others.items()
        if path not in DERIVED
    ]
    page = Manifest.seal(content, about=about, files=entries).encode()
    manifest = parse(page, where=where)
    _require_ours(folder)
    replace_folder(folder, {NAME: page, **encoded, **others})
    return Artifact(folder, manifest)


def extend(
    folder: str | Path, files: Mapping[str, bytes], *, about: About | None = None
) -> Artifact:
    """Give an artifact other files beside its parts, such as a report, a preview or a card.

    Files of these paths are replaced and all others stay; so does `content`, and what it is
    `about` unless given.

    Raises:
        ArtifactError: the artifact has a fault, a path is not free, or the disk is full.
    """
    old = read(folder)
    _require_ours(old.folder)
    kept = {path: (old.folder / path).read_bytes() for path in file_sizes(old.folder)}
    all_files = {**kept, **files}
    parts = {entry.path for entry in old.manifest.content.parts}
    entries = [
        FileEntry.parse(_entry(path, data), where=str(folder), error=ArtifactError)
        for path, data in all_files.items()
        if path not in (NAME, *DERIVED, *(parts - files.keys()))
    ]
    content, known = old.manifest.content, old.manifest.about
    page = Manifest.seal(content, about=about or known, files=entries).encode()
    manifest = parse(page, where=str(folder))
    replace_folder(old.folder, {**all_files, NAME: page})
    return Artifact(old.folder, manifest)


def describe(folder: str | Path, **changes: str) -> Artifact:
    """Correct `license` or `source` of the real images of an artifact; `content` stays as it is.

    Raises:
        ArtifactError: the artifact has a fault, a text is too long, or the disk is full.
    """
    about = read(folder).manifest.about
    made = {**about.provenance.model_dump(by_alias=False), **changes}
    values = {**about.model_dump(by_alias=False), "provenance": made}
    corrected = About.parse(values, where=str(folder), error=ArtifactError)
    return extend(folder, {}, about=corrected)


def _entry(path: str, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "sha256": digest}


def _members(part: Part) -> dict[str, object]:
    return {
        "classes": part.classes,
        "items_per_class": part.items_per_class,
        "quantisation": part.quantization,
    }


def _require_ours(folder: Path) -> None:
    known = {NAME, *DERIVED}
    if not folder.is_symlink() and (folder / NAME).is_file():
        try:
            manifest = read(folder).manifest
        except ArtifactError as fault:
            raise ArtifactError(
                f"{folder} stays as it is, as its manifest cannot be read ({fault}); "
                "choose another folder or delete this one"
            ) from None
        known |= {entry.path for entry in manifest.content.parts}
        known |= {entry.path for entry in manifest.files}
    require_replaceable(folder, NAME, known)
