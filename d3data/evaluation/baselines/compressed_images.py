"""Real images compressed to as many bytes as the set: of the baselines, the hardest to beat.

One JPEG or WebP sheet for each class, so that headers are paid for once, at the size and the
quality that train best on validation images. A sheet's bytes are counted, its name and its class
are not. Of each size, the codecs are kept whose images are the nearest ones of most validation
images of their class; among these one is chosen by successive halving (Jamieson & Talwalkar 2016,
arXiv 1502.07943): all are trained on for a part of the protocol's steps, the best third of them
for twice as long. Choosing costs less than the networks of the row.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
SHRUNK = (1, 2, 4)  # divisors of the side of the image
QUALITIES: Mapping[Format, Sequence[int]] = {
    "jpeg": (1, 5, 15, 30, 50, 75),
    "webp": (0, 1, 5, 15, 30, 50, 75),
}
SMALLEST = 8  # pixels of a side
KEPT = 3  # codecs of each size that networks are trained on
FIRST_DIVISOR = 16  # of the protocol's steps, in the first round, for a row of one network
NEIGHBOURS = 500  # validation images whose nearest ones are looked for
LOOKED = 16  # pixels of a side at which they are
LARGEST = 16_383  # pixels of a WebP's side
FULL = 0.99  # of its room, from which no more images are tried for a sheet
TRIED = 8  # sheets of one class at most


@dataclass(frozen=True)
class Codec:
    """How images are stored: side by side, in a sheet."""

    format: Format
    side: int
    quality: int

    def __str__(self) -> str:
        return f"{self.format} sheets of {self.side} px at quality {self.quality}"

    def pitch(self, channels: int) -> int:
        """Pixels from one image of a sheet to the next: whole blocks, whose colours are halved."""
        block = 8 if channels == 1 else 16
        return -(-self.side // block) * block

    def encode(self, pixels: Tensor) -> bytes:
        """A sheet of uint8 (N, C, H, W) pixels."""
        from PIL import Image

        small = F.adaptive_avg_pool2d(pixels.float(), self.side).round()
        margin, columns = self.pitch(pixels.shape[1]) - self.side, _columns(len(pixels))
        padded = F.pad(small, (0, margin, 0, margin), mode="replicate").byte()
        blank = padded.new_zeros(-len(padded) % columns, *padded.shape[1:])
        grid = torch.cat([padded, blank]).unflatten(0, (-1, columns))
        sheet = grid.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)  # (rows H, columns W, C)
        image = Image.fromarray(sheet.squeeze(-1).numpy())
        file = io.BytesIO()
        options = {"method": 6} if self.format == "webp" else {"optimize": True}
        image.save(file, self.format, quality=self.quality, **options)
        return file.getvalue()

    def decode(self, file: bytes, count: int, *, channels: int, size: int) -> Tensor:
        """The images of a sheet at full size, uint8 (N, C, H, W)."""
        from PIL import Image
        from torchvision.transforms.v2.functional import pil_to_tensor

        with Image.open(io.BytesIO(file)) as image:
            sheet = pil_to_tensor(image.convert("L" if channels == 1 else "RGB"))
        pitch = self.pitch(channels)
        grid = sheet.unflatten(2, (-1, pitch)).unflatten(1, (-1, pitch))
        padded: Tensor = grid.permute(1, 3, 0, 2, 4).flatten(0, 1)[:count]
        small = padded[..., : self.side, : self.side]
        if self.side == size:
            return small
        full = F.interpolate(small.float(), size, mode="bicubic")
        return full.round().clamp(0, 255).byte()


def _columns(images: int) -> int:
    return math.ceil(math.sqrt(images))


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
    return [
        Codec(format, side, quality)
        for format in FORMATS
        for side in sorted(sides)
        for quality in QUALITIES[format]
    ]


def stored(context: BaselineContext, codec: Codec, rng: torch.Generator) -> RowData:
    """As many random images of each class as its share of the set's bytes holds, at least 1.

    What a class leaves that has no more images is shared by those that have more.
    """
    assert context.bytes is not None, "baselines of equal bytes need bytes"
    task, room = context.task, context.bytes // context.classes
    shape = {"channels": task.channels, "size": task.size}
    orders = [
        rows[torch.randperm(len(rows), generator=rng)] for rows in rows_of_classes(task.train)
    ]
    images, labels, size, count = list[Tensor](), list[Tensor](), 0, 1
    fewest_first = sorted(range(len(orders)), key=lambda label: len(orders[label]))
    for left, label in zip(range(len(orders) - 1, -1, -1), fewest_first, strict=True):
        order = orders[label]

        def sheet(count: int, order: Tensor = order) -> bytes:
            return codec.encode(task.train.pixels(order[:count]))

        most = min(len(order), (LARGEST // codec.pitch(task.channels)) ** 2)
        count, file = filled(sheet, room, most=most, guess=count)
        if count == most and left:
            room += (room - len(file)) // left
        images.append(codec.decode(file, count, **shape))
        labels.append(torch.full((count,), label))
        size += len(file)
    of_all = torch.cat(labels)
    return RowData(
        Photographs(task.normalized(torch.cat(images)), of_all),
        round(len(of_all) / context.classes),
        len(of_all) * context.pixels,
        size,
        str(codec),
    )


def filled(
    sheet: Callable[[int], bytes], room: int, *, most: int, guess: int = 1
) -> tuple[int, bytes]:
    """The largest sheet that was found in `room` bytes, of `most` images; one image at least.

    The next number of images is what the bytes of the last one promise.
    """
    least, best, count = 1, sheet(1), min(guess, most)
    beyond = most + 1
    for _ in range(TRIED):
        if least + 1 >= beyond or len(best) >= FULL * room:
            break
        count = min(max(count, least + 1), beyond - 1)
        file = sheet(count)
        if len(file) <= room:
            least, best = count, file
        else:
            beyond = count
        count = count * room // len(file)
    return least, best
