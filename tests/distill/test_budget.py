import pytest

from d3data.artifact.quantize import Quantization, stored_bytes
from d3data.distill.budget import plan_budget
from d3data.errors import BudgetError
from d3data.images.spec import Image
from d3data.sources.decoders import sizes
from d3data.sources.registry import layout, published_values


def image(channels: int, size: int) -> Image:
    return Image(channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels)


@pytest.mark.parametrize(
    ("channels", "size", "classes", "subtasks", "values"),
    [
        (1, 8, 10, 1, 2_560),
        (1, 8, 10, 1, 6_400),
        (1, 28, 10, 2, 7_840),
        (3, 32, 10, 1, 30_720),
        (3, 32, 100, 3, 307_200),
        (3, 64, 1000, 5, 12_288_000),
        (3, 512, 4, 1, 50_000),
    ],
)
@pytest.mark.parametrize("family", ["small", "medium"])
def test_values_are_used_up_to_a_few_per_cent(channels, size, classes, subtasks, values, family):
    bought = plan_budget(
        image(channels, size), classes=classes, values=values, subtasks=subtasks, family=family
    )
    assert 0.96 * values <= bought.published_values <= values


def test_what_is_counted_is_what_the_parts_hold():
    bought = plan_budget(image(1, 28), classes=7, values=7_840, subtasks=2)
    counted = [
        published_values(
            bought.source, image(1, 28), items=bought.items_per_class * classes, classes=classes
        )
        for classes in (3, 4)
    ]
    assert sum(counted) == bought.published_values


MAPS = {"kind": "spatial", "stored": Quantization(priors="int3", decoder="int4")}


@pytest.mark.parametrize(
    ("channels", "size", "classes", "budget"),
    [
        (3, 32, 10, 30_720),
        (3, 32, 10, 122_880),
        (1, 28, 10, 30_000),
        (3, 64, 100, 500_000),
        (1, 8, 10, 12_000),
        (3, 512, 4, 100_000),
    ],
)
def test_bytes_buy_small_maps(channels, size, classes, budget):
    bought = plan_budget(image(channels, size), classes=classes, size=budget, **MAPS)
    assert 0.95 * budget <= bought.bytes <= budget
    shapes = layout(
        bought.source,
        image(channels, size),
        items=bought.items_per_class * classes,
        classes=classes,
    )
    decoder = {name: shape for name, shape in shapes.items() if name != "mean"}
    assert stored_bytes(decoder, MAPS["stored"]) < 0.35 * budget
    assert bought.items_per_class >= 10


def test_values_buy_small_maps():
    bought = plan_budget(image(1, 28), classes=10, values=7_840, kind="spatial")
    assert 0.96 * 7_840 <= bought.published_values <= 7_840


@pytest.mark.parametrize("size", [20_000, 100_000, 1_000_000])
def test_bytes_are_used_up_to_a_few_per_cent(size):
    bought = plan_budget(image(3, 64), classes=4, size=size)
    assert 0.95 * size <= bought.bytes <= size


def test_a_budget_is_one_number_that_is_large_enough():
    with pytest.raises(BudgetError, match=r"too small for any decoder of 32 px.*raise it"):
        plan_budget(image(3, 32), classes=10, values=100)
    with pytest.raises(BudgetError, match="either"):
        plan_budget(image(3, 32), classes=10)


def test_a_last_map_of_one_channel_is_the_last_resort():
    def narrowest(values):
        bought = plan_budget(image(1, 28), classes=10, values=values)
        return sizes(bought.source.decoder, image(1, 28)).channels[-1]

    assert narrowest(3_000) == 1
    assert all(narrowest(values) >= 2 for values in (8_000, 80_000))


def test_priors_of_a_class_have_a_bound():
    bought = plan_budget(image(1, 28), classes=10, values=50_000, most_per_class=4)
    assert bought.items_per_class == 4
    assert bought.published_values > 0.9 * 50_000
