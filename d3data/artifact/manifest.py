"""The manifest: the page of an artifact that says all about it, as RFC 8785 canonical JSON.

    content          what decides what a network is trained on; pinned by content_sha256
    about            where it comes from
    files            size and sha256 of every other file that is not made from this page
    self_sha256      closes the page

A reader requires canonical(parse(bytes)) == bytes, so there is one way to write a page: no unknown
or duplicate key, no default left out, no number spelt otherwise. `docs/format.md` specifies it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from d3data.artifact import quantize, safetensors_file
from d3data.artifact.part import MOST_STEPS, Count, Members
from d3data.artifact.quantize import Quantization
from d3data.errors import FormatError, IntegrityError, NewerFormatError, RecipeError
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import PRINTABLE, ClassName, Image
from d3data.sources import registry
from d3data.sources.base import Layout, SourceSpec, purpose
from d3data.sources.registry import AnySource
from d3data.utils import canonical_json
from d3data.utils.schema import Frozen, stored_as

NAME = "d3data.json"
SCHEMA = "urn:d3data:manifest:1"
FORMAT = 2
READER: Literal["0.1.0"] = "0.1.0"
MOST_DRAWS = 10_000_000
MOST_OF_A_PART = 8 << 30  # bytes
MOST_OF_A_FILE = 64 << 20  # bytes of a file that is no part
DERIVED = ("README.md", "croissant.json")  # made from the manifest, so it cannot list them
RESERVED = {name.lower() for name in (NAME, *DERIVED, "parts")}

_WORD, _NUMBER = "[a-z0-9]+", "(0|[1-9][0-9]{0,5})"
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=PRINTABLE)]
Name = Annotated[str, StringConstraints(pattern=rf"^{_WORD}([._-]{_WORD})*$", max_length=96)]
Version = Annotated[str, StringConstraints(pattern=rf"^{_NUMBER}(\.{_NUMBER}){{2}}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class HardLabels(Frozen):
    """An image's label is its class."""

    kind: Literal["hard"] = "hard"


class SoftLabels(Frozen):
    """An image's label is its item's row of probabilities over all classes."""

    kind: Literal["soft"] = "soft"
    teacher: Text
    temperature: float = Field(gt=0, le=1000)


class TargetLabels(Frozen):
    """An image's label is its item's row of learned numbers, one of each class.

    They are no probabilities: networks are trained to predict them, by squared errors.
    """

    kind: Literal["targets"] = "targets"


AnyLabels = HardLabels | SoftLabels | TargetLabels
Labels = Annotated[AnyLabels, Field(discriminator="kind")]


def format_of(labels: AnyLabels, source: SourceSpec) -> int:
    """The least format that has such labels and such a source."""
    return max(2 if isinstance(labels, TargetLabels) else 1, source.format)


class Sampling(Frozen):
    """How draws are made (`d3data.sources.sampling`), and how many of each class are an epoch."""

    version: Literal[1] = 1
    draws_per_class: Count


class PartEntry(Members):
    """One part: its file, and its items, class after class."""

    path: Annotated[str, StringConstraints(pattern=r"^parts/[0-9]{3,6}\.safetensors$")]
    size: int = Field(ge=0, le=MOST_OF_A_PART)
    sha256: Digest
    quantization: Quantization = stored_as("quantisation", default=Quantization())


