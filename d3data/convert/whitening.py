"""Values that ZCA whitened, as they were before.

Whitened values are (x - m) W with W = U (S + r)^-1/2 U^T, where U S U^T is the covariance of the
real images x, a row each, and r is the regularisation: Kornia's `ZCAWhitening`, as MTT uses it.
"""

import torch
from torch import Tensor

from d3data.errors import DataError
from d3data.images.tasks import Task

CHUNK = 1024  # images read at a time
MOST_VALUES = 12_288  # of an image: the covariance of 64x64 colour has 151 million values


def colored(whitened: Tensor, task: Task, *, regularization: float, moments: Tensor) -> Tensor:
    """Undo ZCA with `regularization` r: (N, C, H, W) whitened values -> normalised ones.

    All but the test images of `task` were whitened, after they were normalised with the mean and
    standard deviation in `moments` (2, C).
    """
    values = whitened[0].numel()
    if values > MOST_VALUES:
        raise DataError(
            f"a covariance of images of {values} values is not made; {MOST_VALUES} are"
        )
    mean, covariance = _statistics(task, moments)
    spectrum, vectors = torch.linalg.eigh(covariance)
    root = (spectrum.clamp(min=0) + regularization).sqrt()
    rows: Tensor = whitened.flatten(1).double() @ ((vectors * root) @ vectors.T) + mean
    return rows.float().reshape(whitened.shape)


def _statistics(task: Task, moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (V,) and unbiased covariance (V, V) of train and validation images, in float64."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    first: Tensor | None = None
    mean, std = moments[..., None, None]
    for split in (task.train, task.validation):
        for indices in torch.arange(len(split)).split(CHUNK):
            pixels = split.pixels(indices).double() / 255
            rows = ((pixels - mean) / std).flatten(1)
            first = rows.mean(0) if first is None else first  # keeps the sums small
            rows = rows - first
            count += len(rows)
            total, products = total + rows.sum(0), products + rows.T @ rows
    assert first is not None, "a task has images"
    shift = total / count
    return first + shift, (products - count * shift.outer(shift)) / (count - 1)
