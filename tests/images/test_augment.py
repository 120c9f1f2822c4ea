"""Augmentation: each operation against a naive reference in float64, and the laws of them all."""

import math

import pytest
import torch

from d3data.errors import RecipeError
from d3data.images.augment import Augmentation, augmentation, augmentations, operations
from d3data.utils.rng import generator

SHAPES = [(4, 3, 8, 8), (3, 1, 9, 13), (2, 3, 28, 28)]


def naive_color(image, u):
    image = image + (u[0] - 0.5)
    gray = sum(image) / len(image)
    image = torch.stack([(channel - gray) * 2 * u[1] + gray for channel in image])
    mean = image.sum() / image.numel()
    return (image - mean) * (u[2] + 0.5) + mean


def naive_crop(image, u):
    _, height, width = image.shape
    down = math.floor(u[0] * (2 * int(height * 0.125 + 0.5) + 1)) - int(height * 0.125 + 0.5)
    right = math.floor(u[1] * (2 * int(width * 0.125 + 0.5) + 1)) - int(width * 0.125 + 0.5)
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                out[:, y, x] = image[:, y + down, x + right]
    return out


def naive_cutout(image, u):
    _, height, width = image.shape
    tall, wide = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
    top = math.floor(u[0] * (height + 1 - tall % 2)) - tall // 2
    left = math.floor(u[1] * (width + 1 - wide % 2)) - wide // 2
    out = image.clone()
    out[:, max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)] = 0
    return out


def naive_flip(image, u):
    return image[:, :, list(range(image.shape[2]))[::-1]] if u[0] < 0.5 else image


def naive_warp(image, matrix):
    """Bilinear, with zeros outside; the outermost pixels' centres are at -1 and 1."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            at = matrix @ torch.tensor(
                [2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1], dtype=image.dtype
            )
            x, y = (at[0] + 1) / 2 * (width - 1), (at[1] + 1) / 2 * (height - 1)
            for near_y in (math.floor(y), math.floor(y) + 1):
                for near_x in (math.floor(x), math.floor(x) + 1):
                    if 0 <= near_y < height and 0 <= near_x < width:
                        weight = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                        out[:, row, column] += weight * image[:, near_y, near_x]
    return out


def naive_scale(image, u):
    factors = [1 / 1.2 + float(v) * (1.2 - 1 / 1.2) for v in u[:2]]
    return naive_warp(image, torch.diag(torch.tensor(factors, dtype=image.dtype)))


def naive_rotate(image, u):
    angle = (float(u[0]) - 0.5) * 2 * 15 / 180 * math.pi
    rows = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return naive_warp(image, torch.tensor(rows, dtype=image.dtype))


def naive_shift(image, u):
    mean = image.mean((1, 2), keepdim=True)
    down, right = (math.floor(v * 8) - 4 for v in u[1:])
    _, height, width = image.shape
    out = mean.expand_as(image).clone()
    for y in range(max(0, -down), min(height, height - down)):
        for x in range(max(0, -right), min(width, width - right)):
            out[:, y, x] = image[:, y + down, x + right]
    return out


def naive_move(image, u):
    if u[0] < 1 / 3:
        return naive_shift(image, u)
    if u[0] < 2 / 3:
        factors = [1 / (0.8 + 0.4 * float(v)) for v in u[1:]]
        return naive_warp(image, torch.diag(torch.tensor(factors, dtype=image.dtype)))
    angle = (math.floor(u[1] * 90) - 45) / 180 * math.pi
    rows = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    mean = image.mean((1, 2), keepdim=True)
    return naive_warp(image - mean, torch.tensor(rows, dtype=image.dtype)) + mean


def naive_nudge(image, u):
    return image if u[0] < 0.5 else naive_shift(image, u)


naive = {
    "color": naive_color,
    "crop": naive_crop,
    "cutout": naive_cutout,
    "flip": naive_flip,
    "scale": naive_scale,
    "rotate": naive_rotate,
    "move": naive_move,
    "nudge": naive_nudge,
}


def batch(shape):
    return torch.randn(shape, dtype=torch.float64, generator=generator(0, "images"))


@pytest.mark.parametrize("extreme", [None, 0.0, 1 - 2**-24])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", operations)
def test_an_operation_is_its_naive_reference(name, shape, extreme):
    images = batch(shape)
    uniform = torch.rand(shape[0], 3, dtype=torch.float64, generator=generator(0, name))
    if extreme is not None:
        uniform = uniform[:2].fill_(extreme)
        images = images[:2]
    expected = torch.stack([naive[name](i, u) for i, u in zip(images, uniform, strict=True)])
    torch.testing.assert_close(operations[name](images, uniform), expected)


@pytest.mark.parametrize("name", operations)
def test_gradients_agree_with_finite_differences(name):
    images = batch((2, 3, 6, 6)).requires_grad_()
    uniform = torch.rand(2, 3, dtype=torch.float64, generator=generator(0, name))
    assert torch.autograd.gradcheck(lambda images: operations[name](images, uniform), images)


@pytest.mark.parametrize("name", augmentations)
def test_what_was_drawn_replays(name):
    images, change = batch((6, 3, 8, 8)), augmentations[name]
    for seed in range(6):
        drawn = change.draw(6, generator(seed))
        once, again = change.apply(images, drawn), change.apply(images, drawn)
        other = change.apply(images, change.draw(6, generator(seed)))
        assert torch.equal(once, again)
        assert torch.equal(once, other)
        assert once.shape == images.shape


@pytest.mark.parametrize("name", sorted(set(augmentations) - {"none"}))
def test_shared_numbers_do_the_same_to_every_image_of_any_batch(name):
    change, image = augmentations[name], batch((1, 3, 8, 8))
    for seed in range(12):
        drawn = change.draw(5, generator(seed), shared=True)
        for size in (1, 3):
            out = change.apply(image.expand(size, -1, -1, -1), drawn)
            torch.testing.assert_close(out, change.apply(image, drawn).expand_as(out))


def test_numbers_of_their_own_do_not():
    image = batch((1, 3, 8, 8)).expand(4, -1, -1, -1)
    change = Augmentation(operations=("rotate",))
    out = change.apply(image, change.draw(4, generator(0)))
    assert not torch.allclose(out[0], out[1])


def test_strategy_s_draws_one_operation_evenly_for_each_batch():
    rng, change = generator(0, "draws"), augmentations["siamese"]
    drawn = [change.draw(2, rng).steps for _ in range(1200)]
    assert {len(steps) for steps in drawn} == {1}
    counts = [sum(steps[0][0] == name for steps in drawn) for name in change.operations]
    assert len(counts) == 6
    assert all(150 < count < 250 for count in counts)  # 200 +- 4 standard deviations


def test_named_augmentations_do_what_they_say():
    images = batch((2, 3, 8, 8))
    none = augmentation("none")
    assert none.apply(images, none.draw(2, generator(0))) is images
    assert "flip" not in augmentations["siamese-noflip"].operations
    with pytest.raises(RecipeError, match="did you mean siamese"):
        augmentation("siamse")


def test_all_operations_in_turn():
    images, change = batch((4, 3, 8, 8)), augmentations["flip-crop"]
    drawn = change.draw(4, generator(0))
    (first, u), (second, v) = drawn.steps
    assert (first, second) == ("flip", "crop")
    assert not torch.equal(u, v)
    expected = operations["crop"](operations["flip"](images, u.double()), v.double())
    assert torch.equal(change.apply(images, drawn), expected)
