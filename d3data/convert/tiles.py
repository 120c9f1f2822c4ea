"""Images that are tiles: each shows several smaller ones of its class, which are trained on.

Kim et al. 2022, "Dataset Condensation via Efficient Synthetic-Data Parameterization" (IDC), arXiv
2205.14959, section 4.1, "uniform formation"; DREAM and others store the same.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.convert.image_files import StoredImages
from d3data.errors import ArtifactError
from d3data.utils.checks import whole

METHODS = ("dream", "idc")
LARGEST = 5  # factor that is looked for
LEAST = 8  # pixels along a side of a tile
JUMP = 1.5  # of the differences at a seam, over those beside it
MIDDLE = 0.5  # what IDC pads normalized values with, where the factor does not divide their size


def taken_apart(stored: StoredImages, factor: int) -> StoredImages:
    """The smaller images of each image, with its label."""
    if factor == 1:
        return stored
    whole(factor, "factor", least=1, most=stored.values.shape[-1], error=ArtifactError)
    repeats = (factor**2, *(1,) * (stored.labels.ndim - 1))
    labels = stored.labels.repeat(repeats)
    return replace(stored, values=decoded(stored.values, factor), labels=labels)


def decoded(values: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) -> (factor² N, C, H, W): each tile, enlarged bilinearly; tile by tile.

    Sizes that the factor does not divide are padded below and on the right.
    """
    size = values.shape[-1]
    side = math.ceil(size / factor)
    white = 255 if values.dtype == torch.uint8 else 1
    missing = side * factor - size
    padded = F.pad(values.float(), (0, missing, 0, missing), value=MIDDLE * white)
    tiles = [
        rows for row in padded.split(side, dim=2) for rows in row.split(side, dim=3)
    ]  # factor² of (N, C, side, side)
    images = F.interpolate(torch.cat(tiles), size=size, mode="bilinear")
    return images.round().to(torch.uint8) if white == 255 else images


def require_said(values: Tensor, factor: int | None, method: str) -> int:
    """The factor; ArtifactError where images seem to be tiles and nobody says so or denies it."""
    if factor is not None:
        return factor
    seen = next((n for n in range(LARGEST, 1, -1) if _is_tiled(values, n)), None)
    if seen:
        raise ArtifactError(
            f"each image seems to show {seen} x {seen} smaller ones, as in sets of IDC and DREAM: "
            f"add --factor {seen} (factor={seen}) to take them apart, or --factor 1 if they are "
            "trained on as they are"
        )
    if method in METHODS:
        raise ArtifactError(
            f"{method} stores several smaller images in one: say how many there are along each "
            "side with --factor (factor=...), published are 2 and 3; 1 if there is one"
        )
    return 1


def _is_tiled(values: Tensor, factor: int) -> bool:
    """Whether neighbouring pixels differ more across all seams of tiles than beside them."""
    side = math.ceil(values.shape[-1] / factor)
    if side < LEAST:
        return False
    pixels = values.double()
    for lines in (pixels, pixels.transpose(2, 3)):
        steps = lines.diff(dim=3).abs().mean((0, 1, 2))  # (W - 1,)
        for seam in range(side - 1, len(steps), side):
            beside = steps[[seam - 2, seam - 1, *range(seam + 1, min(seam + 3, len(steps)))]]
            if steps[seam] <= JUMP * beside.mean():
                return False
    return True
