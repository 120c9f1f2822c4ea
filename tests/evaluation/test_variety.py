"""How far draws of one item are apart."""

import pytest
import torch

import toys
from d3data.evaluation.variety import _pairs, variety
from d3data.sources.spatial import SpatialSource


class Drawn:
    def __init__(self, *sources):
        self.sources = lambda: sources


def test_it_is_the_ratio_of_distances_within_and_between_items(monkeypatch):
    """Images that are numbers: an item's own, plus noise of a known width."""
    source = toys.source("pixels", items_per_class=24)
    levels = torch.linspace(-1, 1, len(source.classes))

    def images(self, items, rng):
        noise = torch.randn(len(items), generator=rng)
        return (levels[items] + 0.01 * noise)[:, None, None, None].expand(-1, 1, 4, 4)

    monkeypatch.setattr(type(source), "images", images)
    between = torch.cat([levels[m] - levels[m].roll(1) for m in source.members]).square().mean()
    expected = (2e-4 / (between + 2e-4)).sqrt()
    assert variety(Drawn(source)) == pytest.approx(float(expected), rel=0.15)


def test_items_that_are_one_image_have_none():
    assert variety(Drawn(toys.source("pixels"))) == 0


def test_wider_noise_is_more():
    source = toys.source("spatial")
    assert isinstance(source, SpatialSource)
    found = []
    for spread in (0.05, 0.2, 0.8):
        source.spec = source.spec.model_copy(update={"spread": spread})
        found.append(variety(Drawn(source)))
    assert 0 < found[0] < found[1] < found[2]


def test_classes_of_one_item_have_nothing_to_compare_with():
    source = toys.source("spatial")
    source.members = [items[:1] for items in source.members]
    assert variety(Drawn(source)) is None


def test_it_is_the_same_each_time():
    source = toys.source("gaussian-residual")
    assert all(
        torch.equal(a, b) for a, b in zip(_pairs(source, 0), _pairs(source, 0), strict=True)
    )
