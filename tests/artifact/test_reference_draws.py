"""Golden draws: what a machine is checked by."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import made
from d3data import artifact
from d3data.artifact import reference_draws, safetensors_file
from d3data.artifact.artifact import Artifact
from d3data.artifact.reference_draws import Golden
from d3data.errors import ArtifactError, FormatError
from d3data.sources import sampling

ABOUT: dict[str, Any] = {"epochs": [0, 1, 2, 3], "indices": [0, 7, 15, 22], "seed": "0"}


def compared(
    found: Artifact, stored: dict[str, Tensor], about: dict[str, Any] | None = None
) -> Golden:
    content = found.manifest.content
    told = ABOUT | (about or {})
    page = safetensors_file.encode(stored, told)
    return reference_draws.compare(page, content, found.sources(), where="golden")


def stored(found: Artifact) -> dict[str, Tensor]:
    return safetensors.torch.load(found.file(reference_draws.PATH))


@pytest.mark.parametrize("kind", made.SPECS)
def test_a_machine_agrees_with_itself(kind: str, tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys", kind)
    assert artifact.check_golden(tmp_path / "toys") == Golden(0.0, 0)
    assert stored(found)["images"].shape == (4, 3, 8, 8)
    assert ("noise" in stored(found)) == made.SPECS[kind].random


def test_golden_noise_is_that_of_the_sampling_spec(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys", "residual")  # 5 classes of 6 draws: 30 an epoch
    noise = sampling.noise(0, [0, 1, 2, 3], [0, 7, 15, 22], values=5 + 3 * 8 * 8)
    assert torch.equal(stored(found)["noise"], torch.from_numpy(noise))


def test_golden_images_are_those_of_the_format(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    images = stored(found)["images"]
    # draw 7 of epoch 1: class 7 mod 5 = 2, its item (1 x 6 + 1) mod 3 = 1, in the part of 0 and 2
    source = found.sources()[0]
    noise = torch.from_numpy(sampling.noise(0, [1], [7], values=5))
    values = source(torch.tensor([2 + 1]), noise)[0]
    mean, std = torch.tensor(made.IMAGE.mean), torch.tensor(made.IMAGE.std)
    wanted = 255 * (values * std[:, None, None] + mean[:, None, None]).clamp(0, 1)
    assert (images[1].float() - wanted).abs().max() <= 0.501


def test_rounding_is_forgiven_and_more_is_not(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    tensors = stored(found)
    images = tensors["images"].int()
    nearly = (images + torch.where(images < 255, 1, -1)).to(torch.uint8)
    above = torch.nextafter(tensors["noise"], torch.tensor(torch.inf))
    assert compared(found, {"images": nearly, "noise": above}).pixel_steps == 1
    off = (images + torch.where(images < 254, 2, -2)).to(torch.uint8)
    for changed in ({"images": off}, {"noise": tensors["noise"] * (1 + 1e-6)}):
        with pytest.raises(ArtifactError, match="this machine draws other images"):
            compared(found, tensors | changed)


@pytest.mark.parametrize("steps", [1, 2])
def test_noise_may_be_one_ulp_away_and_not_two(steps: int, tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    tensors = stored(found)
    at = tensors["noise"].flatten().abs().argmax()
    for _ in range(steps):
        value = tensors["noise"].flatten()[at]
        tensors["noise"].view(-1)[at] = torch.nextafter(value, value.sign() * torch.inf)
    if steps == 1:
        assert compared(found, tensors) == Golden(1.0, 0)
        return
    with pytest.raises(ArtifactError, match="noise is 2 float32 ulps away"):
        compared(found, tensors)


@pytest.mark.parametrize(
    "about",
    [{"epochs": [0, 1, 2, 4]}, {"indices": [0, 7, 15, 21]}, {"seed": "1"}, {"seed": 0}, {"x": 1}],
)
def test_golden_draws_are_those_of_the_format(about: dict[str, Any], tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    assert compared(found, stored(found)) == Golden(0.0, 0)
    with pytest.raises(FormatError, match="golden: its metadata"):
        compared(found, stored(found), about)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    with pytest.raises(FormatError, match="'images' should be U8"):
        compared(found, stored(found) | {"images": torch.zeros(4, 3, 9, 9, dtype=torch.uint8)})
