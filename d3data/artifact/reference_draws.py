"""Four draws that travel with an artifact, to check a machine by.

Noise must agree within one float32 ulp and decoded pixels within 1/255: mathematics libraries
round differently, and nothing else may.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from d3data.artifact import safetensors_file
from d3data.artifact.drawing import Drawer
from d3data.artifact.manifest import Content
from d3data.errors import ArtifactError, FormatError
from d3data.images.spec import to_uint8
from d3data.sources.base import Source

PATH = "golden.safetensors"
DRAWS = 4
SEED = 0
NOISE = 256  # values of each draw's noise that are kept, the latent's first


@dataclass(frozen=True)
class Golden:
    """How far this machine is from the one that wrote an artifact: float32 ulps, 1/255ths."""

    noise_ulps: float
    pixel_steps: int


def make(content: Content, sources: list[Source]) -> bytes:
    """The bytes of `golden.safetensors`: 4 draws under seed 0.

    Draw i is of epoch i, and its index is i K D / 4, rounded down. `images` is (4, C, H, W) uint8
    and `noise`, where there is any, (4, 256) or all of it: the first values of each draw.
    """
    return safetensors_file.encode(_draw(content, sources), _about(content))


def compare(golden: bytes, content: Content, sources: list[Source], *, where: str) -> Golden:
    """Draw the four again and compare.

    Raises:
        FormatError: the file at `where` is malformed, or of other draws.
        ArtifactError: this machine draws something else.
    """
    again = _draw(content, sources)
    names = {torch.float32: "F32", torch.uint8: "U8"}
    expected = {name: (names[t.dtype], tuple(t.shape)) for name, t in again.items()}
    file = safetensors_file.Memory(golden)
    header = safetensors_file.header(file, where=where)
    if header.about != _about(content):
        raise FormatError(f"{where}: its metadata is not that of this set's golden draws")
    stored = safetensors_file.tensors(file, header, expected, where=where)
    ulps = _ulps(stored["noise"], again["noise"]) if "noise" in again else 0.0
    steps = int((stored["images"].int() - again["images"].int()).abs().max())
    if ulps > 1 or steps > 1:
        raise ArtifactError(
            f"{where}: this machine draws other images: noise is {ulps:.3g} float32 ulps away "
            f"and pixels {steps}/255, where 1 and 1/255 are allowed; run the tests of torch and "
            "numpy on it, or try other versions of them"
        )
    return Golden(ulps, steps)


def _about(content: Content) -> dict[str, object]:
    return {"epochs": list(range(DRAWS)), "indices": _indices(content), "seed": str(SEED)}


def _indices(content: Content) -> list[int]:
    length = len(content.classes) * content.sampling.draws_per_class
    return [number * length // DRAWS for number in range(DRAWS)]


def _draw(content: Content, sources: list[Source]) -> dict[str, Tensor]:
    drawer = Drawer(content, sources, seed=SEED, draws_per_class=content.sampling.draws_per_class)
    epochs, indices = np.arange(DRAWS), np.array(_indices(content))
    drawn = {"images": to_uint8(drawer.images(epochs, indices), content.image)}
    if sources[0].noise_values:
        drawn["noise"] = drawer.noise(epochs, indices, sources[0])[:, :NOISE].contiguous()
    return drawn


def _ulps(one: Tensor, other: Tensor) -> float:
    spacing = np.spacing(np.maximum(np.abs(one.numpy()), np.abs(other.numpy())))
    return float((np.abs(one.double().numpy() - other.double().numpy()) / spacing).max())
