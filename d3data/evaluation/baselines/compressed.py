"""Photographs of as many bytes as the set, compressed as well as that can be done.

The rival that a distilled set has to beat: JPEG or WebP files, at the size and the quality that
train best on validation images. A file's bytes are counted, its name and its label are not.
Successive halving finds them (Jamieson & Talwalkar 2016, arXiv 1502.07943): all are trained on for
an eighth of the protocol's steps, the best third of them for twice as long, and so on.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from d3data.evaluation.baselines.setting import Photographs, Rival, Setting, members
from d3data.utils.rng import generator

Format = Literal["jpeg", "webp"]

FORMATS: tuple[Format, ...] = ("jpeg", "webp")
SHRUNK = (1, 2)  # the side of what is stored is the image's over this
QUALITIES = (1, 5, 15, 30, 50, 75)
LEAST = 8  # pixels
SHORTEST = 8  # the first networks are trained for the protocol's steps over this
LOT = 64  # images that are compressed before it is asked whether there is still room


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


def compressed(setting: Setting, *, rng: torch.Generator) -> Rival:
    """Random images of each class, in the codec that does best on validation images."""
    codec = setting.kept.get("codec")
    if not isinstance(codec, Codec):
        codec = setting.kept["codec"] = best(setting)
    return stored(setting, codec, rng)


def best(setting: Setting) -> Codec:
    """The codec whose images train best, by one network each, longer from round to round."""
    left = codecs(setting.task.size)
    for codecs_left, part in rounds(len(left)):
        left = left[:codecs_left]
        draws = {codec: stored(setting, codec, generator(0, "codec")).draws for codec in left}
        scores = {codec: setting.judge(str(codec), draws[codec], part) for codec in left}
        left.sort(key=scores.__getitem__, reverse=True)
    return left[0]


def rounds(codecs: int) -> Iterator[tuple[int, int]]:
    """How many codecs each round tries, for the protocol's steps over what.

    >>> list(rounds(24)), list(rounds(3)), list(rounds(1))
    ([(24, 8), (8, 4), (3, 2)], [(3, 8)], [])
    """
    part = SHORTEST
    while codecs > 1:
        yield codecs, part
        codecs, part = -(-codecs // 3), part // 2


def codecs(size: int) -> list[Codec]:
    """Those that are tried for images of `size` pixels."""
    sides = [side for side in {size // by for by in SHRUNK} if side >= LEAST]
    return [Codec(*one) for one in product(FORMATS, sorted(sides), QUALITIES)]


def stored(setting: Setting, codec: Codec, rng: torch.Generator) -> Rival:
    """As many random images of each class as fit into its share of the set's bytes, at least 1."""
    room = setting.bytes_of_set() / setting.classes
    files, labels = list[bytes](), list[int]()
    for label, mine in enumerate(members(setting.task.train)):
        kept, taken = list[bytes](), 0
        for file in _files(setting, codec, mine[torch.randperm(len(mine), generator=rng)]):
            taken += len(file)
            if kept and taken > room:
                break
            kept.append(file)
        files += kept
        labels += [label] * len(kept)
    task = setting.task
    pixels = torch.stack(
        [codec.decode(file, channels=task.channels, size=task.size) for file in files]
    )
    return Rival(
        Photographs(task.normalized(pixels), torch.tensor(labels)),
        round(len(files) / setting.classes),
        len(files) * setting.pixels,
        sum(map(len, files)),
        str(codec),
    )


def _files(setting: Setting, codec: Codec, rows: Tensor) -> Iterator[bytes]:
    for some in rows.split(LOT):
        yield from map(codec.encode, setting.task.train.pixels(some))
