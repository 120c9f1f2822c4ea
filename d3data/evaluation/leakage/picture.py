"""A picture of an audit's closest pairs. It shows real images, so no artifact ever holds it.

Legend: R pairs, C H W an image.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from d3data.evaluation.leakage.distances import Copies, image_of
from d3data.evaluation.leakage.record import Audit, Pair
from d3data.evaluation.record import TrainingData
from d3data.images.spec import to_uint8
from d3data.images.tasks import Task

if TYPE_CHECKING:
    import PIL.Image

ROWS = 8  # pairs of each space
CELL = 64  # pixels that an image is at least wide
GAP, MARGIN, TEXT, LINE = 4, 16, 12, 16  # pixels
WIDTH = 280  # pixels that a caption takes
PAPER, INK = (255, 255, 255), (34, 34, 34)
TITLE = "The set's image, the nearest train image, the nearest test image"
WARNING = "These are REAL images: their terms hold for this picture, and it may be private."


def pairs(audit: Audit, data: TrainingData, task: Task) -> bytes:
    """A PNG with a row for each of the closest pairs of each space.

    A row has the image of the set, the nearest train image and the nearest test image, and below
    them which these are, both distances and their ratio.

    Args:
        audit: what `audit` found of `data` and `task`.
        data: the set.
        task: the real images.
    """
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    copies = Copies(data, max(1, audit.draws), device=torch.device("cpu"))
    shown = [found.closest[:ROWS] for found in audit.spaces]
    side = task.size * -(-CELL // task.size)
    column, top = max(3 * (side + GAP), WIDTH) + MARGIN, MARGIN + 3 * LINE
    row = side + 2 * LINE + 3 * GAP
    size = (MARGIN + column * len(shown), top + row * max(map(len, shown)))
    sheet = Pictures.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    words = [(MARGIN, MARGIN / 2, TITLE), (MARGIN, MARGIN / 2 + LINE, WARNING)]
    for number, (found, some) in enumerate(zip(audit.spaces, shown, strict=True)):
        x = MARGIN + column * number
        words.append((x, MARGIN / 2 + 2 * LINE, f"by {found.space}"))
        for place, (pair, images) in enumerate(
            zip(some, _triples(copies, some, task), strict=True)
        ):
            y = top + row * place
            for step, image in enumerate(images):
                sheet.paste(_square(image, side), (x + step * (side + GAP), y))
            words += [(x, y + side, _which(pair)), (x, y + side + LINE, _how_near(pair))]
    for left, above, text in words:
        pen.text((left, above), text, INK, font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _triples(copies: Copies, pairs: Sequence[Pair], task: Task) -> Tensor:
    """(R, 3, C, H, W) uint8: of the set, of train, of test."""
    assert task.test is not None, "it was audited"
    which = [pair.item * (1 + copies.draws) + pair.draw for pair in pairs]
    made = to_uint8(copies.images(torch.tensor(which)), image_of(task))
    train = task.train.pixels([pair.train for pair in pairs])
    return torch.stack([made, train, task.test.pixels([pair.test for pair in pairs])], dim=1)


def _square(image: Tensor, side: int) -> "PIL.Image.Image":
    from PIL import Image as Pictures

    array = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    return Pictures.fromarray(array).resize((side, side), Pictures.Resampling.NEAREST)


def _which(pair: Pair) -> str:
    made = f"item {pair.item}" + (f", draw {pair.draw}" if pair.draw else "")
    return f"{made}; train {pair.train}; test {pair.test}"


def _how_near(pair: Pair) -> str:
    return f"{pair.train_distance:.4f} / {pair.test_distance:.4f} = {pair.ratio:.3f}"
