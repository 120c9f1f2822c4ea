"""Labels as others store them: class numbers, one-hot rows, probabilities, logits."""

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from d3data.convert import torch_files
from d3data.errors import ArtifactError, FormatError, nearest
from d3data.utils.text import brief

LabelKind = Literal["probabilities", "logits"]
SUM = 1e-3  # how far a soft label may be from adding up to 1


def read_labels(value: object, count: int, where: str, *, kind: LabelKind) -> Tensor:
    """(N,) int64 class numbers or (N, K) float32 probabilities, from what a file holds.

    Class numbers may be floats and a column (N, 1); integers (N, K) are one-hot; `kind` says what
    floats (N, K) are.
    """
    if kind not in get_args(LabelKind):
        raise ArtifactError(f"labels_are={kind!r}: {nearest(str(kind), get_args(LabelKind))}")
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or len(value) != count:
        shape = tuple(value.shape) if isinstance(value, Tensor) else value
        raise FormatError(f"{where}: labels are {brief(shape)} for {count} images")
    labels = torch_files.tensor(
        value, where=f"{where}: labels", shape=value.shape, dtype=value.dtype
    )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.is_floating_point():
        return _softmax(labels, where) if kind == "logits" else _probabilities(labels, where)
    if kind == "logits":
        raise FormatError(f"{where}: labels of type {labels.dtype} are no logits (N, K)")
    return _one_hot(labels, where) if labels.ndim == 2 else _numbers(labels, where)


def require_probabilities(labels: Tensor, where: str | Path, *, remedy: str = "") -> None:
    """Refuse labels (N, K) whose rows are not probabilities."""
    fits = labels.ndim == 2 and labels.is_floating_point() and labels.numel() > 0
    if not fits or labels.min() < 0 or (labels.sum(1) - 1).abs().max() > SUM:
        raise FormatError(
            f"{where}: labels are neither class numbers (N,) nor probabilities (N, K) whose rows "
            f"add up to 1{remedy}"
        )


def _probabilities(labels: Tensor, where: str) -> Tensor:
    remedy = "; if they are logits, add --labels-are logits (labels_are='logits')"
    require_probabilities(labels, where, remedy=remedy)
    return labels.float()


def _softmax(labels: Tensor, where: str) -> Tensor:
    if labels.min() >= 0 and (labels.sum(1) - 1).abs().max() <= SUM:
        raise FormatError(f"{where}: labels are probabilities already: omit --labels-are logits")
    return labels.double().softmax(1).float()


def _one_hot(labels: Tensor, where: str) -> Tensor:
    ones = labels.long()
    if not ((ones == 0) | (ones == 1)).all() or (ones.sum(1) != 1).any():
        raise FormatError(
            f"{where}: labels are {labels.dtype} of shape {tuple(labels.shape)}, and not each row "
            "has a single 1 among zeros: class numbers (N,) or one-hot rows (N, K) are needed"
        )
    return ones.argmax(1)


def _numbers(labels: Tensor, where: str) -> Tensor:
    if labels.dtype == torch.bool or (
        labels.is_floating_point() and (labels != labels.round()).any()
    ):
        raise FormatError(
            f"{where}: labels are {labels.dtype} of shape {tuple(labels.shape)}, and no class "
            "numbers: whole numbers (N,), or probabilities (N, K), are needed"
        )
    return labels.long()