class Content(Frozen):
    """All that decides what a network is trained on.

    `format` and `reader`, the first version of d3data that reads it, keep their place in every
    later format. Format 2 is that of labels that are targets and of sources that are generators,
    and of these alone.
    """

    format: Literal[1, 2] = 1
    reader: Literal["0.1.0"] = READER
    image: Image
    preprocessing: Preprocessing
    classes: tuple[ClassName, ...] = Field(min_length=1)
    source: AnySource
    parts: tuple[PartEntry, ...] = Field(min_length=1)
    labels: Labels
    sampling: Sampling

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        try:
            self.layout(self.parts[0])
        except RecipeError as fault:
            raise ValueError(f"source.{fault}") from None
        for part in self.parts:
            self._require_sizes(part)
        return self

    def _require_sizes(self, part: PartEntry) -> None:
        """What a part stores follows from its items, so what it weighs does too."""
        shapes = self.layout(part)
        if part.quantization != part.quantization.within({purpose(name) for name in shapes}):
            raise ValueError(f"{part.path}: a quantisation of tensors that it does not have")
        least = quantize.stored_bytes(shapes, part.quantization)
        if not least <= part.size <= least + 4 * MOST_STEPS + safetensors_file.MOST_HEADER:
            raise ValueError(f"{part.path} cannot have {part.size} bytes: {least} are its tensors")

    def _faults(self) -> list[str]:
        image, rule = self.image, self.preprocessing
        ids = sorted(c for part in self.parts for c in part.classes)
        most = max(n for part in self.parts for n in part.items_per_class)
        draws = self.sampling.draws_per_class
        faults = {
            f"format {self.format} cannot have {self.labels.kind} labels of a "
            f"{self.source.kind} source": self.format != format_of(self.labels, self.source),
            "labels that are targets cannot be stored as integers": (
                self.labels.kind == "targets"
                and any(part.quantization.labels.startswith("int") for part in self.parts)
            ),
            "preprocessing and image disagree on channels or size": (
                (rule.channels, rule.size) != (image.channels, image.size)
            ),
            "a class name comes twice": len(set(self.classes)) != len(self.classes),
            f"the classes of the parts must be 0 to {len(self.classes) - 1}, each once": (
                ids != list(range(len(self.classes)))
            ),
            "the parts must be numbered from parts/000.safetensors": (
                [part.path for part in self.parts] != part_paths(len(self.parts))
            ),
            f"sampling.draws_per_class must be at least {most}, the most items of a class": (
                draws < most
            ),
            f"an epoch of more than {MOST_DRAWS} draws": draws * len(self.classes) > MOST_DRAWS,
        }
        return [fault for fault, found in faults.items() if found]

    @property
    def items_per_class(self) -> tuple[int, ...]:
        """The number of items of each class, in order of class id."""
        pairs = (zip(part.classes, part.items_per_class, strict=True) for part in self.parts)
        return tuple(n for _, n in sorted(pair for part in pairs for pair in part))

    @property
    def label_values(self) -> int | None:
        """The length of an item's row of labels, or None where labels are hard."""
        return None if self.labels.kind == "hard" else len(self.classes)

    def layout(self, part: PartEntry, *, steps: int = 1) -> Layout:
        """Names and shapes of the tensors that the file of `part` must hold."""
        return registry.layout(self.source, self.image, **self._sizes(part), steps=steps)

    def published_values(self, part: PartEntry) -> int:
        """How many values `part` holds as papers count them."""
        return registry.published_values(self.source, self.image, **self._sizes(part))

    def _sizes(self, part: PartEntry) -> dict[str, Any]:
        return {"items": part.items, "classes": len(part.classes), "labels": self.label_values}


class Method(Frozen):
    """How a set was distilled: the method's name and the paper that it comes from."""

    name: Text
    reference: Text


class Provenance(Frozen):
    """What a set was made from, and with what.

    `fingerprint` identifies the task's images and split; seeds are strings, as 64 bits do not fit
    into a JSON number; `images` is how many real images it was made from, `seconds` how long its
    subtasks took and `date` is YYYY-MM-DD.
    """

    task: Text
    license: Text = stored_as("licence")
    source: Text
    fingerprint: Digest
    images: int = Field(ge=1, le=1 << 40)
    recipe_sha256: Digest | None
    seeds: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")], ...]
    versions: dict[Text, Text]
    device: Text
    seconds: float = Field(ge=0)
    date: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class About(Frozen):
    """Where an artifact comes from; changes nothing of what a network is trained on."""

    name: Name
    version: Version
    method: Method
    provenance: Provenance


class FileEntry(Frozen):
    """A file that belongs to an artifact and decides nothing: golden, recipe, report, preview."""

    path: Annotated[str, StringConstraints(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,3}}$")]
    size: int = Field(ge=0, le=MOST_OF_A_FILE)
    sha256: Digest

    @model_validator(mode="after")
    def _free(self) -> Self:
        if self.path.lower().split("/")[0] in RESERVED:
            raise ValueError(f"{self.path} has its own place")
        return self


