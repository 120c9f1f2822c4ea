"""A data set on this machine: its folder, and what is known of what must be in it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import DERIVED, NAME, FileEntry, Manifest, PartEntry
from d3data.errors import ArtifactError, IntegrityError, NewerFormatError
from d3data.hub.cache import Snapshot
from d3data.utils.safe_open import Verify


@dataclass(frozen=True)
class LocalCopy:
    """A folder, and what is known of what must be in it."""

    folder: Path
    name: str  # that it was resolved from
    links: Mapping[str, Path] = field(default_factory=dict)  # real files, in the Hub's cache
    revision: str | None = None  # its commit, where it is in the Hub's cache
    content_sha256: str | None = None  # the content that the name is pinned to, if it is

    @classmethod
    def of(cls, snapshot: Snapshot, manifest: Manifest, *, name: str) -> "LocalCopy":
        """A commit in the Hub's cache, with those of its files that are there."""
        paths = [NAME, *(entry.path for entry in listed(manifest)), *DERIVED]
        return cls(snapshot.folder, name, snapshot.links(paths), snapshot.commit)

    @property
    def repository(self) -> str | None:
        """The repository, where the folder is in the Hub's cache."""
        snapshot = Snapshot.at(self.folder)
        return None if snapshot is None else snapshot.repository

    def read(self, *, verify: Verify = "always") -> Artifact:
        """The artifact; its parts are read and verified when they are used."""
        with self.suggest_download():
            read = artifact.read(self.folder, verify=verify, links=self.links)
        require_pin(read.manifest, self.content_sha256, name=self.name)
        return read

    def check(self, *, golden: bool = False) -> Artifact:
        """Read and verify every file, and with `golden` draw the reference images again.

        In the Hub's cache, optional files that were not downloaded may be missing.
        """
        read = self.read()
        with self.suggest_download():
            read.check(without=self.not_downloaded(read.manifest))
            if golden:
                read.check_golden()
        return read

    def not_downloaded(self, manifest: Manifest) -> list[str]:
        """The optional files of a set in the Hub's cache that were not downloaded."""
        paths = [entry.path for entry in manifest.files] if self.links else []
        return [path for path in paths if path not in self.links]

    @contextlib.contextmanager
    def suggest_download(self) -> Iterator[None]:
        """Let errors inside the block say how to download the set again."""
        try:
            yield
        except ArtifactError as fault:
            if self.revision is None or isinstance(fault, NewerFormatError):
                raise
            raise type(fault)(
                f"{fault}: `d3data pull --force {self.name}`, or force_download=True"
            ) from None


def manifest_of(snapshot: Snapshot, *, name: str) -> Manifest:
    """The manifest of a commit in the Hub's cache."""
    links = snapshot.links([NAME])
    return LocalCopy(snapshot.folder, name, links, snapshot.commit).read().manifest


def require_pin(manifest: Manifest, pin: str | None, *, name: str) -> None:
    """IntegrityError if the content of a set is not the one that its short name is pinned to."""
    digest = manifest.content_sha256
    if pin not in (None, digest):
        raise IntegrityError(
            f"{name} has content {digest}, but the index pins {pin}: its owner has replaced it, "
            f"or the index is out of date; once that is fixed, `d3data pull --force {name}`, or "
            "force_download=True, downloads it again"
        )


def listed(manifest: Manifest) -> list[PartEntry | FileEntry]:
    """The files whose size and sha256 a manifest lists."""
    return [*manifest.content.parts, *manifest.files]
