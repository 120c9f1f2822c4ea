"""One part: the tensors of one subtask's source, and the bytes of its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from d3data.artifact import quantize, safetensors_file
from d3data.artifact.quantize import Quantization
from d3data.errors import ArtifactError, FormatError
from d3data.images.spec import Image
from d3data.sources import registry
from d3data.sources.base import Source, SourceSpec
from d3data.utils.schema import Frozen

FLOAT32 = Quantization()
MOST_STEPS = 10_000  # step sizes of a part
MOST_OFF = 0.02  # by which a label's probabilities may miss 1

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Members(Frozen):
    """Whose items a part holds: global class ids, ascending, and how many items each has."""

    classes: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    items_per_class: tuple[Count, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.classes) != len(self.items_per_class):
            raise ValueError(
                f"{len(self.classes)} classes with {len(self.items_per_class)} numbers of items"
            )
        if any(a >= b for a, b in zip(self.classes, self.classes[1:], strict=False)):
            raise ValueError("class ids must ascend")
        return self

    @property
    def items(self) -> int:
        """N, the items of the part."""
        return sum(self.items_per_class)


@dataclass(frozen=True)
class Part:
    """The items of some classes, class after class; global class ids ascend.

    `tensors` are float32, as `registry.layout` names them; `quantization` is how they are stored.
    """

    classes: tuple[int, ...]
    items_per_class: tuple[int, ...]
    tensors: Mapping[str, Tensor]
    quantization: Quantization = FLOAT32

    @classmethod
    def of(
        cls,
        source: Source,
        *,
        classes: Sequence[int] | None = None,
        quantization: Quantization = FLOAT32,
    ) -> Self:
        """What `source` holds now; its class c is `classes[c]` of the whole task.

        Items must come class after class, and `classes` must ascend; without them, ids stay.
        """
        local = source.classes.tolist()
        groups = [(c, len(list(items))) for c, items in groupby(local)]
        ids = tuple(range(len(groups)) if classes is None else classes)
        assert [c for c, _ in groups] == list(range(len(ids))), "items must be in order of class"
        assert list(ids) == sorted(set(ids)), "global class ids must ascend"
        return cls(ids, tuple(n for _, n in groups), source.stored(), quantization)

    def source(self, spec: SourceSpec, image: Image) -> Source:
        """The source that these tensors hold, frozen; its classes are global ids."""
        classes = torch.tensor(self.classes).repeat_interleave(torch.tensor(self.items_per_class))
        return registry.build(spec, image, self.tensors, classes=classes).requires_grad_(False)

    def encode(self) -> bytes:
        """The bytes of its file, the same on every machine; or ArtifactError."""
        try:
            safetensors_file.require_finite(
                self.tensors, where=f"the part of classes {self.classes}"
            )
        except FormatError as fault:
            raise ArtifactError(f"{fault}: distil it again with lower learning rates") from None
        members = Members(classes=self.classes, items_per_class=self.items_per_class)
        return safetensors_file.encode(
            quantize.encode(self.tensors, self.quantization), members.dump()
        )

    @classmethod
    def decode(
        cls,
        file: safetensors_file.File | bytes,
        *,
        spec: SourceSpec,
        image: Image,
        labels: int | None,
        where: str,
        quantization: Quantization = FLOAT32,
        targets: bool = False,
    ) -> Self:
        """The part in a file, compared with what `spec` needs before it is read.

        `labels` is the length of a row of labels, or None; rows are probabilities, unless they
        are `targets`; `where` is what messages call the file.

        Raises:
            FormatError: not a part, not of this source, or a value that cannot be.
        """
        file = safetensors_file.Memory(file) if isinstance(file, bytes) else file
        header = safetensors_file.header(file, where=where)
        members = Members.parse(header.about, where=f"{where}, its metadata", error=FormatError)
        layout = registry.layout(
            spec,
            image,
            items=members.items,
            classes=len(members.classes),
            labels=labels,
            steps=_steps(header.tensors),
        )
        expected = quantize.stored(layout, quantization)
        held = safetensors_file.tensors(file, header, expected, where=where)
        tensors = quantize.decode(held, layout, quantization, where=where)
        probabilities = set() if targets else {"labels"}
        for name in (spec.nonnegative | probabilities) & tensors.keys():
            if tensors[name].numel() and tensors[name].min() < 0:
                raise FormatError(f"{where}: the tensor {name!r} has negative values")
        if "labels" in tensors and not targets:
            _require_probabilities(tensors["labels"], where)
        return cls(members.classes, members.items_per_class, tensors, quantization)


def _require_probabilities(labels: Tensor, where: str) -> None:
    sums = labels.sum(1)
    right = (sums - 1).abs() <= MOST_OFF  # a sum that is not a number is not right either
    if not right.all():
        raise FormatError(
            f"{where}: a row of 'labels' is no probabilities: its sum is {sums[~right][0]:.4g}, "
            f"not 1 within {MOST_OFF}; where rounding took all of a row, labels need more bits"
        )


def _steps(layout: safetensors_file.Layout) -> int:
    """S, the one size that only the file itself tells."""
    _, shape = layout.get("step_size", ("F32", (1,)))
    return shape[0] if len(shape) == 1 and 0 < shape[0] <= MOST_STEPS else 1
