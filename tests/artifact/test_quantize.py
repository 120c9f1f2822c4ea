"""Rounding: every bit as the format's page says, within half a step, and done only once."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import made
from d3data.artifact import quantize
from d3data.artifact.quantize import Quantization
from d3data.distill.straight_through import StraightThrough
from d3data.errors import ArtifactError, FormatError
from d3data.sources import registry
from d3data.sources.base import purpose

WIDTHS = range(2, 9)
INT4 = Quantization(decoder="int4", priors="int4", pixels="int4", labels="int4")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(values: list[float], width: int) -> tuple[list[int], Fraction]:
    """Codes and scale of one slice, in exact arithmetic but for the scale's two roundings."""
    most = 2 ** (width - 1) - 1
    largest = max(abs(Fraction(v)) for v in values)
    exact = np.float32(float(largest)) / np.float32(most)
    rounded = np.float16(exact)
    if largest <= Fraction(1, 2**25):
        scale = Fraction(0)
    elif exact < 2**-14:
        scale = next(
            s for k in range(24, 13, -1) if (s := Fraction(1, 2**k)) >= Fraction(float(exact))
        )
    else:
        scale = Fraction(float(rounded))
        if scale * most > 65504:
            scale = Fraction(float(np.nextafter(rounded, np.float16(0))))
    codes = [max(-most, min(most, round(Fraction(v) / scale))) if scale else 0 for v in values]
    return codes, scale


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("decades", [(-3, 3), (-8, -1), (0, 4.8)])
def test_codes_and_scales_are_those_of_the_format(
    width: int, axis: int, decades: tuple[float, float]
) -> None:
    tensor = normal(5, 7, seed=width) * torch.logspace(*decades, 7)
    tensor = tensor.clamp(-65504, 65504)
    codes, scale = quantize.rounded(tensor, width, axis)
    for number in range(tensor.shape[axis]):
        wanted, step = by_hand(tensor.select(axis, number).tolist(), width)
        assert codes.select(axis, number).tolist() == wanted
        assert Fraction(scale[number].item()) == step


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_moves_further_than_half_a_step(width: int) -> None:
    tensor = normal(6, 50, seed=width)
    codes, scale = quantize.rounded(tensor, width, 0)
    error = (quantize.values(tensor, width, 0) - tensor).abs().amax(1)
    assert (error <= scale.float() * 0.5 * 1.07).all()  # the scale itself is rounded by 2^-11
    assert codes.abs().max() == 2 ** (width - 1) - 1


def test_a_slice_of_zeros_and_one_below_all_scales_become_zero() -> None:
    tensor = torch.tensor([[0.0, 0.0], [1e-9, -1e-9], [1.0, -2.0]])
    codes, scale = quantize.rounded(tensor, 8, 0)
    assert scale[:2].tolist() == [0, 0]
    assert codes.tolist() == [[0, 0], [0, 0], [64, -127]]


def test_halves_are_rounded_to_even() -> None:
    codes, scale = quantize.rounded(torch.tensor([[127, 2.5, 3.5, 0.5, -0.5, -1.5]]), 8, 0)
    assert scale.tolist() == [1]
    assert codes.tolist() == [[127, 2, 4, 0, 0, -2]]


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_rounded_is_held_by_float16(width: int) -> None:
    back = quantize.values(torch.tensor([[65504.0, -65504.0]]), width, 0)
    assert 65504 * (1 - 2**-9) < back.max() <= 65504


@pytest.mark.parametrize("width", WIDTHS)
def test_small_values_lose_one_bit_at_most(width: int) -> None:
    most = 2 ** (width - 1) - 1
    for exponent in range(-23, -13):
        tensor = normal(1, 50, seed=width) * most * 2.0**exponent / 4
        error = (quantize.values(tensor, width, 0) - tensor).abs().max()
        assert error <= max(tensor.abs().max() / most, 2**-24) * (1 + 2**-10)


@given(
    st.integers(2, 8),
    st.lists(st.floats(-65504, 65504, width=32), min_size=1, max_size=40),
    st.sampled_from([0, 10, 20, 30, 40]),
)
@example(width=8, values=[1.5 * 127 * 2**-24, 1e-6], halvings=0)
@example(width=8, values=[95.3 * 4 * 2**-24, 2**-24], halvings=0)
@example(width=4, values=[2**-24, -(2**-25)], halvings=0)
@example(width=2, values=[2**-25, 0.0], halvings=0)
@example(width=8, values=[65504.0, -1.0], halvings=0)
@settings(max_examples=300, deadline=None)
def test_rounding_again_changes_nothing(width: int, values: list[float], halvings: int) -> None:
    tensor = torch.tensor([values]) / 2**halvings
    once = quantize.rounded(tensor, width, 0)
    again = quantize.rounded(quantize.values(tensor, width, 0), width, 0)
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])


