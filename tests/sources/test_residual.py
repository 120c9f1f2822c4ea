import math

import pytest
import torch

from d3data.images.spec import Image
from d3data.sources.residual import BINS, HIGHEST, Residual, color_axes, fit, frequencies, power


def residual(channels: int, size: int) -> Residual:
    return Residual(
        Image(channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels)
    )


def naive_field(white, amplitudes, axes):
    """The definition, frequency by frequency, with the full complex transform in float64."""
    channels, size = white.shape[1], white.shape[-1]
    spectrum = torch.fft.fft2(white.double(), norm="ortho")
    for row in range(size):
        for column in range(size):
            y, x = (f if f <= size / 2 else f - size for f in (row, column))
            at = math.hypot(y / size, x / size) / HIGHEST * BINS - 0.5
            at = min(max(at, 0.0), BINS - 1.0)
            left = min(int(at), BINS - 2)
            for axis in range(channels):
                low, high = amplitudes[axis, left].item(), amplitudes[axis, left + 1].item()
                spectrum[:, axis, row, column] *= low + (high - low) * (at - left)
    field = torch.fft.ifft2(spectrum, norm="ortho").real
    return sum(
        axes[k].double()[None, :, None, None] * field[:, k : k + 1] for k in range(channels)
    )


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (3, 9), (1, 28)])
def test_the_field_is_its_definition(channels, size):
    made = residual(channels, size)
    made.amplitudes.data.uniform_(0, 2)
    made.axes.data.copy_(torch.linalg.qr(torch.randn(channels, channels)).Q)
    white = torch.randn(2, channels, size, size)
    naive = naive_field(white, made.amplitudes, made.axes)
    torch.testing.assert_close(made(white).double(), naive, atol=1e-5, rtol=1e-5)


def test_flat_amplitudes_leave_white_noise_as_it_is():
    made = residual(3, 16)
    made.amplitudes.data.fill_(1.0)
    white = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(made(white), white, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [8, 9, 32])
def test_power_of_white_noise_is_its_variance_in_every_bin(size):
    images = 3 * torch.randn(4000, 1, size, size, generator=torch.Generator().manual_seed(0))
    measured = power(images, torch.eye(1))
    assert measured.shape == (1, BINS)
    torch.testing.assert_close(measured, torch.full((1, BINS), 9.0), rtol=0.08, atol=0)


def test_power_adds_up_to_the_mean_square():
    images = torch.randn(50, 1, 24, 24)
    counts = torch.zeros(BINS)
    full = torch.hypot(torch.fft.fftfreq(24)[:, None], torch.fft.fftfreq(24)[None])
    for frequency in full.flatten():
        counts[min(int(frequency / HIGHEST * BINS), BINS - 1)] += 1
    total = (power(images, torch.eye(1))[0] * counts).sum() / 24**2
    torch.testing.assert_close(total, images.square().mean(), rtol=1e-4, atol=0)


def test_draws_with_the_fitted_field_have_the_power_of_real_images():
    rng = torch.Generator().manual_seed(0)
    made = residual(3, 16)
    mix = torch.linalg.qr(torch.randn(3, 3, generator=rng)).Q
    rough = torch.randn(3000, 3, 16, 16, generator=rng) * torch.tensor([3.0, 2, 1])[:, None, None]
    real = torch.einsum("kc,bkhw->bchw", mix, rough)
    drawn = 0.1 * real.roll(1, 0)
    fit(made, real, drawn)
    whole = drawn + made(torch.randn(3000, 3, 16, 16, generator=rng)).detach()
    torch.testing.assert_close(power(whole, made.axes), power(real, made.axes), rtol=0.1, atol=0)


def test_there_is_no_negative_power():
    made = residual(1, 8)
    fit(made, torch.randn(100, 1, 8, 8), 5 * torch.randn(100, 1, 8, 8))
    assert torch.equal(made.amplitudes, torch.zeros(1, BINS))


def test_color_axes_are_ordered_and_signed():
    rng = torch.Generator().manual_seed(1)
    mix = torch.linalg.qr(torch.randn(3, 3, generator=rng)).Q
    scaled = torch.randn(2000, 3, 4, 4, generator=rng) * torch.tensor([5.0, 3, 1])[:, None, None]
    axes = color_axes(torch.einsum("kc,bkhw->bchw", mix, scaled))
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()
    torch.testing.assert_close((axes @ mix.T).abs(), torch.eye(3), atol=0.05, rtol=0)


def test_frequencies_reach_the_corner():
    assert frequencies(8).shape == (8, 5)
    assert frequencies(8).max() == pytest.approx(HIGHEST)
