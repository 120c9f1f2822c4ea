"""The preview of a set: a PNG, a Parquet file for the Hub's data viewer, and images as data URIs.

All are pure functions of images and names; the same libraries give the same bytes.
"""

import base64
import io
import json
from collections.abc import Sequence

import torch
from torch import Tensor

from d3data.data.gallery import Draws
from d3data.images.formats import parquet
from d3data.images.png import encode_png
from d3data.utils.text import cut, plain

PICTURE = "preview.png"
TABLE = "preview/train-00000.parquet"
COLUMNS, ROWS = 10, 50  # draws and classes in the picture
SAMPLES = 10  # draws of each class in the table
VALUES = 16 << 20  # uint8 values of all images in the table, before they are packed
GROUP = 100  # rows that the viewer fetches at a time

CELL = 32  # pixels: the least width of an image in the picture
GAP, MARGIN, TEXT = 2, 12, 13  # pixels
MAX_NAME = 24  # letters of a class name beside its row
BACKGROUND, INK = (255, 255, 255), (34, 34, 34)
EXACT = 64  # pixels: images up to this size are embedded as PNG, larger ones as JPEG
QUALITY = 88  # of JPEG


def affordable(classes: int, values: int) -> tuple[int, int]:
    """How many classes, and draws of each, the table may hold, of images with so many values.

    >>> affordable(10, 784), affordable(1000, 12288), affordable(1000, 786432)
    ((10, 10), (1000, 1), (21, 1))
    """
    images = max(1, VALUES // values)
    return min(classes, images), min(SAMPLES, max(1, images // classes))


def picture(draws: Draws, names: Sequence[str]) -> bytes:
    """A PNG with a row for each class: its name, and its draws.

    Letters that the font lacks lose their accents or become a question mark; the class id stands
    before each name.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = draws.images.shape[:2]
    images = _enlarged(draws.images)
    height, width = images.shape[-3:-1]
    font = ImageFont.load_default(TEXT)
    labels = [_label(label, names[label]) for label in draws.classes]
    left = MARGIN + max(int(font.getlength(label)) for label in labels) + MARGIN
    size = (left + columns * (width + GAP) + MARGIN, 2 * MARGIN + rows * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        top = MARGIN + row * (height + GAP)
        pen.text((left - MARGIN, top + height / 2), label, INK, font=font, anchor="rm")
        for column in range(columns):
            cell = Image.fromarray(images[row, column].numpy())
            sheet.paste(cell, (left + column * (width + GAP), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def table(draws: Draws, names: Sequence[str]) -> bytes:
    """A Parquet file with columns image, label, item and draw, class after class in each turn.

    `datasets.load_dataset` reads Image and ClassLabel with all `names`; `draw` is the index that
    `data.draw(0, draw)` takes.
    """
    import pyarrow
    import pyarrow.parquet

    order = [(r, c) for c in range(draws.images.shape[1]) for r in range(len(draws.classes))]
    columns = {
        "image": [{"bytes": encode_png(draws.images[at]), "path": None} for at in order],
        "label": [draws.classes[row] for row, _ in order],
        "item": [int(draws.items[at]) for at in order],
        "draw": [int(draws.indices[at]) for at in order],
    }
    number = {"dtype": "int64", "_type": "Value"}
    features = {**parquet.features(names, soft=False), "item": number, "draw": number}
    cell = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = [(name, cell if name == "image" else pyarrow.int64()) for name in columns]
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(
        pyarrow.table(columns, pyarrow.schema(kinds, metadata=metadata)),
        sink,
        row_group_size=GROUP,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def address(image: Tensor) -> str:
    """An image (C, H, W) as a data: URI."""
    if image.shape[-1] <= EXACT:
        return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"
    from torchvision.transforms.v2.functional import to_pil_image

    buffer = io.BytesIO()
    to_pil_image(image).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _enlarged(images: torch.Tensor) -> torch.Tensor:
    """(R, n, C, H, W) -> (R, n, H', W', 3), each pixel a square of whole pixels."""
    factor = -(-CELL // images.shape[-1])
    images = images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return images.expand(-1, -1, 3, -1, -1).permute(0, 1, 3, 4, 2).contiguous()


def _label(number: int, name: str) -> str:
    """The class id and name beside a row.

    >>> _label(3, "café"), _label(4, "猫"), _label(5, "5")
    ('3  cafe', '4  ?', '5')
    """
    shown = cut(plain(name), MAX_NAME)
    return shown if shown == str(number) else f"{number}  {shown}"
