"""Small artifacts for tests, made of random tensors: nothing is distilled."""

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import About, Method, Provenance, SoftLabels
from d3data.artifact.part import Part
from d3data.artifact.quantize import Quantization
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import Image
from d3data.sources import registry, sampling
from d3data.sources.base import SourceSpec
from d3data.sources.decoders import DecoderSpec
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.generator import GeneratorSpec
from d3data.sources.pixels import PixelsSpec
from d3data.sources.spatial import SpatialSpec
from d3data.sources.synthesis import SynthesisSpec

IMAGE = Image(channels=3, size=8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
RULE = Preprocessing(channels=3, size=8, fit="crop")
NETWORK = SynthesisSpec(width=4, styles=3)
GAUSSIAN = GaussianSpec(decoder=DecoderSpec(family="small", width=8, noise=5))
SPECS = {
    "gaussian": GAUSSIAN,
    "residual": GAUSSIAN.model_copy(update={"residual": True, "std": "class"}),
    "shared": GAUSSIAN.model_copy(update={"std": "shared", "values": "normalised"}),
    "pixels": PixelsSpec(),
    "spatial": SpatialSpec(channels=2, stages=1, width=2, spread=0.25),
    "generator": GeneratorSpec(network=NETWORK, layer=1),
    "seeded": GeneratorSpec(network=NETWORK, layer=2, seed=7),
}
NAMES = ("ant", "bee", "cat", "dog", "eel")
ABOUT = About(
    name="toys-ipc2",
    version="1.2.3",
    method=Method(name="random", reference="nobody, never"),
    provenance=Provenance(
        task="toys",
        license="CC0-1.0",
        source="https://example.org/toys",
        fingerprint="ab" * 32,
        images=5000,
        recipe_sha256="cd" * 32,
        seeds=("0", "18446744073709551615"),
        versions={"torch": "2"},
        device="cpu",
        seconds=1.5,
        date="2026-01-31",
    ),
)


def part(
    spec: SourceSpec,
    classes: tuple[int, ...],
    items: tuple[int, ...],
    *,
    labels: int | None = None,
    seed: int = 0,
) -> Part:
    """A part of random tensors, the same bits on every machine."""
    shapes = registry.layout(spec, IMAGE, items=sum(items), classes=len(classes), labels=labels)
    tensors = {n: uniform(shape, seed, number) for number, (n, shape) in enumerate(shapes.items())}
    if isinstance(spec, SpatialSpec):  # with weights up to 1, float32 rounds images by 1e-5
        tensors = _decoder_times(0.5, tensors)
    if "labels" in tensors:
        tensors["labels"] = tensors["labels"].softmax(1)
    return Part(classes, items, {n: t.abs() if n == "std" else t for n, t in tensors.items()})


def _decoder_times(factor: float, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: factor * t if n.startswith("decoder") else t for n, t in tensors.items()}


def uniform(shape: tuple[int, ...], *key: int) -> torch.Tensor:
    """Values from -1 to 1 that float32 holds exactly."""
    counter = (np.arange(math.prod(shape), dtype=np.uint64), *(np.uint64(0),) * 3)
    words, *_ = sampling.philox(counter, (key[0], key[1]))
    values = (words >> np.uint64(8)).astype(np.float64) * 2.0**-23 - 1
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def three_parts(spec: SourceSpec, *, labels: int | None = None) -> list[Part]:
    """Five classes with 2, 1, 3, 1, 2 items, in parts that interleave and are out of order."""
    return [
        part(spec, (3,), (1,), labels=labels, seed=1),
        part(spec, (0, 2), (2, 3), labels=labels, seed=2),
        part(spec, (1, 4), (1, 2), labels=labels, seed=3),
    ]


def arguments(kind: str = "gaussian", **changed: Any) -> dict[str, Any]:
    """What `artifact.write` is given."""
    usual: dict[str, Any] = {
        "spec": SPECS[kind],
        "image": IMAGE,
        "preprocessing": RULE,
        "classes": NAMES,
        "parts": three_parts(SPECS[kind]),
        "about": ABOUT,
        "draws_per_class": 6,
        "extras": {"recipe.toml": b"name = 'toys'\n", "README.md": b"# toys\n"},
    }
    return usual | changed


def write(folder: Path, kind: str = "gaussian", **changed: Any) -> Artifact:
    """An artifact of three parts and five classes."""
    return artifact.write(folder, **arguments(kind, **changed))


SOFT = SoftLabels(teacher="convnet", temperature=1.0)
MIXED = Quantization(decoder="int8", priors="int3", labels="float16", axis="items")


def rounded(folder: Path) -> Artifact:
    """An artifact of integers, with a residual and soft labels, the same on every machine."""
    row = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625])
    registry = [
        replace(
            part,
            tensors={
                **part.tensors,
                "labels": torch.stack([row.roll(n) for n in range(sum(part.items_per_class))]),
            },
            quantization=MIXED,
        )
        for part in three_parts(SPECS["residual"], labels=5)
    ]
    return write(folder, "residual", parts=registry, labels=SOFT)


def maps(folder: Path) -> Artifact:
    """An artifact of small maps in three bits, the same on every machine."""
    stored = Quantization(decoder="int4", priors="int3")
    parts = [
        replace(part, tensors=_decoder_times(2.0, part.tensors), quantization=stored)
        for part in three_parts(SPECS["spatial"])
    ]
    return write(folder, "spatial", parts=parts)


def generator(folder: Path) -> Artifact:
    """An artifact of a generator's latents, and of its weights in eight bits."""
    stored = Quantization(decoder="int8", maps="int6", styles="float16")
    parts = [replace(part, quantization=stored) for part in three_parts(SPECS["generator"])]
    return write(folder, "generator", parts=parts)


GOLDEN = {
    "toys": write,
    "rounded": rounded,
    "pixels": functools.partial(write, kind="pixels"),
    "maps": maps,
    "generator": generator,
    "seeded": functools.partial(write, kind="seeded"),
}
