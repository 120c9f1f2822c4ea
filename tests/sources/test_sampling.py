"""Sampling, version 1, against published vectors and the naive algorithm."""

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d3data.sources import sampling

ONES = 0xFFFFFFFF
# Random123, tests/kat_vectors, the three lines of philox4x32 with 10 rounds
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
WORD = st.integers(0, ONES)


def naive_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    x, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * x[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * x[2], 1 << 32)
        x = [high1 ^ x[1] ^ k[0], low1, high0 ^ x[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % (1 << 32), (k[1] + 0xBB67AE85) % (1 << 32)]
    return tuple(x)


def naive_noise(seed: int, epoch: int, draw: int, values: int) -> list[float]:
    found: list[float] = []
    for block in range(math.ceil(values / 4)):
        counter = (block, draw & ONES, draw >> 32, epoch)
        u = [(word + 0.5) / 2**32 for word in naive_philox(counter, (seed & ONES, seed >> 32))]
        for first, second in ((u[0], u[1]), (u[2], u[3])):
            radius = math.sqrt(-2 * math.log(first))
            found.append(radius * math.cos(2 * math.pi * second))
            found.append(radius * math.sin(2 * math.pi * second))
    return found[:values]


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_philox_gives_the_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = sampling.philox([np.uint64(word) for word in counter], key)
    assert tuple(int(word) for word in words) == expected
    tensors = sampling.philox([torch.tensor(word) for word in counter], key)
    assert tuple(int(word) for word in tensors) == expected
    assert naive_philox(counter, key) == expected


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_philox_is_the_naive_algorithm(counter: tuple[int, ...], key: tuple[int, int]) -> None:
    expected = naive_philox(counter, key)
    words = sampling.philox([np.array([word], dtype=np.uint64) for word in counter], key)
    assert tuple(int(word[0]) for word in words) == expected
    tensors = [torch.tensor([word]) for word in (*counter, *key)]
    words = sampling.philox(tensors[:4], tensors[4:])
    assert tuple(int(word[0]) for word in words) == expected


@given(
    st.integers(0, 2**64 - 1), st.integers(0, ONES), st.integers(0, 2**64 - 1), st.integers(0, 23)
)
def test_noise_is_the_naive_algorithm(seed: int, epoch: int, draw: int, values: int) -> None:
    found = sampling.noise(seed, epoch, [draw], values=values)
    assert found.shape == (1, values)
    assert found.dtype == np.float32
    expected = np.array(naive_noise(seed, epoch, draw, values), dtype=np.float32)
    np.testing.assert_array_max_ulp(found[0], expected, maxulp=1)


def test_first_values_are_those_of_the_first_block() -> None:
    # the words of the first published vector, as Box-Muller makes normal values of them
    u = [(word + 0.5) / 2**32 for word in PUBLISHED[0][2]]
    radius = math.sqrt(-2 * math.log(u[0]))
    expected = [radius * math.cos(2 * math.pi * u[1]), radius * math.sin(2 * math.pi * u[1])]
    np.testing.assert_allclose(sampling.noise(0, 0, [0], values=2)[0], expected, rtol=1e-6)


def test_noise_does_not_depend_on_the_batch() -> None:
    epochs, which = np.arange(300) % 7, np.arange(300) * 12_345_678_901
    together = sampling.noise(9, epochs, which, values=301)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(
        sampling.noise(9, epochs[order], which[order], values=301), together[order]
    )
    for one in (0, 1, 150, 299):
        alone = sampling.noise(9, int(epochs[one]), [which[one]], values=301)
        np.testing.assert_array_equal(alone[0], together[one])


@pytest.mark.parametrize("values", [0, 1, 2, 3, 4, 5, 4099])
def test_noise_is_stable_in_its_prefix(values: int) -> None:
    longer = sampling.noise(3, 2, [8, 1], values=70_001)
    np.testing.assert_array_equal(sampling.noise(3, 2, [8, 1], values=values), longer[:, :values])


@pytest.mark.parametrize("first", [1, 4, 5, 131])
def test_noise_may_begin_at_any_value(first: int) -> None:
    whole = sampling.noise(3, 2, [8, 1], values=170_000)
    for values in (0, 1, 6, 70_000):
        found = sampling.noise(3, 2, [8, 1], values=values, first=first)
        np.testing.assert_array_equal(found, whole[:, first : first + values])


def test_each_draw_may_have_a_seed_of_its_own() -> None:
    seeds = np.array([0, 2**64 - 1, 5], dtype=np.uint64)
    found = sampling.noise(seeds, [3, 4, 4], [7, 7, 9], values=10)
    for row, (seed, epoch, draw) in enumerate([(0, 3, 7), (2**64 - 1, 4, 7), (5, 4, 9)]):
        np.testing.assert_array_equal(
            found[row], sampling.noise(seed, epoch, [draw], values=10)[0]
        )


DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@given(
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, ONES),
    draw=st.integers(0, 2**63 - 1),
    first=st.integers(0, 9),
)
def test_a_device_makes_the_same_noise(
    device: str, seed: int, epoch: int, draw: int, first: int
) -> None:
    keys = [np.array([k], dtype=np.uint64).view(np.int64) for k in (seed, epoch, draw)]
    tensors = map(torch.from_numpy, keys)
    found = sampling.noise_on(torch.device(device), *tensors, values=23, first=first)
    assert found.dtype == torch.float32
    expected = sampling.noise(seed, epoch, [draw], values=23, first=first)
    np.testing.assert_array_max_ulp(found.cpu().numpy(), expected, maxulp=1)


