"""Fewer bits for a tensor: float16, or symmetric integers with a scale for each slice of an axis.

An integer of b bits is a code q from -(2^(b-1) - 1) to 2^(b-1) - 1 and stands for q * scale. The
scale is the largest magnitude of its slice / (2^(b-1) - 1), rounded to float16; q is value /
scale, rounded half to even. So values are rounded where they stand, nothing is learned, and
rounding again changes nothing. Labels are divided by the sum of their row when they are read, so
that they stay probabilities; written again, they may be rounded to other ones. `docs/format.md`
fixes every bit.
"""

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from d3data.artifact.safetensors_file import Layout, bytes_of
from d3data.errors import ArtifactError, FormatError
from d3data.sources.base import purpose
from d3data.utils.schema import Frozen

Precision = Literal["float32", "float16", "int8", "int7", "int6", "int5", "int4", "int3", "int2"]


class Quantization(Frozen):
    """How the tensors of a part are stored, by what they are for.

    `axis` is whose values share a scale where priors are integers: those of one latent dimension
    ("latents"), or those of one item ("items"). Step size and residual are always float32.
    """

    decoder: Precision = "float32"
    labels: Precision = "float32"
    pixels: Precision = "float32"
    priors: Precision = "float32"
    maps: Precision = Field(default="float32", exclude_if=lambda value: value == "float32")
    styles: Precision = Field(default="float32", exclude_if=lambda value: value == "float32")
    axis: Literal["latents", "items"] = "latents"

    def of(self, purpose: str) -> Precision:
        """The precision of tensors for `purpose`."""
        found: Precision = getattr(self, purpose, "float32")
        return found

    def within(self, purposes: Collection[str]) -> "Quantization":
        """The same for a source with tensors for these `purposes`: defaults for all others."""
        kept = {name: self.of(name) for name in PURPOSES if name in purposes}
        axis = self.axis if kept.get("priors", "float32").startswith("int") else "latents"
        return Quantization.model_validate({**kept, "axis": axis})


PURPOSES = ("decoder", "labels", "maps", "pixels", "priors", "styles")


SCALE = ".scale"
LARGEST = 65504.0  # of float16
NORMAL = 2.0**-14  # from here on, float16 has 11 bits
TINIEST = 2.0**-24  # of float16
_AXES = {"ups": 1, "labels": 1, "maps": 1, "pixels": 1, "styles": 1}  # all others: 0
_CHUNK = 1 << 20  # codes packed at a time, a multiple of 8


def bits(name: str, shape: tuple[int, ...], quantization: Quantization) -> int:
    """How many bits a value of the tensor `name` takes: 32, 16, or 8 to 2.

    A tensor of one dimension has nothing to share a scale with: where integers are asked for, it
    is float16.
    """
    precision = quantization.of(purpose(name))
    if precision == "float32":
        return 32
    return 16 if precision == "float16" or len(shape) < 2 else int(precision.removeprefix("int"))


def axis(name: str, quantization: Quantization) -> int:
    """The axis of the tensor `name` along which scales differ.

    Output channels of linear layers and convolutions, transposed ones too; classes of labels;
    channels of pixels and maps; layers of styles; latent dimensions or items of priors.
    """
    if purpose(name) == "priors":
        return {"latents": 1, "items": 0}[quantization.axis]
    return next((_AXES[step] for step in name.split(".") if step in _AXES), 0)


def stored(layout: Mapping[str, tuple[int, ...]], quantization: Quantization) -> Layout:
    """What a file holds instead of float32 tensors of these shapes: dtypes and shapes, by name."""
    held: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in layout.items():
        width = bits(name, shape, quantization)
        if width >= 16:
            held[name] = f"F{width}", shape
        else:
            held[name] = "U8", (packed_size(math.prod(shape), width),)
            held[name + SCALE] = "F16", (shape[axis(name, quantization)],)
    return held


def stored_bytes(layout: Mapping[str, tuple[int, ...]], quantization: Quantization) -> int:
    """How many bytes these tensors take in a file, its header aside."""
    return sum(bytes_of(*entry) for entry in stored(layout, quantization).values())


def encode(tensors: Mapping[str, Tensor], quantization: Quantization) -> dict[str, Tensor]:
    """Float32 tensors, by name, as `stored` says; ArtifactError beyond what float16 holds."""
    held: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        width = bits(name, tuple(tensor.shape), quantization)
        if width < 32 and tensor.numel() and tensor.abs().max() > LARGEST:
            raise ArtifactError(
                f"the tensor {name!r} has values beyond {LARGEST:.0f}, which float16 does not "
                f"hold: keep {purpose(name)} as float32"
            )
        if width >= 16:
            held[name] = tensor.half() if width == 16 else tensor
        else:
            codes, scale = rounded(tensor, width, axis(name, quantization))
            held[name] = pack(codes, width)
            held[name + SCALE] = scale
    return held


