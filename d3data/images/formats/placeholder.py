"""Black images in the place of real ones that are not here: as many as there are, to plan with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from d3data.images.formats.index import Collection, Portion, Role

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Blank:
    """So many black images of one size."""

    count: int
    size: int
    mode: str

    def __len__(self) -> int:
        """How many there are."""
        return self.count

    def name(self, index: int) -> str:
        """The number of one."""
        return f"black image {index}"

    def read(self, index: int) -> "Image.Image":
        """One of them."""
        from PIL import Image

        return Image.new(self.mode, (self.size, self.size))


def read(*, images: int, classes: int, size: int, channels: int) -> Collection:
    """So many train images, spread evenly over so many classes, and one test image of each."""

    def portion(count: int) -> Portion:
        mode = "L" if channels == 1 else "RGB"
        labels = np.arange(count, dtype=np.int64) % classes
        return Portion(Blank(count, size, mode), labels, f"{count} black images")

    portions: dict[Role, Portion] = {"train": portion(images), "test": portion(classes)}
    return Collection(tuple(f"class {label}" for label in range(classes)), portions, "nowhere")
