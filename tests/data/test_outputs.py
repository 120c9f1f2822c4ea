"""What images look like: values as pixels."""

import numpy as np
import torch

from d3data.images.spec import Image, to_uint8

PLAIN = Image(channels=1, size=8, mean=(0.0,), std=(1.0,))


def test_halves_are_rounded_to_even() -> None:
    halves = torch.arange(255) + 0.5
    values = halves / 255
    exact = values * 255 == halves  # of the others, float32 is to one side
    kept = halves[exact]
    assert {int(half) % 2 for half in kept} == {0, 1}
    found = to_uint8(values[exact].view(-1, 1, 1, 1), PLAIN).flatten()
    assert found.tolist() == [round(half) for half in kept.tolist()]
    assert found.tolist() != np.floor(kept.numpy() + 0.5).tolist()


def test_values_beyond_black_and_white_are_clipped() -> None:
    values = torch.tensor([-1e30, -0.1, 0.0, 1.0, 1.1, 1e30]).view(-1, 1, 1, 1)
    assert to_uint8(values, PLAIN).flatten().tolist() == [0, 0, 0, 255, 255, 255]
