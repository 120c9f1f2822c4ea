"""What cards, pages and Croissant say of a set: plain words, which templates escape."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from d3data.artifact import summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.citations import bibtex
from d3data.artifact.ledger import Ledger
from d3data.artifact.manifest import Manifest
from d3data.cards.front_matter import TAGS
from d3data.errors import ArtifactError
from d3data.evaluation.leakage.audit import stored_audit
from d3data.evaluation.leakage.record import Audit
from d3data.evaluation.record import Row
from d3data.evaluation.report import Report, called, measured
from d3data.hub import errors, index, names
from d3data.images.presets import PRESETS
from d3data.utils import templates
from d3data.utils.markdown import address
from d3data.utils.text import counted, duration, figures, upright, weight

HUB = "https://huggingface.co"
RECIPE = "recipe.toml"
METHODS = (
    *("gaussian", "pixels", "generator", "align", "d3", "dc", "dd", "dm", "dsa", "frepo", "kip"),
    *("mmd", "mtt"),
)
HEADINGS = ("trained on", "accuracy, %", "images a class", "values", "bytes")
LIMITS = (
    "It is for training classifiers. Its images look like what they were made for, not like "
    "photographs, and no image of it is evidence of anything.",
    "It does not make the real images private. Nothing was done to hide them, and an item may "
    "come near to one; where the real images may not be shared, neither may this.",
    "Whatever the real images show too often, too rarely or wrongly labelled, it shows so too, "
    "and what is rare among them may be gone.",
    "It was made with small convolutional networks of one kind. Other networks, sizes and tasks "
    "may gain less from it: only what was measured is known.",
)
_PLAIN = re.compile("[A-Za-z0-9 ._/()-]+")  # words of which a slug leaves nothing out
_TABLE = tomllib.loads(templates.read("cards/licenses.toml"))
LICENSES: dict[str, str] = _TABLE["links"]


@dataclass(frozen=True)
class License:
    """An identifier of the Hub, or `other` with a `name`; `link` is where the terms are."""

    id: str
    name: str | None
    link: str | None


def license(words: str) -> License:
    """The licence that a manifest words so; an address among the words is where the terms are.

    >>> license("see https://example.org/terms")
    License(id='other', name='see-https-example.org-terms', link='https://example.org/terms')
    """
    slug = _slug(words.lower().removesuffix("licence").removesuffix("license"))
    spelt = _TABLE["spelled"].get(slug, slug)
    if spelt in LICENSES and _PLAIN.fullmatch(words):
        return License(spelt, None, LICENSES[spelt])
    whole = words.isascii() and spelt not in LICENSES  # else the name would leave terms out
    name = _slug(words.lower())[:60].strip("-.") if whole else ""
    return License("other", name or "see-card", address(words))


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")


@dataclass(frozen=True)
class Facts:
    """A set: its manifest, its ledger, what it reaches, and where it is published, if it is.

    Attributes:
        manifest: what the artifact says of itself.
        ledger: what its bytes are spent on.
        report: what networks reach on it.
        repo: the repository, `owner/name`.
        endpoint: the address of the Hub that has the repository.
        recipe: the text of its recipe; empty where it has none.
        audit: how near it comes to the real images.

    Raises:
        ArtifactError: the report or the audit is of other content.
        UnknownNameError: `repo` is not written as `owner/name`.
    """

    manifest: Manifest
    ledger: Ledger
    report: Report | None = None
    repo: str | None = None
    endpoint: str = HUB
    recipe: str = ""
    audit: Audit | None = None

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        report: Report | None = None,
        *,
        repo: str | None = None,
        endpoint: str = HUB,
    ) -> Self:
        """The facts of an artifact; its recipe and audit where they were fetched too."""
        listed = {entry.path for entry in artifact.manifest.files}
        fetched = RECIPE in listed.intersection(artifact.links or listed)
        recipe = artifact.file(RECIPE).decode("utf-8", errors="replace") if fetched else ""
        audit = stored_audit(artifact)
        return cls(artifact.manifest, artifact.ledger, report, repo, endpoint, recipe, audit)

    def __post_init__(self) -> None:
        if self.repo is not None:
            names.repository(self.repo)
        records = ("report", self.report, "evaluate"), ("audit", self.audit, "audit")
        for what, record, command in records:
            if record is not None and record.content_sha256 != self.manifest.content_sha256:
                raise ArtifactError(
                    f"the {what} is of content {record.content_sha256}, and this set has "
                    f"{self.manifest.content_sha256}: {command} it again"
                )

    @property
    def name(self) -> str:
        return self.manifest.about.name

    @property
    def title(self) -> str:
        """Its name, and of what it is."""
        return upright(f"{self.name} ({self.manifest.about.provenance.task}, distilled)")

    @property
    def load_name(self) -> str:
        """What `d3data.load` takes: the repository with the version, a short name, or a folder.

        That of the card, seen from there, where the set is in no other place that is known.
        """
        version = self.manifest.about.version
        if self.repo is not None:
            return f"{self.repo}@{version}"
        shipped = index.shipped().sets.get(self.name)
        ours = shipped is not None and shipped.content_sha256 == self.manifest.content_sha256
        return self.name if ours else "."

    @property
    def hub(self) -> str:
        """The address of its Hub, without a password that may be in it."""
        return errors.without_password(self.endpoint)

    @property
    def address(self) -> str | None:
        return None if self.repo is None else f"{self.hub}/datasets/{self.repo}"

    @property
    def draws(self) -> int:
        """K D, the draws of an epoch."""
        content = self.manifest.content
        return len(content.classes) * content.sampling.draws_per_class

    @property
    def fresh(self) -> bool:
        """Whether an item is drawn anew each time."""
        return self.manifest.content.source.random

    @property
    def stored(self) -> str:
        """What it consists of, such as `110 Gaussian priors and a decoder`."""
        content = self.manifest.content
        return content.source.describe(sum(content.items_per_class), len(content.parts))

    @property
    def precision(self) -> str:
        return summary.stored(self.manifest)

    @property
    def shape(self) -> str:
        """Its images, such as `8×8 grey`."""
        image = self.manifest.content.image
        return f"{image.size}×{image.size} {'grey' if image.channels == 1 else 'colour'}"

    @property
    def summary(self) -> str:
        content, made = self.manifest.content, self.manifest.about.provenance
        fresh = ", sampled anew at every draw" if self.fresh else ""
        return (
            f"{self.stored}, {weight(self.ledger.content_bytes)} in all, distilled from "
            f"{made.images:,} images of {made.task}: {self.shape} images of "
            f"{counted(len(content.classes), 'class', 'classes')}{fresh}."
        )

    @cached_property
    def license(self) -> License:
        """The terms of the real images, as the Hub calls them."""
        return license(self.manifest.about.provenance.license)

    @cached_property
    def citation(self) -> str:
        return bibtex(self.manifest.about)

    @property
    def preset(self) -> bool:
        """Whether d3data knows the real images by name, and fetches them."""
        return self.manifest.about.provenance.task in PRESETS

    @property
    def origin(self) -> str | None:
        """The repository of the real images on the Hub, where it is known."""
        preset = PRESETS.get(self.manifest.about.provenance.task)
        return (re.split("[:@]", preset.hub)[0] or None) if preset else None

    @property
    def tags(self) -> list[str]:
        method = re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", self.manifest.about.method.name.lower())
        size = [f"ipc-{number}" for number in re.findall(r"-(?:u8)?ipc(\d+)", self.name)]
        return [*TAGS, *size, *(word for word in dict.fromkeys(method) if word in METHODS)]

    @property
    def spent(self) -> list[tuple[str, int, float]]:
        """The bytes of manifest and parts: purpose, bytes, and share of all, the largest first."""
        whole, purposes = self.ledger.content_bytes, self.ledger.purposes.items()
        return [(what.replace("_", " "), size, size / whole) for what, size in purposes if size]

    @property
    def compared(self) -> list[tuple[str, str]]:
        ledger = self.ledger
        return [
            ("values, as papers count them", f"{ledger.published_values:,}"),
            ("values, in images per class", figures(ledger.ipc_floats)),
            *((f"bytes, against {what}", number) for what, number in ledger.against.items()),
        ]

    @property
    def made(self) -> list[tuple[str, str]]:
        about = self.manifest.about
        made = about.provenance
        return [
            ("method", about.method.name),
            ("recipe, sha256", made.recipe_sha256 or "none"),
            ("seeds", ", ".join(made.seeds)),
            ("hardware", made.device),
            ("duration, experts aside", duration(made.seconds)),
            ("date", made.date),
            ("versions", ", ".join(f"{name} {v}" for name, v in sorted(made.versions.items()))),
            ("content, sha256", self.manifest.content_sha256),
        ]

    @property
    def rows(self) -> list[Row]:
        """The rows of the report; what this set weighs is what its ledger says now."""
        rows = () if self.report is None else self.report.rows
        now = {"bytes": self.ledger.content_bytes}
        return [row.model_copy(update=now) if row.name == "distilled" else row for row in rows]

    @property
    def results(self) -> list[tuple[str, ...]]:
        """What networks reach, in the columns of `HEADINGS`."""
        several = len({(row.network, row.labels) for row in self.rows}) > 1
        results = []
        for row in self.rows:
            _, network, labels, *counts, reached, _ = row.cells().values()
            name = f"{called(row)}: {network}, {labels} labels" if several else called(row)
            results.append((name, reached, *("–" if cell == "-" else cell for cell in counts)))
        return results

    @property
    def protocol(self) -> str:
        assert self.report is not None, "there are no results"
        return measured(self.report)
