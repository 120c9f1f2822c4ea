"""Small pictures, folders of them, and the real ones where this machine has any."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d3data.images.formats.base import ExportPlan, Sample, Writer

ROOT = os.environ.get("D3DATA_DATA", "")
needs_real = pytest.mark.skipif(not ROOT, reason="D3DATA_DATA names no folder of real images")


def picture(seed: int, *, width: int = 12, height: int = 12, mode: str = "RGB") -> Image.Image:
    """A picture with smooth content that `seed` alone decides."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "png") -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def image_folder(
    root: Path,
    *,
    classes: tuple[str, ...] = ("ant", "bee"),
    count: int = 4,
    kind: str = "png",
    side: int = 12,
) -> Path:
    """`class/0.png`, ... with pictures of their own."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = picture(100 * label + index, width=side, height=side)
            (root / name / f"{index}.{kind}").write_bytes(encoded(image, kind))
    return root


def written(
    writer: Writer,
    folder: Path,
    samples: list,
    *,
    split: str = "train",
    shards: int = 1,
    classes: tuple[str, ...] = ("ant", "bee"),
) -> ExportPlan:
    """Write samples, given as tuples, in one of the formats."""
    given = [Sample(*sample) for sample in samples]
    plan = ExportPlan(
        folder,
        folder / ".pieces",
        classes=classes,
        shape=tuple(given[0].pixels.shape),
        count=len(given),
        shards=shards,
        soft=given[0].soft is not None,
        split=split,
    )
    for shard in range(shards):
        writer.write(plan, shard, (given[number] for number in plan.rows(shard)))
    writer.finish(plan)
    return plan