def test_a_device_makes_noise_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    which = torch.arange(20)
    keys = (torch.full_like(which, -2), torch.zeros_like(which), which)
    whole = sampling.noise_on(torch.device("cpu"), *keys, values=50)
    monkeypatch.setattr(sampling, "_DEVICE_CHUNK", 40)  # three rows of 13 blocks
    pieces = sampling.noise_on(torch.device("cpu"), *keys, values=50)
    assert torch.equal(whole, pieces)
    expected = sampling.noise(2**64 - 2, 0, which.numpy(), values=50)
    np.testing.assert_array_max_ulp(whole.numpy(), expected, maxulp=1)


def test_no_draws_are_no_noise() -> None:
    assert sampling.noise(3, 2, np.array([], dtype=np.int64), values=6).shape == (0, 6)


@pytest.mark.parametrize(
    "other",
    [(1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1 << 32)],
    ids=["seed", "seed's high word", "epoch", "draw", "draw's high word"],
)
def test_every_word_counts(other: tuple[int, int, int]) -> None:
    seed, epoch, draw = other
    same = (
        sampling.noise(0, 0, [0], values=64)[0]
        == sampling.noise(seed, epoch, [draw], values=64)[0]
    )
    assert not same.any()


def test_noise_is_standard_normal_and_uncorrelated() -> None:
    noise = sampling.noise(5, 1, np.arange(2000), values=64).astype(np.float64)
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / noise.size)
    assert abs((noise**4).mean() - 3) < 4 * math.sqrt(96 / noise.size)
    correlation = np.corrcoef(noise, rowvar=False) - np.eye(64)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(2000)


def test_noise_is_fast() -> None:
    started = []
    for _ in range(5):
        begin = time.process_time()
        sampling.noise(7, 3, np.arange(256), values=64 + 3072)
        started.append(time.process_time() - begin)
    assert min(started) < 0.25  # about 25 ms of processor time


def test_place_follows_its_formula() -> None:
    items, draws_per_class = [2, 1, 3], 5
    for epoch in range(4):
        classes, found = sampling.place(
            epoch, np.arange(15), items_per_class=items, draws_per_class=draws_per_class
        )
        for draw in range(15):
            assert classes[draw] == draw % 3
            wanted = (epoch * draws_per_class + draw // 3) % items[draw % 3]
            assert found[draw] == wanted


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 40), st.integers(0, 50))
def test_classes_are_balanced_and_every_item_comes_up(
    items: list[int], more: int, epoch: int
) -> None:
    each = max(items) + more
    classes, found = sampling.place(
        epoch, np.arange(len(items) * each), items_per_class=items, draws_per_class=each
    )
    assert np.bincount(classes, minlength=len(items)).tolist() == [each] * len(items)
    for number, count in enumerate(items):
        assert set(found[classes == number].tolist()) == set(range(count))


def test_place_counts_beyond_32_bits() -> None:
    classes, found = sampling.place(
        [2**32 - 1], [7], items_per_class=[999_983], draws_per_class=1_000_000
    )
    assert (classes[0], found[0]) == (0, ((2**32 - 1) * 1_000_000 + 7) % 999_983)


def test_the_values_on_the_page_of_the_format_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    told = re.findall(r"^noise\((\d+), (\d+), (\d+)\)\[:4\] = \[(.*)\]$", page, re.MULTILINE)
    assert len(told) == 2
    for seed, epoch, draw, values in told:
        expected = np.array([float(value) for value in values.split(",")], dtype=np.float32)
        found = sampling.noise(int(seed), int(epoch), [int(draw)], values=4)[0]
        np.testing.assert_array_max_ulp(found, expected, maxulp=1)
