"""What is published: an artifact that has been checked, with all that is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from d3data import cards
from d3data.artifact import reference_draws, summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import NAME, Manifest
from d3data.errors import UnknownNameError
from d3data.evaluation.report import Report
from d3data.hub import names, resolve
from d3data.hub.local import listed
from d3data.hub.remote import CARD


@dataclass(frozen=True)
class Release:
    """One version of a set, for one repository.

    Attributes:
        repository: `owner/name`.
        endpoint: the address of its Hub.
        artifact: what it is made of.
        manifest: its page, which lists also what was made.
        files: all files by path; the card is as it was made.
    """

    repository: str
    endpoint: str
    artifact: Artifact
    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def version(self) -> str:
        """X.Y.Z."""
        return self.manifest.about.version

    @property
    def tag(self) -> str:
        """What its commit is called."""
        return names.tag(self.version)

    def __str__(self) -> str:
        return f"{self.repository}@{self.version}"

    def reported(self, report: Report) -> "Release":
        """The same with another report of its content."""
        return _made(self.artifact, self.repository, self.endpoint, report)

    def merged(self, card: str | None) -> dict[str, bytes]:
        """The files; what people wrote in the `card` of the repository stays.

        Where that has none, it is what they wrote in the artifact's own.

        Raises:
            FormatError: the card is broken where ours has to go into it.
        """
        theirs = summary.card(self.artifact) if card is None else card
        text = cards.merge(theirs or "", self.files[CARD].decode())
        return {**self.files, CARD: text.encode()}


def prepare(
    folder: str | Path,
    repository: str,
    endpoint: str,
    *,
    version: str | None = None,
    report: Report | None = None,
) -> Release:
    """Check an artifact as its readers will, and make what it is published with.

    Args:
        folder: the artifact, which stays as it is.
        repository: `owner/name`.
        endpoint: the address of its Hub.
        version: what to publish it as; the artifact's own unless given.
        report: what networks reach on it; the artifact's own unless given.

    Raises:
        ArtifactError: it has a fault, or the report is of other content.
        UnknownNameError: there is no such folder, no such way to write a repository or version.
    """
    names.repository(repository)
    place = resolve.resolve(Path(folder))
    listed_golden = reference_draws.PATH in {entry.path for entry in place.read().manifest.files}
    found = place.check(golden=listed_golden)
    if version is not None:
        found = replace(found, manifest=_versioned(found.manifest, version))
    return _made(found, repository, endpoint, report)


def _made(found: Artifact, repository: str, endpoint: str, report: Report | None) -> Release:
    made = cards.derived(found, report, repo=repository, endpoint=endpoint)
    manifest = found.manifest.listing(made)
    kept = {entry.path: found.file(entry.path) for entry in listed(found.manifest)}
    files = {**kept, **made, NAME: manifest.encode()}
    return Release(repository, endpoint, found, manifest, files)


def _versioned(page: Manifest, version: str) -> Manifest:
    if names.version(names.tag(version)) != version:
        raise UnknownNameError(f"{version!r} is no version: write three numbers, such as 1.0.1")
    about = page.about.model_copy(update={"version": version})
    return Manifest.seal(page.content, about=about, files=page.files)
