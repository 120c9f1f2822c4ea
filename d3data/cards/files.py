"""The files that are made from an artifact to publish it with."""

import dataclasses
import json

from d3data.artifact.artifact import Artifact
from d3data.artifact.summary import CARD
from d3data.cards.croissant_json import croissant
from d3data.cards.dataset_card import render
from d3data.cards.facts import HUB, Facts
from d3data.data import preview
from d3data.data.gallery import Gallery, spread
from d3data.data.sets import AnySet, local_copy
from d3data.evaluation.report import REPORT, Report, stored_report
from d3data.utils.packages import naming_packages

CROISSANT = "croissant.json"


@naming_packages()
def card(
    dataset: Facts | AnySet,
    report: Report | None = None,
    *,
    repo: str | None = None,
    endpoint: str = HUB,
) -> str:
    """The dataset card of a set, `README.md`, as the Hub shows it once the set is published.

    The text between its two marks and the keys of its YAML are ours; `d3data.cards.merge` brings
    them into a card that people have written in. The same facts give the same text.

    Args:
        dataset: a set that was loaded, an artifact, a name or a folder; or its facts.
        report: what networks reach on it; the one that it has unless given.
        repo: where it will be published, `owner/name`.
        endpoint: the address of the Hub.

    Raises:
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
        ArtifactError: a file of the set, such as its report or its recipe, is broken.
    """
    if isinstance(dataset, Facts):
        return render(dataset)
    artifact = local_copy(dataset, extras=True).read()
    return render(finished(artifact, report, repo=repo, endpoint=endpoint))


@naming_packages()
def derived(
    artifact: Artifact,
    report: Report | None = None,
    *,
    repo: str | None = None,
    endpoint: str = HUB,
) -> dict[str, bytes]:
    """All files that are made from an artifact, by path, as `artifact.extend` takes them.

    The picture and the table are of its content alone. `README.md` and `croissant.json` are of the
    manifest that the artifact has once it lists these and `report.json`, where there is a report.
    Whether it has some of them already changes nothing.

    Args:
        artifact: whose files.
        report: what networks reach on it; the one that it has unless given.
        repo: where it will be published, `owner/name`.
        endpoint: the address of the Hub that it will be published on.

    Raises:
        ArtifactError: a part of the artifact has a fault, or the report is of other content.
    """
    report = report or stored_report(artifact)
    files = previews(Gallery(artifact)) | _encoded(report)
    facts = _with_files(Facts.of(artifact, report, repo=repo, endpoint=endpoint), files)
    return files | {CARD: render(facts).encode(), CROISSANT: croissant(facts).encode()}


@naming_packages()
def finished(
    artifact: Artifact,
    report: Report | None = None,
    *,
    repo: str | None = None,
    endpoint: str = HUB,
) -> Facts:
    """The facts of an artifact once it has all that `derived` makes: those of its card.

    What it lists already is taken to be that. Arguments and errors are those of `derived`.
    """
    report = report or stored_report(artifact)
    listed = {entry.path for entry in artifact.manifest.files}
    has_previews = {preview.PICTURE, preview.TABLE} <= listed
    files = _encoded(report) | ({} if has_previews else previews(Gallery(artifact)))
    return _with_files(Facts.of(artifact, report, repo=repo, endpoint=endpoint), files)


@naming_packages()
def previews(gallery: Gallery) -> dict[str, bytes]:
    """The picture and the table of some draws, by path."""
    classes, count = preview.affordable(len(gallery.names), gallery.image.values)
    draws = gallery.draws(spread(len(gallery.names), classes), count)
    table = preview.table(draws, gallery.names)
    return {preview.PICTURE: picture(gallery), preview.TABLE: table}


@naming_packages()
def picture(gallery: Gallery) -> bytes:
    """A PNG of the first draws of at most 50 classes."""
    draws = gallery.draws(spread(len(gallery.names), preview.ROWS), preview.COLUMNS)
    return preview.picture(draws, gallery.names)


def _encoded(report: Report | None) -> dict[str, bytes]:
    if report is None:
        return {}
    return {REPORT: (json.dumps(report.dump(), indent=2, ensure_ascii=False) + "\n").encode()}


def _with_files(facts: Facts, files: dict[str, bytes]) -> Facts:
    """The same set once its manifest lists these files too."""
    sealed = facts.manifest.listing(files)
    purposes = {**facts.ledger.purposes, "manifest": len(sealed.encode())}
    ordered = dict(sorted(purposes.items(), key=lambda pair: -pair[1]))
    ledger = dataclasses.replace(facts.ledger, purposes=ordered)
    return dataclasses.replace(facts, manifest=sealed, ledger=ledger)
