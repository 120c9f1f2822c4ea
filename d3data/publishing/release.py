"""What is published: an artifact that has been checked, with all that is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from d3data import cards
from d3data.artifact import reference_draws, summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import NAME, Manifest
from d3data.artifact.summary import CARD
from d3data.data.sets import AnySet, local_copy
from d3data.errors import UnknownNameError
from d3data.evaluation.report import Report
from d3data.hub import names
from d3data.hub.local import listed


@dataclass(frozen=True)
class Release:
    """One version of a set, for one repository of the Hub at `endpoint`."""

    repository: str
    endpoint: str
    artifact: Artifact  # what it is made of
    manifest: Manifest  # which lists also what was made
    files: Mapping[str, bytes]  # by path; the card is as it was made

    @property
    def version(self) -> str:
        return self.manifest.about.version

    @property
    def tag(self) -> str:
        return names.tag(self.version)

    def __str__(self) -> str:
        return f"{self.repository}@{self.version}"

    def reported(self, report: Report) -> "Release":
        """The same release with another report of its content."""
        return _release(self.artifact, self.repository, self.endpoint, report)

    def merged(self, card: str | None) -> dict[str, bytes]:
        """The files; what people wrote in the `card` of the repository stays, else in our own."""
        theirs = summary.card(self.artifact) if card is None else card
        text = cards.merge(theirs or "", self.files[CARD].decode())
        return {**self.files, CARD: text.encode()}


def prepare(
    dataset: AnySet,
    repository: str,
    endpoint: str,
    *,
    version: str | None = None,
    report: Report | None = None,
) -> Release:
    """Check an artifact as its readers will, and make the files that it is published with."""
    names.repository(repository)
    place = local_copy(dataset)
    listed_golden = reference_draws.PATH in {entry.path for entry in place.read().manifest.files}
    artifact = place.check(golden=listed_golden)
    if version is not None:
        artifact = replace(artifact, manifest=_versioned(artifact.manifest, version))
    return _release(artifact, repository, endpoint, report)


def _release(artifact: Artifact, repository: str, endpoint: str, report: Report | None) -> Release:
    made = cards.derived(artifact, report, repo=repository, endpoint=endpoint)
    manifest = artifact.manifest.listing(made)
    paths = {entry.path for entry in listed(artifact.manifest)} - made.keys()
    kept = {path: artifact.file(path) for path in sorted(paths)}
    files = {**kept, **made, NAME: manifest.encode()}
    return Release(repository, endpoint, artifact, manifest, files)


def _versioned(page: Manifest, version: str) -> Manifest:
    if names.version(names.tag(version)) != version:
        raise UnknownNameError(f"{version!r} is not a version: write three numbers, such as 1.0.1")
    about = page.about.model_copy(update={"version": version})
    return Manifest.seal(page.content, about=about, files=page.files)
