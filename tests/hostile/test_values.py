"""Parts with values that are not finite, in an artifact whose digests are all right."""

import struct
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import forging
import made
from d3data import artifact
from d3data.errors import FormatError


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["mean", "step_size", "decoder.out.bias"])
def test_values_must_be_finite(value: float, name: str, place: Path) -> None:
    header, tensors = forging.split((place / forging.PART).read_bytes())
    last = header[name]["data_offsets"][1]
    tensors = tensors[: last - 4] + struct.pack("<f", value) + tensors[last:]
    forging.put_part(place, forging.join(header, tensors))
    with pytest.raises(FormatError, match=f"'{name}' has values that are not finite"):
        artifact.read(place, verify="never").sources()


def changed(
    folder: Path, name: str, dtype: type, change: Callable[[np.ndarray], object]
) -> artifact.Artifact:
    """The artifact with the values of one tensor changed in place."""
    header, tensors = forging.split((folder / forging.PART).read_bytes())
    begin, end = header[name]["data_offsets"]
    values = np.frombuffer(tensors[begin:end], dtype).copy()
    change(values)
    tensors = tensors[:begin] + values.tobytes() + tensors[end:]
    forging.put_part(folder, forging.join(header, tensors))
    return artifact.read(folder)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([0, 0, 0, 0, 0], "its sum is 0,"),
        ([7, 7, 7, 7, 7], "its sum is 35"),
        ([3e38, 3e38, 0, 0, 0], "its sum is inf"),
        ([0.2, 0.2, 0.2, 0.2, 0.225], "its sum is 1.025"),
        ([1.5, -0.5, 0, 0, 0], "negative values"),
        ([0.2, 0.2, 0.2, 0.2, 0.215], None),  # what rounding costs
    ],
)
def test_labels_are_probabilities(row: list[float], fault: str | None, tmp_path: Path) -> None:
    parts = made.three_parts(made.GAUSSIAN, labels=5)
    made.write(tmp_path / "toys", parts=parts, labels=made.SOFT)

    def put(values: np.ndarray) -> None:
        values[:5] = row

    forged = changed(tmp_path / "toys", "labels", np.float32, put)
    with pytest.raises(FormatError, match=fault) if fault else nullcontext():
        forged.sources()


@pytest.mark.parametrize("scale", [-1.0, -0.0, 0.0, 65504.0, 21856.0])
def test_scales_are_those_that_rounding_gives(scale: float, tmp_path: Path) -> None:
    made.rounded(tmp_path / "toys")

    def put(values: np.ndarray) -> None:
        values[0] = scale

    with pytest.raises(FormatError, match="negative or huge" if scale else "negative|is 0"):
        changed(tmp_path / "toys", "mean.scale", np.float16, put).sources()
