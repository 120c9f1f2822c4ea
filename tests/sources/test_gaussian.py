import pytest
import torch

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources import registry
from d3data.sources.decoders import DecoderSpec
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.pixels import PixelsSpec

IMAGE = Image(channels=3, size=16, mean=(0.2, 0.5, 0.7), std=(0.1, 0.2, 0.3))


def source(**more):
    spec = GaussianSpec(decoder=DecoderSpec(family="small", width=8, noise=4), **more)
    made = registry.blank(spec, IMAGE, classes=torch.tensor([4, 4, 9]), step_size=0.5)
    torch.manual_seed(0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize(
    ("std", "rows"), [("item", [0, 1, 2]), ("class", [0, 0, 1]), ("shared", None)]
)
def test_a_draw_is_the_decoder_at_mean_plus_std_times_noise(std, rows):
    made = source(std=std)
    items, noise = torch.tensor([2, 0]), torch.randn(2, 4)
    spread = made.std.abs() if rows is None else made.std.abs()[torch.tensor(rows)[items]]
    latents = made.mean[items] + spread * noise
    pixels = (made.decoder(latents) + 1) / 2
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (IMAGE.mean, IMAGE.std))
    expected = (pixels - mean) / deviation
    torch.testing.assert_close(made(items, noise), expected, atol=1e-5, rtol=1e-5)


def test_black_and_white_are_in_reach():
    made = source()
    black, white = made.values(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 2, 2))
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE.mean, IMAGE.std))
    torch.testing.assert_close(black * std + mean, torch.zeros(3, 2, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(white * std + mean, torch.ones(3, 2, 2), atol=1e-6, rtol=0)


def test_published_values_are_the_decoders_own():
    made = source(values="normalised")
    latents = torch.randn(5, 4)
    torch.testing.assert_close(made.decode(latents), made.decoder(latents))


def test_the_residual_is_added_to_draws_and_not_to_means():
    made, plain = source(residual=True), source()
    plain.load_state_dict(
        {k: v for k, v in made.state_dict().items() if not k.startswith("residual.")}
    )
    items = torch.arange(3)
    noise = torch.randn(3, 4 + IMAGE.values)
    assert made.noise_values == 4 + 3 * 16 * 16
    assert torch.equal(made(items, None), plain(items, None))
    field = made.residual(noise[:, 4:].view(3, 3, 16, 16))
    torch.testing.assert_close(made(items, noise), plain(items, noise[:, :4]) + field)


@pytest.mark.parametrize("residual", [False, True])
def test_latents_and_white_values_make_the_same_images(residual):
    made = source(residual=residual)
    items, noise = torch.tensor([2, 0, 1]), torch.randn(3, made.noise_values)
    latents = made.latents(items, noise[:, :4])
    torch.testing.assert_close(latents, made.mean[items] + made.std.abs()[items] * noise[:, :4])
    assert made.latent_noise == 4
    drawn = made.decode(latents, noise[:, 4:])
    assert torch.equal(drawn, made(items, noise))
    assert torch.equal(made.latents(items, None), made.mean[items])
    assert torch.equal(made.decode(made.mean[items]), made(items, None))


def test_a_stored_image_is_its_own_latent():
    made = registry.blank(PixelsSpec(), IMAGE, classes=torch.tensor([0, 1]), step_size=0.1)
    made.pixels.data.normal_()
    items = torch.tensor([1, 0, 1])
    assert torch.equal(made.latents(items, None), made.pixels[items])
    assert torch.equal(made.decode(made.latents(items, None)), made.pixels[items])


# facts of the published ImageNet-1K runs at 64 px: decoders and priors in float values
@pytest.mark.parametrize(
    ("family", "width", "noise", "blocks", "items", "values", "labeled"),
    [
        ("small", 256, 64, 5, 1, 4_073_935, 5_073_935),
        ("medium", 512, 2048, 2, 2, 19_741_382, 21_741_382),
        ("large", 1024, 4096, 5, 10, 113_462_735, 123_462_735),
    ],
)
def test_values_are_counted_as_published(family, width, noise, blocks, items, values, labeled):
    image = Image(channels=3, size=64, mean=(0.5,) * 3, std=(0.2,) * 3)
    spec = GaussianSpec(decoder=DecoderSpec(family=family, width=width, noise=noise))
    classes = 1000 // blocks
    for labels, expected in ((None, values), (1000, labeled)):
        one = registry.published_values(
            spec, image, items=items * classes, classes=classes, labels=labels
        )
        assert blocks * one == expected


def test_pixels_are_counted_as_images():
    count = registry.published_values(PixelsSpec(), IMAGE, items=20, classes=10)
    assert count == 20 * 3 * 16 * 16


def test_a_wrong_latent_is_an_error():
    spec = GaussianSpec(decoder=DecoderSpec(family="large", width=8, noise=4))
    with pytest.raises(RecipeError, match="must be 32"):
        registry.blank(spec, IMAGE, classes=torch.tensor([0]), step_size=0.1)
