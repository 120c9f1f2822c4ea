"""Real images compressed to as many bytes as the set: the baseline that is hardest to beat.

JPEG or WebP files, at the size and the quality that train best on validation images. A file's
bytes are counted, its name and its label are not. The codec is chosen by successive halving
(Jamieson & Talwalkar 2016, arXiv 1502.07943): all are trained on for an eighth of the protocol's
steps, the best third of them for twice as long, and so on.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines.choices import BaselineContext, rows_of_classes
from d3data.evaluation.record import RowData
from d3data.utils.rng import generator

Format = Literal["jpeg", "webp"]

FORMATS: tuple[Format, ...] = ("jpeg", "webp")
SHRUNK = (1, 2)  # divisors of the side of the image
QUALITIES = (1, 5, 15, 30, 50, 75)
SMALLEST = 8  # pixels of a side
FIRST_DIVISOR = 8  # of the protocol's steps, in the first round
AT_ONCE = 64  # images that are compressed before the room left is checked


@dataclass(frozen=True)
class Codec:
    """How an image is stored."""

    format: Format
    side: int
    quality: int

    def __str__(self) -> str:
        return f"{self.format} of {self.side} px at quality {self.quality}"

    def encode(self, pixels: Tensor) -> bytes:
        """A file of uint8 (C, H, W) pixels."""
        from PIL import Image

        gray = len(pixels) == 1
        image = Image.fromarray((pixels[0] if gray else pixels.permute(1, 2, 0)).numpy())
        if self.side != pixels.shape[-1]:
            image = image.resize((self.side, self.side), Image.Resampling.BOX)
        file = io.BytesIO()
        options = {"method": 6} if self.format == "webp" else {"optimize": True}
        image.save(file, self.format, quality=self.quality, **options)
        return file.getvalue()

    def decode(self, file: bytes, *, channels: int, size: int) -> Tensor:
        """The file's pixels at full size, uint8 (C, H, W)."""
        from PIL import Image
        from torchvision.transforms.v2.functional import pil_to_tensor

        with Image.open(io.BytesIO(file)) as image:
            full = image.convert("L" if channels == 1 else "RGB")
            if self.side != size:
                full = full.resize((size, size), Image.Resampling.BICUBIC)
            pixels: Tensor = pil_to_tensor(full)
            return pixels


def compressed(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Random images of each class, in the codec that does best on validation images."""
    codec = context.kept.get("codec")
    if not isinstance(codec, Codec):
        codec = context.kept["codec"] = best(context)
    return stored(context, codec, rng)


def best(context: BaselineContext) -> Codec:
    """The codec whose images train best: one network each, trained longer in every round."""
    left = codecs(context.task.size)
    for count, divisor in rounds(len(left)):
        left = left[:count]
        data = {codec: stored(context, codec, generator(0, "codec")).data for codec in left}
        scores = {codec: context.validate(str(codec), data[codec], divisor) for codec in left}
        left.sort(key=scores.__getitem__, reverse=True)
    return left[0]


def rounds(codecs: int) -> Iterator[tuple[int, int]]:
    """How many codecs each round tries, and the divisor of the protocol's steps.

    >>> list(rounds(24)), list(rounds(3)), list(rounds(1))
    ([(24, 8), (8, 4), (3, 2)], [(3, 8)], [])
    """
    divisor = FIRST_DIVISOR
    while codecs > 1:
        yield codecs, divisor
        codecs, divisor = -(-codecs // 3), divisor // 2


def codecs(size: int) -> list[Codec]:
    """The codecs that are tried for images of `size` pixels."""
    sides = [side for side in {size // by for by in SHRUNK} if side >= SMALLEST]
    return [Codec(*one) for one in product(FORMATS, sorted(sides), QUALITIES)]


def stored(context: BaselineContext, codec: Codec, rng: torch.Generator) -> RowData:
    """As many random images of each class as its share of the set's bytes holds, at least 1."""
    assert context.bytes is not None, "baselines of equal bytes need bytes"
    task, room = context.task, context.bytes / context.classes
    files, labels = list[bytes](), list[int]()
    for label, rows in enumerate(rows_of_classes(task.train)):
        order, size = rows[torch.randperm(len(rows), generator=rng)], 0
        for number, file in enumerate(_files(context, codec, order)):
            size += len(file)
            if number and size > room:
                break
            files.append(file)
            labels.append(label)
    shape = {"channels": task.channels, "size": task.size}
    pixels = torch.stack([codec.decode(file, **shape) for file in files])
    return RowData(
        Photographs(task.normalized(pixels), torch.tensor(labels)),
        round(len(files) / context.classes),
        len(files) * context.pixels,
        sum(map(len, files)),
        str(codec),
    )


def _files(context: BaselineContext, codec: Codec, rows: Tensor) -> Iterator[bytes]:
    for piece in rows.split(AT_ONCE):
        yield from map(codec.encode, context.task.train.pixels(piece))
