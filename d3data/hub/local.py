"""A set on this machine: its folder, and what is known of what must be in it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import DERIVED, NAME, FileEntry, Manifest, PartEntry
from d3data.errors import ArtifactError, IntegrityError, NewerFormatError
from d3data.hub import cache
from d3data.hub.cache import Snapshot
from d3data.utils.safe_open import Verify


@dataclass(frozen=True)
class Place:
    """A folder, and what is known of what must be in it.

    Attributes:
        folder: where it is.
        name: what it is asked for by.
        links: the real file of every path, where the folder is one of the Hub's cache.
        revision: the commit that it is of, there.
        content_sha256: the content that the name was published with, where that is pinned.
    """

    folder: Path
    name: str
    links: Mapping[str, Path] = field(default_factory=dict)
    revision: str | None = None
    content_sha256: str | None = None

    @property
    def repository(self) -> str | None:
        """The repository that the folder is of, where it is one of the Hub's cache."""
        found = cache.snapshot(self.folder)
        return None if found is None else found.repository

    def read(self, *, verify: Verify = "always") -> Artifact:
        """The artifact; its parts are read, and checked, when they are asked for.

        Raises:
            ArtifactError: its manifest has a fault, or is not what was published under the name.
        """
        with self.remedied():
            found = artifact.read(self.folder, verify=verify, links=self.links)
        require_pin(found.manifest, self.content_sha256, name=self.name)
        return found

    def check(self, *, golden: bool = False) -> Artifact:
        """Read every file, parts as tensors, and if asked for draw the `golden` images again.

        In the Hub's cache, what was not fetched and is not needed is not missed.

        Raises:
            ArtifactError: the first fault.
        """
        found = self.read()
        with self.remedied():
            found.check(without=self.left_out(found.manifest))
            if golden:
                found.check_golden()
        return found

    def left_out(self, page: Manifest) -> list[str]:
        """The files of a set in the Hub's cache that were not fetched, as nothing needs them."""
        paths = [entry.path for entry in page.files] if self.links else []
        return [path for path in paths if path not in self.links]

    @contextlib.contextmanager
    def remedied(self) -> Iterator[None]:
        """Let faults that are found inside the block say how to fetch the set again."""
        try:
            yield
        except NewerFormatError:
            raise
        except ArtifactError as fault:
            if self.revision is None:
                raise
            raise type(fault)(
                f"{fault}: `d3data pull --force {self.name}`, or force_download=True"
            ) from None


def page_of(found: Snapshot, *, name: str) -> Manifest:
    """The manifest of a commit in the Hub's cache.

    Raises:
        ArtifactError: it has none, or one with a fault.
    """
    return Place(found.folder, name, found.links([NAME]), found.commit).read().manifest


def require_pin(manifest: Manifest, pin: str | None, *, name: str) -> None:
    """IntegrityError where a set is not the content that its short name was published with."""
    digest = manifest.content_sha256
    if pin not in (None, digest):
        raise IntegrityError(
            f"{name} has content {digest}, but was published with {pin}: its owner has replaced "
            "it, or the index is out of date; once that is mended, `d3data pull --force "
            f"{name}`, or force_download=True, fetches it anew"
        )


def of_snapshot(found: Snapshot, manifest: Manifest, *, name: str) -> Place:
    """The place of a commit in the Hub's cache, with those of its files that are there."""
    paths = [NAME, *(entry.path for entry in listed(manifest)), *DERIVED]
    return Place(found.folder, name, found.links(paths), found.commit)


def listed(manifest: Manifest) -> list[PartEntry | FileEntry]:
    """The files that a manifest tells size and sha256 of."""
    return [*manifest.content.parts, *manifest.files]
