"""A picture of an audit's closest pairs. It shows real images, so no artifact ever holds it.

Legend: R pairs, C H W an image.
"""

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from d3data.evaluation.leakage.distances import SetImages, image_of
from d3data.evaluation.leakage.record import Audit, Pair
from d3data.evaluation.record import TrainingData
from d3data.images.spec import to_uint8
from d3data.images.tasks import Task
from d3data.utils.packages import naming_packages

ROWS = 8  # pairs of each space
CELL = 64  # pixels that an image is at least wide
GAP, MARGIN, TEXT, LINE = 4, 16, 12, 16  # pixels
CAPTION = 280  # pixels
PAPER, INK = (255, 255, 255), (34, 34, 34)
TITLE = "The set's image, the nearest train image, the nearest test image"
WARNING = "These are REAL images: their terms hold for this picture, and it may be private."


@naming_packages()
def pairs(audit: Audit, data: TrainingData, task: Task) -> bytes:
    """A PNG with a row for each of the closest pairs of each space.

    A row has the image of the set, the nearest train image and the nearest test image, and below
    them which these are, both distances and their ratio.

    Args:
        audit: what `audit` found of `data` and `task`.
        data: the set.
        task: the real images.
    """
    from PIL import Image, ImageDraw, ImageFont

    images = SetImages(data, max(1, audit.draws), device=torch.device("cpu"))
    columns = [(space.space, space.closest[:ROWS]) for space in audit.spaces]
    zoom = -(-CELL // task.size)
    side = zoom * task.size
    width, top = max(3 * (side + GAP), CAPTION) + MARGIN, MARGIN + 3 * LINE
    height = side + 2 * LINE + 3 * GAP
    most = max(len(shown) for _, shown in columns)
    sheet = Image.new("RGB", (MARGIN + width * len(columns), top + height * most), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)

    def write(x: int, y: float, *lines: str) -> None:
        for number, line in enumerate(lines):
            pen.text((x, y + number * LINE), line, INK, font=font)

    write(MARGIN, MARGIN / 2, TITLE, WARNING)
    for number, (space, shown) in enumerate(columns):
        x = MARGIN + width * number
        write(x, MARGIN / 2 + 2 * LINE, f"by {space}")
        triples = _triples(images, shown, task)
        triples = triples.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1)
        for row, pair in enumerate(shown):
            y, triple = top + height * row, triples[row].expand(-1, 3, -1, -1)
            for step, image in enumerate(triple.permute(0, 2, 3, 1)):
                square = Image.fromarray(image.contiguous().numpy())
                sheet.paste(square, (x + step * (side + GAP), y))
            item = f"item {pair.item}" + (f", draw {pair.draw}" if pair.draw else "")
            distances = f"{pair.train_distance:.4f} / {pair.test_distance:.4f} = {pair.ratio:.3f}"
            write(x, y + side, f"{item}; train {pair.train}; test {pair.test}", distances)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _triples(images: SetImages, pairs: Sequence[Pair], task: Task) -> Tensor:
    """(R, 3, C, H, W) uint8: of the set, of train, of test."""
    assert task.test is not None, "it was audited"
    numbers = torch.tensor([pair.item * (1 + images.draws) + pair.draw for pair in pairs])
    own = to_uint8(images.images(numbers), image_of(task))
    train = task.train.pixels([pair.train for pair in pairs])
    return torch.stack([own, train, task.test.pixels([pair.test for pair in pairs])], dim=1)
