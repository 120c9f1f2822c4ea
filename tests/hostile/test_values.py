"""Parts with values that are not finite, in an artifact whose digests are all right."""

import struct
from pathlib import Path

import pytest

import forging
import made
from d3data import artifact
from d3data.errors import FormatError


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["mean", "step_size", "decoder.out.bias"])
def test_values_must_be_finite(value: float, name: str, tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    header, tensors = forging.split((tmp_path / "toys" / forging.PART).read_bytes())
    last = header[name]["data_offsets"][1]
    tensors = tensors[: last - 4] + struct.pack("<f", value) + tensors[last:]
    forging.put(tmp_path / "toys", forging.join(header, tensors))
    with pytest.raises(FormatError, match=f"'{name}' has values that are not finite"):
        artifact.read(tmp_path / "toys", verify="never").sources()
