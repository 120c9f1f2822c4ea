import pytest
import torch

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources.decoders import Decoder, DecoderSpec, sizes

# family, width, noise, channels, size, parameters of the published code's decoder
PUBLISHED = [
    ("small", 64, 64, 3, 32, 61_083),
    ("small", 128, 64, 3, 32, 210_227),
    ("small", 256, 64, 3, 32, 772_707),
    ("small", 64, 64, 3, 64, 62_131),
    ("small", 128, 64, 3, 64, 214_371),
    ("small", 256, 64, 3, 64, 789_187),
    ("small", 64, 64, 3, 128, 63_179),
    ("small", 128, 64, 3, 128, 218_515),
    ("small", 256, 64, 3, 128, 805_667),
    ("small", 8, 8, 1, 32, 1_010),
    ("small", 16, 16, 1, 32, 3_907),
    ("small", 32, 32, 1, 32, 15_365),
    ("small", 64, 64, 1, 32, 60_937),
    ("small", 16, 16, 3, 32, 3_945),
    ("small", 32, 32, 3, 32, 15_439),
    ("medium", 512, 2048, 3, 64, 5_774_691),
    ("medium", 512, 2048, 3, 32, 5_784_771),
    ("medium", 1024, 4096, 3, 64, 23_089_859),
    ("large", 1024, 4096, 3, 64, 6_308_547),
    ("large", 512, 2048, 3, 64, 1_578_339),
]


def image(channels: int, size: int) -> Image:
    return Image(channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels)


def decoder(family="small", width=8, noise=4, channels=1, size=8, stages=None, norm=True):
    spec = DecoderSpec(family=family, width=width, noise=noise, stages=stages)
    return Decoder(sizes(spec, image(channels, size)), norm=norm)


@pytest.mark.parametrize(("family", "width", "noise", "channels", "size", "count"), PUBLISHED)
def test_counts_are_the_published_ones(family, width, noise, channels, size, count):
    plan = sizes(DecoderSpec(family=family, width=width, noise=noise), image(channels, size))
    assert plan.parameters() == count
    with torch.device("meta"):
        built = Decoder(plan, norm=True)
    assert sum(parameter.numel() for parameter in built.parameters()) == count


@pytest.mark.parametrize("size", [8, 9, 16, 28, 33, 100, 128, 224, 512])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("family", "noise"), [("small", 5), ("medium", 5), ("large", None)])
def test_every_size_and_mode_decodes(size, channels, family, noise):
    base = sizes(DecoderSpec(family="small", width=4, noise=1), image(channels, size)).base
    made = decoder(family, 4, noise or 4 * base**2, channels, size, norm=False)
    images = made(torch.randn(2, made.sizes.noise))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert {k: tuple(v.shape) for k, v in made.state_dict().items()} == made.sizes.shapes()


@pytest.mark.parametrize("family", ["small", "medium"])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_folding_changes_no_image(family, stages):
    made = decoder(family, 8, 6, 3, 28, stages)
    latents = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    for norm in made.norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.normal_(norm.bias)
    made.calibrate(latents)
    torch.testing.assert_close(made.folded()(latents), made(latents), atol=1e-5, rtol=1e-4)


def test_calibration_makes_evaluation_equal_to_one_pass_in_training():
    made = decoder(width=8, size=16)
    latents = torch.randn(256, 4)
    made.calibrate(latents)
    evaluated = made(latents)
    made.train()
    # running variances are unbiased, those of a pass are not: 256 x 16 values or more each
    torch.testing.assert_close(made(latents), evaluated, atol=1e-3, rtol=0)


def test_a_latent_that_cannot_be_reshaped_is_refused():
    with pytest.raises(RecipeError, match=r"decoder\.noise is 5.*must be 32"):
        decoder("large", 8, 5)


def test_too_many_stages_are_refused():
    with pytest.raises(RecipeError, match="8 px allow at most 2"):
        decoder(stages=3)
