"""Which reader reads what."""

import numpy as np
import pytest
import torch

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.formats import parquet, webdataset
from pictures import encoded, image_folder, picture, written

SAMPLES = [(torch.zeros(3, 8, 8, dtype=torch.uint8), 0)] * 2


def test_a_folder_is_read_by_what_lies_in_it(tmp_path):
    written(parquet, tmp_path / "p" / "data", SAMPLES)
    written(webdataset, tmp_path / "w", SAMPLES)
    image_folder(tmp_path / "f")
    (tmp_path / "p" / "preview.png").write_bytes(encoded(picture(0)))
    (tmp_path / "p" / ".hidden").mkdir()
    pixels = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "n.npz", train_images=pixels, train_labels=np.zeros((2, 1), int))
    for place, name in (
        ("p", "data/train-00000-of-00001.parquet row 0"),
        ("w", "shard-000000.tar:00000000.png"),
        ("f", "ant/0.png"),
        ("n.npz", "n.npz train_images[0]"),
    ):
        assert formats.read(tmp_path / place).splits["train"].images.name(0) == name


@pytest.mark.parametrize("place", ["nowhere/at-all", "user/flowers"])
def test_a_place_that_is_not_there_is_never_guessed_to_be_a_repository(place):
    with pytest.raises(DataError, match=rf"{place} does not exist.*hf:ORG/NAME"):
        formats.read(place)


def test_a_lone_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a")
    with pytest.raises(DataError, match=r"x\.csv: a single file must be"):
        formats.read(tmp_path / "x.csv")


def test_schemes_lead_to_their_libraries():
    with pytest.raises(DataError, match="torchvision has no data set 'NIST'"):
        formats.read("torchvision:NIST:/x")
    with pytest.raises(DataError, match=r"hf:\.\./x cannot be loaded"):
        formats.read("hf:../x")
