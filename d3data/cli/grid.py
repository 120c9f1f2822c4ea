"""A picture of a data set."""

import io

import torch

from d3data.dataset import DistilledDataset

COLUMNS = 10
ROWS = 50
CELL = 32  # pixels that an image is at least wide in the picture


def grid(data: DistilledDataset) -> tuple[bytes, int]:
    """A PNG with a row for each of the first classes: its first draws of epoch 0.

    Returns:
        The PNG, and how many rows it has. The same set gives the same pixels.
    """
    from torchvision.transforms.v2.functional import to_pil_image
    from torchvision.utils import make_grid

    classes = len(data.classes)
    rows, columns = min(ROWS, classes), min(COLUMNS, data.draws_per_class)
    indices = [column * classes + row for row in range(rows) for column in range(columns)]
    images = torch.stack([data.draw(0, index)[0] for index in indices])  # (B, C, H, W) in [0, 1]
    factor = -(-CELL // images.shape[-1])
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    picture = to_pil_image(make_grid(images, nrow=columns, padding=2))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue(), rows
