"""info(): what a set is, where it comes from, and what its bytes are spent on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.artifact import summary
from d3data.artifact.ledger import Ledger
from d3data.artifact.manifest import Manifest
from d3data.data.sets import AnySet, local_copy
from d3data.utils.paths import as_name
from d3data.utils.text import some, upright

COUNTS = ("published_values", "stored_values", "ipc_floats", "ipc_bytes")


@dataclass(frozen=True)
class SetInfo:
    """What a set is; printed, it is the page that `d3data info` prints.

    Attributes:
        folder: where it is on this machine.
        revision: its commit, where it is in the Hub's cache.
        manifest: all that it says of itself.
        ledger: how many bytes each kind of content takes.
        not_downloaded: optional files that are on the Hub only.
    """

    folder: Path
    revision: str | None
    manifest: Manifest
    ledger: Ledger
    not_downloaded: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.manifest.about.name

    @property
    def version(self) -> str:
        """The version of its content, X.Y.Z."""
        return self.manifest.about.version

    @property
    def license(self) -> str:
        """The terms of the real images that it was made from."""
        return self.manifest.about.provenance.license

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of their numbers."""
        return tuple(self.manifest.content.classes)

    def dump(self) -> dict[str, Any]:
        """The same in plain values, as `d3data info --json` has it."""
        numbers = {count: getattr(self.ledger, count) for count in COUNTS}
        return {
            "folder": str(self.folder),
            "revision": self.revision,
            "manifest": self.manifest.dump(),
            "ledger": numbers | {"bytes": dict(self.ledger.purposes)},
        }

    def __str__(self) -> str:
        page = self.manifest
        made, method, shape = page.about.provenance, page.about.method, page.content.image
        lines = [
            f"{self.name} {self.version}",
            f"made from   {made.task} ({made.source}; licence {made.license})",
            f"method      {method.name} ({method.reference})",
            f"images      {shape.channels} x {shape.size} x {shape.size}, "
            f"{len(page.content.classes)} classes",
            f"items       {sum(part.items for part in page.content.parts)}, in parts: "
            f"{len(page.content.parts)}; {page.content.labels.kind} labels",
            f"stored      {summary.stored(page)}",
            f"content     {page.content_sha256}",
            *([f"commit      {self.revision}"] if self.revision else []),
            f"folder      {as_name(self.folder)}",
            *([f"not fetched {some(self.not_downloaded)}"] if self.not_downloaded else []),
            "",
            str(self.ledger),
        ]
        return upright("\n".join(lines))


def info(dataset: AnySet) -> SetInfo:
    """Say what a set is, where it comes from, and what its bytes are spent on.

    Args:
        dataset: a set that was loaded, an artifact, a name or a folder.

    Raises:
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
        ArtifactError: it cannot be read.
    """
    copy = local_copy(dataset)
    artifact = copy.read()
    return SetInfo(
        folder=copy.folder,
        revision=copy.revision,
        manifest=artifact.manifest,
        ledger=artifact.ledger,
        not_downloaded=tuple(copy.not_downloaded(artifact.manifest)),
    )