def stream_by_hand(codes: list[int], width: int) -> bytes:
    number = sum((code % 2**width) << (width * place) for place, code in enumerate(codes))
    return number.to_bytes(-(-len(codes) * width // 8), "little")


@given(st.integers(2, 8), st.data())
@settings(max_examples=100, deadline=None)
def test_a_stream_of_codes_is_one_long_number(width: int, data: st.DataObject) -> None:
    most = 2 ** (width - 1) - 1
    codes = data.draw(st.lists(st.integers(-most, most), min_size=1, max_size=50))
    packed = quantize.pack(torch.tensor(codes, dtype=torch.int8), width)
    assert packed.numpy().tobytes() == stream_by_hand(codes, width)
    assert len(packed) == quantize.packed_size(len(codes), width)
    assert quantize.unpack(packed, width, count=len(codes), where="here").tolist() == codes


def test_long_streams_are_made_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.from_numpy(np.random.default_rng(0).integers(-3, 4, 1001).astype(np.int8))
    whole = quantize.pack(codes, 3)
    monkeypatch.setattr(quantize, "_CHUNK", 64)
    assert torch.equal(quantize.pack(codes, 3), whole)
    assert torch.equal(quantize.unpack(whole, 3, count=1001, where="here"), codes)


def test_what_is_never_written_is_not_read() -> None:
    packed = quantize.pack(torch.tensor([1, 2, 3], dtype=torch.int8), 3)
    packed[1] |= 0x80
    with pytest.raises(FormatError, match="after its last code"):
        quantize.unpack(packed, 3, count=3, where="here")
    for width in WIDTHS:
        lowest = torch.tensor(list(stream_by_hand([-(2 ** (width - 1)), 0], width)))
        with pytest.raises(FormatError, match="never written"):
            quantize.unpack(lowest.to(torch.uint8), width, count=2, where="here")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("decoder.project.weight", 0),
        ("decoder.ups.1.weight", 1),
        ("decoder.out.weight", 0),
        ("labels", 1),
        ("pixels", 1),
        ("mean", 1),
    ],
)
def test_scales_differ_along_output_channels_classes_channels_and_latents(
    name: str, wanted: int
) -> None:
    assert quantize.axis(name, INT4) == wanted
    assert quantize.axis("mean", INT4.model_copy(update={"axis": "items"})) == 0


@pytest.mark.parametrize("kind", made.SPECS)
@pytest.mark.parametrize("precision", ["float16", "int8", "int4", "int3"])
def test_what_is_stored_is_what_was_said_and_comes_back(kind: str, precision: str) -> None:
    spec = made.SPECS[kind]
    layout = registry.layout(spec, made.IMAGE, items=4, classes=2, labels=3)
    purposes = {purpose(name) for name in layout}
    wanted = Quantization.model_validate(dict.fromkeys(quantize.PURPOSES, precision)).within(
        purposes
    )
    tensors = {name: normal(*shape, seed=n) for n, (name, shape) in enumerate(layout.items())}
    tensors["labels"] = tensors["labels"].softmax(1)
    held = quantize.encode(tensors, wanted)
    dtypes = {torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8"}
    told = quantize.stored(layout, wanted)
    assert told == {n: (dtypes[t.dtype], tuple(t.shape)) for n, t in held.items()}
    assert quantize.stored_bytes(layout, wanted) == sum(t.nbytes for t in held.values())
    back = quantize.decode(held, layout, wanted, where="here")
    for name, tensor in tensors.items():
        width = quantize.bits(name, tuple(tensor.shape), wanted)
        kept = (
            tensor if width == 32 else quantize.values(tensor, width, quantize.axis(name, wanted))
        )
        if name == "labels" and width < 16:
            kept = kept / kept.sum(1, keepdim=True)
        assert torch.equal(back[name], kept)
        assert (width == 32) == (purpose(name) in ("step_size", "residual"))


def stored_rows(scale: list[float], codes: list[list[int]]) -> dict[str, torch.Tensor]:
    """What a file holds of `mean`, in 4 bits with a scale for each latent."""
    packed = quantize.pack(torch.tensor(codes, dtype=torch.int8), 4)
    return {"mean": packed, "mean.scale": torch.tensor(scale).half()}


@pytest.mark.parametrize(
    ("scale", "fault"),
    [
        ([-0.0, 1.0], "negative or huge"),
        ([1.0, -1.0], "negative or huge"),
        ([1.0, 9360.0], "negative or huge"),
        ([0.0, 1.0], "'mean' has codes where its scale is 0"),
    ],
)
def test_scales_that_are_never_written_are_not_read(scale: list[float], fault: str) -> None:
    layout = {"mean": (2, 2)}
    with pytest.raises(FormatError, match=fault):
        quantize.decode(stored_rows(scale, [[0, 7], [1, 0]]), layout, INT4, where="here")
    right = stored_rows([0.0, 9352.0], [[0, 7], [0, 0]])
    assert quantize.decode(right, layout, INT4, where="here")["mean"].max() == 7 * 9352
    assert 7 * 9352 <= 65504 < 7 * 9360


def test_float16_must_hold_it() -> None:
    with pytest.raises(ArtifactError, match="'mean' has values beyond 65504"):
        quantize.encode({"mean": torch.full((2, 2), 70000.0)}, INT4)


@pytest.mark.parametrize("kind", made.SPECS)
def test_what_a_gradient_sees_is_what_is_shipped(kind: str) -> None:
    spec, wanted = (
        made.SPECS[kind],
        INT4.within(
            {purpose(n) for n in registry.layout(made.SPECS[kind], made.IMAGE, items=4, classes=2)}
        ),
    )
    part = made.part(spec, (0, 1), (2, 2))
    source = part.source(spec, made.IMAGE).requires_grad_(True)
    seen = StraightThrough(source, wanted)
    tensors = dict(part.tensors)
    shipped = quantize.decode(
        quantize.encode(tensors, wanted),
        {name: tuple(t.shape) for name, t in tensors.items()},
        wanted,
        where="here",
    )
    again = registry.build(spec, made.IMAGE, shipped, classes=source.classes)
    items, noise = torch.arange(4), normal(4, source.noise_values) if source.noise_values else None
    images = seen(items, noise)
    assert torch.equal(images, again(items, noise))
    images.square().sum().backward()
    again(items, noise).square().sum().backward()
    for (name, ours), theirs in zip(source.named_parameters(), again.parameters(), strict=True):
        if theirs.grad is None:
            assert name == "step_size"
        else:
            assert torch.equal(ours.grad, theirs.grad)
            assert math.isfinite(ours.grad.sum())
