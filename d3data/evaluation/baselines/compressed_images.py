"""Real images compressed to as many bytes as the set: the baseline that is hardest to beat.

JPEG or WebP files, at the size and the quality that train best on validation images. A file's
bytes are counted, its name and its label are not. Of each size, the codecs are kept whose images
are the nearest ones of most validation images of their class; among these one is chosen by
successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): all are trained on for a part of
the protocol's steps, the best third of them for twice as long. Choosing costs less than the
networks of the row.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines.choices import BaselineContext, rows_of_classes
from d3data.evaluation.record import RowData, TrainingData
from d3data.images.splits import Split
from d3data.utils.rng import generator

Format = Literal["jpeg", "webp"]

FORMATS: tuple[Format, ...] = ("jpeg", "webp")
SHRUNK = (1, 2)  # divisors of the side of the image
QUALITIES = (1, 5, 15, 30, 50, 75)
SMALLEST = 8  # pixels of a side
KEPT = 4  # codecs of each size that networks are trained on
FIRST_DIVISOR = 16  # of the protocol's steps, in the first round, for a row of one network
NEIGHBOURS = 500  # validation images whose nearest ones are looked for
LOOKED = 16  # pixels of a side at which they are
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
    size = context.task.size
    rows = {codec: stored(context, codec, generator(0, "codec")) for codec in codecs(size)}
    tried, data = fitting(rows, context.bytes), {codec: row.data for codec, row in rows.items()}
    near = {codec: neighbours(context.task.validation, data[codec]) for codec in tried}
    ordered = sorted(tried, key=near.__getitem__, reverse=True)
    sides = {codec.side for codec in tried}
    left = [codec for side in sides for codec in [c for c in ordered if c.side == side][:KEPT]]
    for count, divisor in rounds(len(left), context.networks):
        left = left[:count]
        scores = {codec: context.validate(str(codec), data[codec], divisor) for codec in left}
        left.sort(key=scores.__getitem__, reverse=True)
    return left[0]


def fitting(rows: Mapping[Codec, RowData], room: int | None) -> list[Codec]:
    """The codecs whose images fit; the one of the fewest bytes where one of each class is more."""
    fits = [codec for codec, row in rows.items() if (row.bytes or 0) <= (room or 0)]
    return fits or [min(rows, key=lambda codec: rows[codec].bytes or 0)]


def neighbours(validation: Split, data: TrainingData) -> float:
    """The share of validation images whose nearest image in `data` is of their class."""
    cpu = torch.device("cpu")
    rows = torch.linspace(0, len(validation) - 1, min(NEIGHBOURS, len(validation))).long()
    images, labels = data.batch(0, torch.arange(len(data)), device=cpu)
    apart = torch.cdist(_looked(validation.read(rows)), _looked(images))
    return (labels[apart.argmin(1)] == validation.labels[rows]).float().mean().item()


def _looked(images: Tensor) -> Tensor:
    side = min(LOOKED, images.shape[-1])
    return F.adaptive_avg_pool2d(images, side).flatten(1)


def rounds(codecs: int, networks: int) -> Iterator[tuple[int, int]]:
    """How many codecs each round tries, and the divisor of the protocol's steps.

    >>> list(rounds(8, 1)), list(rounds(8, 5)), list(rounds(3, 1)), list(rounds(1, 1))
    ([(8, 16), (3, 8)], [(8, 4), (3, 2)], [(3, 16)], [])
    """
    divisor = FIRST_DIVISOR
    while codecs > 1 and divisor >= FIRST_DIVISOR // 2:
        yield codecs, -(-divisor // networks)
        codecs, divisor = (-(-codecs // 3) if codecs > 3 else 1), divisor // 2


def kept(size: int) -> int:
    """How many codecs networks are trained on, for images of `size` pixels."""
    sides = [codec.side for codec in codecs(size)]
    return sum(min(KEPT, sides.count(side)) for side in {*sides})


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
