"""The picture and the table hold the draws that the set gives, and always the same bytes."""

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import made
from d3data.cards import Gallery, picture, previews
from d3data.data import preview
from d3data.data.dataset import DistilledDataset
from d3data.data.gallery import Draws, spread
from showing import NAMES

SIDE = preview.CELL + preview.GAP


@pytest.fixture(scope="module")
def gallery(toys):
    return Gallery(toys)


@pytest.fixture(scope="module")
def data(toys):
    return DistilledDataset(toys)


def opened(page):
    return np.array(Image.open(io.BytesIO(page)))


def cells(sheet, rows, columns):
    """The cells of a picture, cut out: 32 pixels each, of images of 8 pixels."""
    left = sheet.shape[1] - preview.MARGIN - columns * SIDE
    for row in range(rows):
        for column in range(columns):
            y, x = preview.MARGIN + row * SIDE, left + column * SIDE
            yield row, column, sheet[y : y + preview.CELL, x : x + preview.CELL]


def test_a_row_is_a_class_and_a_column_a_draw_and_names_stand_beside_their_rows(gallery, data):
    sheet = opened(picture(gallery))
    for row, column, cell in cells(sheet, 5, preview.COLUMNS):
        image = data.draw(0, column * 5 + row)[0].permute(1, 2, 0).numpy()
        assert np.array_equal(cell[::4, ::4], image)
        assert np.array_equal(cell[3::4, 3::4], image)
    left = sheet.shape[1] - preview.MARGIN - preview.COLUMNS * SIDE
    inked = (sheet[:, :left] < 200).any(axis=(1, 2))
    middles = [preview.MARGIN + row * SIDE + preview.CELL // 2 for row in range(5)]
    assert all(inked[middle - 5 : middle + 5].any() for middle in middles)
    edges = [preview.MARGIN + row * SIDE - 1 for row in range(1, 5)]
    assert not any(inked[edge] for edge in edges)
    assert (sheet[:, : preview.MARGIN] == 255).all()


@pytest.mark.parametrize("names", [NAMES, made.NAMES, ("猫", "é" * 200, " ", "‮", "\U0001f600")])
def test_any_name_can_stand_there_and_comes_back_as_it_was(gallery, names):
    draws = gallery.draws(range(5), 2)
    assert opened(preview.picture(draws, names)).shape[1] < 600
    page = preview.table(draws, names)
    about = pyarrow.parquet.read_schema(io.BytesIO(page)).metadata[b"huggingface"]
    assert json.loads(about)["info"]["features"]["label"]["names"] == list(names)


def test_gray_images_and_large_ones_are_drawn_too():
    for channels, size, side in ((1, 8, 32), (3, 28, 56), (3, 100, 100)):
        images = torch.full((1, 1, channels, size, size), 77, dtype=torch.uint8)
        draws = Draws(images, (0,), np.zeros((1, 1), int), np.zeros((1, 1), int))
        sheet = opened(preview.picture(draws, ["x"]))
        edge = preview.MARGIN + preview.GAP
        assert sheet.shape[0] == side + 2 * preview.MARGIN
        assert (sheet[12:-12, -edge - side : -edge] == 77).all()


def rows(page):
    return pyarrow.parquet.read_table(io.BytesIO(page)).to_pylist()


def test_the_table_holds_the_draws_of_epoch_0(gallery, data):
    found = rows(previews(gallery)[preview.TABLE])
    assert [row["draw"] for row in found] == list(range(50))
    whole = DistilledDataset(data.artifact, as_dict=True)
    for row in found:
        sample = whole.draw(0, row["draw"])
        assert (row["label"], row["item"]) == (sample["label"], int(sample["item"]))
        image = opened(row["image"]["bytes"])
        assert np.array_equal(image, sample["image"].permute(1, 2, 0).numpy())
    page = preview.table(gallery.draws([1, 4], 2), gallery.names)
    assert [row["label"] for row in rows(page)] == [1, 4, 1, 4]


def test_datasets_reads_images_and_class_names(gallery, tmp_path):
    import datasets

    for path, content in previews(gallery).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: preview\n  default: true\n  data_files:\n"
        "  - split: train\n    path: preview/train-*.parquet\n---\n"
    )
    found = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == list(made.NAMES)
    assert isinstance(found.features["image"], datasets.Image)
    assert found[7]["image"].size == (8, 8)
    assert found[7]["label"] == 2


def test_the_same_bytes_in_another_process(toys, gallery):
    code = (
        "import sys\nfrom d3data import artifact\nfrom d3data.cards import Gallery, previews\n"
        "files = previews(Gallery(artifact.read(sys.argv[1])))\n"
        "sys.stdout.buffer.write(b''.join(files.values()))"
    )
    command = [sys.executable, "-c", code, str(toys.folder)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert run.stdout == b"".join(previews(gallery).values())


def test_stored_images_come_once_each(pixels):
    gallery = Gallery(pixels)
    draws = gallery.draws(range(5), 100)
    assert draws.images.shape[1] == pixels.manifest.content.sampling.draws_per_class
    assert gallery.walk(0, 5) is None


def test_means_are_the_images_without_noise(gallery, data):
    images, classes = data.mean_images()
    for label in range(5):
        assert torch.equal(gallery.means(label, 9), images[classes == label])
        assert torch.equal(gallery.means(label, 1), images[classes == label][:1])


def test_a_walk_begins_at_a_prior_and_ends_at_the_farthest(gallery, data, toys):
    images, classes = data.mean_images()
    first = torch.searchsorted(classes, torch.arange(5)).tolist()
    for label in range(5):
        walk = gallery.walk(label, 9)
        if walk is None:
            continue
        places = [first[c] + number for c, number in walk.ends]
        assert walk.ends[0] == (label, 0)
        assert places[0] != places[1]
        assert torch.equal(walk.images[[0, -1]], images[places])
        assert len({image.numpy().tobytes() for image in walk.images}) > 5
    (source,) = (source for source in toys.sources() if 2 in source.classes)
    means = source.mean[source.classes == 2]
    farthest = int((means - means[0]).norm(dim=1).argmax())
    assert gallery.walk(2, 3).ends == ((2, 0), (2, farthest))
    # class 3 has one prior and a part of its own; class 1 has one, and shares a part with class 4
    assert gallery.walk(3, 9) is None
    assert gallery.walk(1, 9).ends[1][0] == 4


def test_what_is_shown_is_even_and_bounded_however_large_the_set():
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(1000, 50) == list(range(0, 1000, 20))
    for classes in (1, 10, 1000, 100_000):
        for values in (64, 3072, 150_528, 786_432):
            chosen, draws = preview.affordable(classes, values)
            assert 1 <= chosen <= classes
            assert 1 <= draws <= preview.SAMPLES
            assert chosen * draws * values <= preview.VALUES
