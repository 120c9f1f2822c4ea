"""An evaluation as one HTML page, and as pictures: the numbers are those of its reports."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.data import preview
from d3data.data.gallery import Draws, Gallery, spread
from d3data.data.preview import EXACT, address
from d3data.errors import ArtifactError
from d3data.evaluation.pages import tables
from d3data.evaluation.pages.chart_data import ChartData
from d3data.evaluation.report import Report, measured
from d3data.utils import templates
from d3data.utils.packages import naming_packages
from d3data.utils.templates import GENERATOR
from d3data.utils.text import weight

CLASSES, DRAWS, MEANS = 10, 10, 24  # classes shown, draws of a prior, priors that are compared


@naming_packages()
def report_page(report: Report | Sequence[Report], artifact: Artifact | None = None) -> str:
    """The page of an evaluation: the same reports give the same page.

    Args:
        report: one, or several of a task: the first is shown in full; others of its protocol
            join the charts of accuracy against bytes, others of its set show what longer training
            gains.
        artifact: the set of the first, to show how much the draws of a prior differ.

    Raises:
        DataError: the reports do not belong together.
        ArtifactError: the artifact is another set.
    """
    data, gallery = _opened(report, artifact)
    css = "".join(templates.read(f"evaluation/pages/{name}.css") for name in ("page", "report"))
    first, image = data.report, gallery.image if gallery else None
    costs = [first.cost(row) for row in first.rows]
    if all(cells["seconds on real"] == "-" for cells in costs):
        for cells in costs:
            del cells["seconds on real"]
    return templates.html(
        "evaluation/pages/report.html.jinja",
        data=data,
        report=first,
        generator=templates.trusted(GENERATOR),
        policy=templates.policy(css),
        css=templates.trusted(css),
        figures=_figures(data),
        results=[(result.name, _ahead(result.row.cells())) for result in data.results],
        notes=dict.fromkeys((row.name, row.note) for row in first.rows if row.note),
        scores=[line.rsplit("  ", 1) for line in first.scores.lines()] if first.scores else [],
        costs=[*zip((result.name for result in data.results), costs, strict=False)],
        measured=measured(first),
        strips=[(one, [*map(address, one.draws)]) for one in diversity(gallery)],
        pixelated=image is not None and image.size < EXACT,
        whitened=image is not None and image.whitening is not None,
    )


def _ahead(cells: dict[str, str]) -> dict[str, str]:
    """The cells with the accuracy first, which narrow screens show without scrolling."""
    first = {name: cells[name] for name in cells if name in ("trained on", "accuracy %")}
    return first | cells


@naming_packages()
def report_pictures(
    report: Report | Sequence[Report], artifact: Artifact | None = None
) -> dict[str, bytes]:
    """The charts of the page as PNG files by their names; arguments and errors are its own."""
    data, gallery = _opened(report, artifact)
    first, of = data.report, f"{data.report.data} on {data.report.task}"
    pictures = {name: chart.png(f"{chart.title}: {of}") for name, chart in data.charts.items()}
    which = "each class" if data.bars == data.rates else "some classes"
    names = data.first[0].name, data.rival.name if data.rival else None
    pictures["per-class"] = tables.bars_png(data.bars, f"Accuracy of {which}: {of}", *names)
    if data.confusion:
        heading = f"% of each class's images: {of}"
        pictures["confusion"] = tables.grid_png(data.confusion, heading, "class", "taken for")
    if data.transfer:
        heading = f"Accuracy of other networks, %: {of}"
        pictures["transfer"] = tables.grid_png(data.transfer, heading, "network", "normalization")
    if strips := diversity(gallery):
        images = torch.stack([strip.draws for strip in strips])
        labels = tuple(strip.label for strip in strips)
        unused = torch.zeros(images.shape[:2], dtype=torch.int64).numpy()
        draws = Draws(images, labels, unused, unused)
        pictures["diversity"] = preview.picture(draws, first.classes)
    return {f"{name}.png": content for name, content in pictures.items()}


def _opened(
    reports: Report | Sequence[Report], artifact: Artifact | None
) -> tuple[ChartData, Gallery | None]:
    data = ChartData([reports] if isinstance(reports, Report) else list(reports))
    if artifact is None:
        return data, None
    evaluated, stored = data.report.content_sha256, artifact.manifest.content_sha256
    if evaluated != stored:
        raise ArtifactError(
            f"the report is of content {evaluated}, and this set has {stored}: evaluate it again"
        )
    return data, Gallery(artifact)


def _figures(data: ChartData) -> list[tuple[str, str]]:
    """The numbers at the head of the page, and what they are."""
    report, own, rival = data.report, data.first[0].row, data.rival
    what = f"of {report.tests:,} {report.split} images recognized"
    figures = [(f"{100 * own.mean:.1f} %", what)]
    if rival is not None:
        lead = f"{100 * (own.mean - rival.row.mean):+.1f}".replace("-", "\u2212")
        size = f" ({weight(rival.row.bytes)})" if rival.row.bytes is not None else ""
        figures.append((lead, f"points over {rival.name}{size}"))
    if own.bytes is not None:
        figures.append((weight(own.bytes), "to train on"))
    return figures


class Diversity(NamedTuple):
    """The first prior of a class: draws (n, C, H, W) of it, and mean distances, of 255.

    They are between two draws, and between two means of the class, where it has several priors.
    """

    label: int
    draws: Tensor
    within: float
    between: float | None


def diversity(gallery: Gallery | None) -> list[Diversity]:
    """Of some classes, evenly spread; none where images are stored, or there is no gallery."""
    if gallery is None or not gallery.content.source.random:
        return []
    strips = []
    for label in spread(len(gallery.names), CLASSES):
        draws, means = gallery.repeats(label, DRAWS), gallery.means(label, MEANS)
        between = distance(means) if len(means) > 1 else None
        strips.append(Diversity(label, draws, distance(draws), between))
    return strips


def distance(images: Tensor) -> float:
    """(n, C, H, W) -> the mean over pairs of the root mean squared difference of their values."""
    flat = images.flatten(1).double()
    apart: float = torch.nn.functional.pdist(flat).mean().item()
    return apart / math.sqrt(flat.shape[1])