def decode(
    held: Mapping[str, Tensor],
    layout: Mapping[str, tuple[int, ...]],
    quantization: Quantization,
    *,
    where: str,
) -> dict[str, Tensor]:
    """The float32 tensors of these shapes that a file at `where` holds, as `stored` says.

    Raises:
        FormatError: a scale or a code that is never written, or bits after the last code.
    """
    tensors: dict[str, Tensor] = {}
    for name, shape in layout.items():
        width = bits(name, shape, quantization)
        if width >= 16:
            tensors[name] = held[name].float()
            continue
        scale = held[name + SCALE]
        count, spelt = math.prod(shape), f"{where}: the tensor {name!r}"
        codes = unpack(held[name], width, count=count, where=spelt).reshape(shape)
        along = axis(name, quantization)
        if torch.signbit(scale).any() or scale.max() > _largest_scale(2 ** (width - 1) - 1):
            raise FormatError(f"{where}: the tensor {name + SCALE!r} has negative or huge values")
        if codes.index_select(along, (scale == 0).nonzero().flatten()).any():
            raise FormatError(f"{spelt} has codes where its scale is 0")
        found = _values(codes, scale, along)
        if name == "labels":
            found /= found.sum(1, keepdim=True).clamp(min=TINIEST)
        tensors[name] = found
    return tensors


def rounded(tensor: Tensor, width: int, axis: int) -> tuple[Tensor, Tensor]:
    """Codes, int8 of the tensor's shape, and scales, float16, one for each slice of `axis`.

    Below 2^-14, where float16 has fewer bits, a scale is a power of two, so that rounding again
    finds the same one. A slice below half of 2^-24 has scale 0 and codes 0.
    """
    most = 2 ** (width - 1) - 1
    others = [d for d in range(tensor.ndim) if d != axis]
    scale = _scales(tensor.abs().amax(others), most)
    steps = _along(scale.float(), tensor.ndim, axis)
    codes = (tensor / steps.where(steps > 0, torch.inf)).round_().clamp_(-most, most)
    return codes.to(torch.int8), scale


def _scales(largest: Tensor, most: int) -> Tensor:
    """Largest magnitudes (A,) of slices -> scales (A,), float16."""
    exact = largest / most
    fraction, exponent = torch.frexp(exact)
    power = torch.ldexp(torch.ones_like(exact), exponent - (fraction == 0.5).int())  # from above
    scale = exact.clamp(max=_largest_scale(most)).where(exact >= NORMAL, power.clamp(min=TINIEST))
    return scale.where(largest > TINIEST / 2, 0).half()


def _largest_scale(most: int) -> float:
    """The largest float16 that is at most `LARGEST` / `most`."""
    step = 2.0 ** (math.frexp(LARGEST / most)[1] - 11)
    return LARGEST / most // step * step


def values(tensor: Tensor, width: int, axis: int) -> Tensor:
    """What is left of a float32 tensor when it is stored in `width` bits and read again."""
    return tensor.half().float() if width == 16 else _values(*rounded(tensor, width, axis), axis)


def packed_size(count: int, width: int) -> int:
    """How many bytes `count` codes of `width` bits take.

    >>> packed_size(3, 3)
    2
    """
    return -(-count * width // 8)


def pack(codes: Tensor, width: int) -> Tensor:
    """int8 codes, in the order of their tensor, as bytes: a stream of `width` bits each.

    Codes are in two's complement; the lowest bit of the first code is the lowest bit of the first
    byte; what is left of the last byte is 0.
    """
    flat = codes.flatten().numpy().view(np.uint8)
    pieces = [_packed(flat[at : at + _CHUNK], width) for at in range(0, len(flat), _CHUNK)]
    return torch.from_numpy(np.concatenate(pieces) if len(pieces) != 1 else pieces[0])


def unpack(stream: Tensor, width: int, *, count: int, where: str) -> Tensor:
    """The `count` int8 codes in a stream; FormatError if one is never written, or bits follow."""
    data, step = stream.numpy(), _CHUNK // 8 * width
    pieces = [_unpacked(data[at : at + step], width) for at in range(0, len(data), step)]
    codes = np.concatenate(pieces) if len(pieces) != 1 else pieces[0]
    spare = 8 * len(data) - count * width
    if spare and data[-1] >> (8 - spare):
        raise FormatError(f"{where} has bits after its last code")
    if codes[:count].min(initial=0) == -(2 ** (width - 1)):
        raise FormatError(f"{where} has a code that is never written")
    return torch.from_numpy(codes[:count])


def _packed(codes: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    if width == 8:
        return codes
    each = np.unpackbits(codes[:, None], axis=1, count=width, bitorder="little")
    return np.packbits(each, bitorder="little")


def _unpacked(data: NDArray[np.uint8], width: int) -> NDArray[np.int8]:
    if width == 8:
        return data.view(np.int8)
    stream = np.unpackbits(data, bitorder="little")
    each = stream[: len(stream) // width * width].reshape(-1, width)
    codes = np.packbits(each, axis=1, bitorder="little")[:, 0].view(np.int8)
    return (codes << (8 - width)) >> (8 - width)  # the highest bit is the sign


def _values(codes: Tensor, scale: Tensor, axis: int) -> Tensor:
    return codes.float() * _along(scale.float(), codes.ndim, axis)


def _along(scale: Tensor, dimensions: int, axis: int) -> Tensor:
    """Scales (A,) as they broadcast along `axis` of so many dimensions."""
    return scale.view([-1 if d == axis else 1 for d in range(dimensions)])
