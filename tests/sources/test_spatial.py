"""Small maps and the decoder that enlarges them."""

import math

import pytest
import torch
from torch.nn import functional as F

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources import registry
from d3data.sources.base import purpose
from d3data.sources.spatial import SpatialSpec


def image(channels: int, size: int) -> Image:
    return Image(channels=channels, size=size, mean=(0.4,) * channels, std=(0.25,) * channels)


def source(spec: SpatialSpec, image: Image, *, items: int = 3):
    torch.manual_seed(0)
    made = registry.blank(spec, image, classes=torch.arange(items), step_size=0.1)
    for parameter in made.parameters():
        parameter.data.uniform_(-1, 1)
    return made


def shuffled(x):
    """Pixel (k, 2y + u, 2x + v) is that of channel 4k + 2u + v at (y, x)."""
    count, channels, height, width = x.shape
    out = x.new_empty(count, channels // 4, 2 * height, 2 * width)
    for u in (0, 1):
        for v in (0, 1):
            out[:, :, u::2, v::2] = x[:, 2 * u + v :: 4]
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "stages", "side"), [(8, 1, 4), (28, 2, 7), (28, 3, 4), (33, 2, 9)]
)
def test_a_draw_is_its_formula(channels, size, stages, side):
    spec = SpatialSpec(channels=2, stages=stages, width=6, blocks=2, spread=0.3)
    made = source(spec, image(channels, size)).double()
    noise = torch.randn(3, made.noise_values, dtype=torch.float64)
    assert made.latent_shape == (2, side, side)
    tensors = {name.removeprefix("decoder."): t for name, t in made.state_dict().items()}

    def convolved(name, x):
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

    def f(x):
        return torch.where(x > 0, x, 0.01 * x)

    x = f(convolved("first", tensors["mean"] + 0.3 * noise.view(3, 2, side, side)))
    x = x + f(convolved("blocks.0", x))
    x = x + f(convolved("blocks.1", x))
    for step in range(stages):
        x = f(shuffled(convolved(f"steps.{step}", x)))
    edge = (side * 2**stages - size) // 2
    x = torch.tanh(convolved("out", x))[..., edge : edge + size, edge : edge + size]
    expected = ((x + 1) / 2 - 0.4) / 0.25
    torch.testing.assert_close(made(torch.arange(3), noise), expected)
    assert made(torch.arange(3), noise).shape == (3, channels, size, size)


def test_draws_of_an_item_are_as_far_apart_as_the_specification_says():
    made = source(SpatialSpec(channels=2, stages=1, width=2, spread=0.5), image(1, 16))
    items = torch.zeros(500, dtype=torch.int64)
    noise = torch.randn(500, made.noise_values, generator=torch.Generator().manual_seed(0))
    drawn = made.latents(items, noise)
    assert drawn.std(0).mean().item() == pytest.approx(0.5, rel=0.01)
    assert torch.equal(made.latents(items[:1], None)[0], made.mean[0])


def test_maps_are_confined_and_nothing_else_is():
    made = source(SpatialSpec(channels=2, stages=1, width=2), image(1, 8))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    for parameter in made.parameters():
        parameter.data.mul_(3)
    made.confine()
    for name, tensor in made.state_dict().items():
        wide = 3 * before[name]
        assert torch.equal(tensor, wide.clamp(-1, 1) if purpose(name) == "priors" else wide)


def test_values_are_those_of_the_tensors():
    spec = SpatialSpec(width=32)
    layout = registry.layout(spec, image(3, 32), items=1060, classes=10)
    decoder = sum(math.prod(s) for n, s in layout.items() if n.startswith("decoder."))
    assert decoder == 38_643
    assert registry.published_values(spec, image(3, 32), items=1060, classes=10) == (
        38_643 + 1060 * 4 * 8 * 8
    )


@pytest.mark.parametrize(
    ("changed", "size", "fault"),
    [
        ({"stages": 5}, 32, r"source\.stages is 5: 32 px allow at most 4"),
        (
            {"stages": 1, "channels": 64},
            64,
            r"source\.channels is 64: maps of 32x32 .* at most 16",
        ),
    ],
)
def test_what_does_not_fit_the_images_is_refused(changed, size, fault):
    with pytest.raises(RecipeError, match=fault):
        registry.layout(SpatialSpec(width=8, **changed), image(3, size), items=1, classes=1)


@pytest.mark.parametrize(
    "changed",
    [{"spread": 0}, {"spread": math.inf}, {"channels": 0}, {"blocks": 17}, {"width": 4097}],
)
def test_sizes_have_bounds(changed):
    with pytest.raises(RecipeError, match=next(iter(changed))):
        SpatialSpec.parse({"width": 8, **changed}, where="recipe")


@pytest.mark.parametrize(("channels", "width"), [(3, 1), (3, 6), (1, 9)])
def test_memory_of_a_draw_is_that_of_its_largest_map(channels, width):
    made = source(SpatialSpec(channels=1, stages=2, width=width), image(channels, 21))
    seen = []
    for module in made.decoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, out: seen.append(out[0].numel()))
    made(torch.tensor([0]), None)
    assert max(seen) == made.values_per_image