class Manifest(Frozen):
    """The whole page."""

    about: About
    content: Content
    content_sha256: Digest
    files: tuple[FileEntry, ...]
    self_sha256: Digest

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        paths = [entry.path for entry in self.files]
        if paths != sorted(paths) or len({path.lower() for path in paths}) != len(paths):
            raise ValueError("files must be in ascending order of path, each once")
        folders = {str(above) for path in paths for above in PurePosixPath(path.lower()).parents}
        if both := [path for path in paths if path.lower() in folders]:
            raise ValueError(f"{both[0]} cannot be a file and a folder")
        return self

    @classmethod
    def seal(cls, content: Content, *, about: About, files: Sequence[FileEntry]) -> Self:
        """The page of these blocks, with its two digests."""
        draft = cls(
            about=about,
            content=content,
            content_sha256="0" * 64,
            files=tuple(sorted(files, key=lambda entry: entry.path)),
            self_sha256="0" * 64,
        )
        for name in ("content_sha256", "self_sha256"):
            draft = draft.model_copy(update={name: draft.digests()[name]})
        return draft

    def listing(self, files: Mapping[str, bytes]) -> Self:
        """The page that lists these files too, by path; those that are made of it aside."""
        entries = {entry.path: entry for entry in self.files}
        for path in files.keys() - set(DERIVED):
            digest = hashlib.sha256(files[path]).hexdigest()
            entries[path] = FileEntry(path=path, size=len(files[path]), sha256=digest)
        return self.seal(self.content, about=self.about, files=list(entries.values()))

    def digests(self) -> dict[str, str]:
        """What `content_sha256` and `self_sha256` must be."""
        page = self.dump()
        del page["self_sha256"]
        blocks = {"content_sha256": page["content"], "self_sha256": page}
        return {
            name: hashlib.sha256(canonical_json.encode(block)).hexdigest()
            for name, block in blocks.items()
        }

    def encode(self) -> bytes:
        """The bytes of `d3data.json`."""
        return canonical_json.encode(self.dump())


def schema() -> str:
    """The JSON schema (2020-12) of the manifest, as `docs/d3data.schema.json` has it.

    It says what can be said of one value at a time; `parse` knows more.
    """
    page = Manifest.model_json_schema(mode="serialization")
    stored = page["$defs"][Quantization.__name__]  # pydantic 2.12.0 requires what is left out
    optional = {name for name, field in Quantization.model_fields.items() if field.exclude_if}
    stored["required"] = [name for name in stored["required"] if name not in optional]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA}
    return json.dumps(head | page, indent=1, sort_keys=True) + "\n"


def part_paths(count: int) -> list[str]:
    """The paths of an artifact's parts.

    >>> part_paths(2)
    ['parts/000.safetensors', 'parts/001.safetensors']
    """
    return [f"parts/{number:03d}.safetensors" for number in range(count)]


def parse(page: bytes, *, where: str) -> Manifest:
    """The manifest in the bytes of a `d3data.json` found at `where`.

    Raises:
        FormatError: too large, too deep, not canonical JSON, or not what format 1 says.
        NewerFormatError: a later format.
        IntegrityError: one of its digests is not that of the page.
    """
    value = canonical_json.decode(page, where=where)
    _check_format(value, where)
    manifest = Manifest.parse(value, where=where, error=FormatError)
    if manifest.encode() != page:
        raise FormatError(
            f"{where}: not canonical: the same page is written in exactly one way (RFC 8785); "
            "it was edited or written by another tool, so fetch it again"
        )
    for name, digest in manifest.digests().items():
        if getattr(manifest, name) != digest:
            raise IntegrityError(
                f"{where}: {name} is {getattr(manifest, name)}, but what it covers has {digest}: "
                "the page was changed; fetch it again"
            )
    return manifest


def _check_format(page: dict[str, Any], where: str) -> None:
    content = page.get("content")
    head = content if isinstance(content, dict) else {}
    number, reader = head.get("format"), str(head.get("reader"))
    if type(number) is not int or number < 1:
        raise FormatError(f"{where}: no content.format: this is not an artifact of d3data")
    if number > FORMAT:
        known = re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){2}", reader) is not None
        remedy = (
            f"d3data {reader} or newer reads it: pip install 'd3data>={reader}'"
            if known
            else "a newer d3data reads it: pip install --upgrade d3data"
        )
        raise NewerFormatError(
            f"{where}: format {number}, and this d3data reads format {FORMAT}; {remedy}"
        )
