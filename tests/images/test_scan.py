"""What `scan_images` sees in a folder of photographs and other places."""

import pytest

from d3data.errors import DataError
from d3data.images.scan import _task_name, scan_images
from d3data.images.tasks import TaskSpec
from pictures import ROOT, encoded, image_folder, needs_real, picture


def photographs(root, count: int = 10):
    """JPEGs of differing sizes in four classes."""
    for label, name in enumerate(("ant", "bee", "cow", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(count):
            seed = count * label + index
            image = picture(seed, width=200 + 7 * seed % 150, height=160 + 11 * seed % 130)
            (root / name / f"{index:03d}.jpg").write_bytes(encoded(image, "jpeg"))
    return root


def test_a_clean_folder_is_described_and_its_suggestion_loads(tmp_path):
    found = scan_images(photographs(tmp_path / "My Zoo"))
    assert found.classes == ("ant", "bee", "cow", "dog")
    assert found.counts == {"train": (10, 10, 10, 10)}
    assert found.modes == (("RGB", 40),)
    assert sum(count for _, _, count in found.sizes) == found.checked == found.total == 40
    assert found.problems == ()
    assert found.spec.dump() | {"data": None} == {
        "name": "my-zoo", "data": None, "size": 128, "channels": 3, "fit": "crop",
        "columns": None, "validation": 0.1, "licence": None, "source": None,
    }  # fmt: skip
    assert found.spec.load().train.pixels([0, 35]).shape == (2, 3, 128, 128)


def test_everything_that_is_wrong_is_listed_at_once(tmp_path):
    place = photographs(tmp_path)
    whole = (place / "ant" / "003.jpg").read_bytes()
    (place / "ant" / "003.jpg").write_bytes(whole[: len(whole) // 2])  # its header is whole
    (place / "bee" / "004.jpg").write_bytes(b"")
    (place / "loose.png").write_bytes(encoded(picture(0)))
    image_folder(place, classes=("eel",), count=1)
    (place / "fly").mkdir()
    found = scan_images(place)
    assert [name.split(":")[0] for name in found.broken] == ["ant/003.jpg", "bee/004.jpg"]
    assert found.unlabeled == ("loose.png",)
    assert found.counts["train"] == (10, 10, 10, 10, 1, 0)
    told = " ".join(found.problems)
    for part in ("2 images cannot be decoded", "1 image without a label", "(eel, fly)"):
        assert part in told


def test_of_very_many_images_a_spread_is_decoded(tmp_path):
    image_folder(tmp_path / "train", count=100)
    image_folder(tmp_path / "test", count=2)
    found = scan_images(tmp_path, most=50)
    assert found.total == 204
    assert 30 < found.checked <= 64
    assert found.counts == {"train": (100, 100), "test": (2, 2)}


def test_a_place_without_one_image_is_refused(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "0.png").write_bytes(b"nothing")
    with pytest.raises(
        DataError, match=r"no image can be decoded \(ant/0\.png: not an image file that Pillow"
    ):
        scan_images(tmp_path)


def test_places_give_names_that_a_task_may_have():
    for place, name in {
        "/data/My Flowers/": "my-flowers",
        "x/train.parquet": "train",
        "hf:org/Flowers_102:small@v1": "flowers-102",
        "torchvision:CIFAR10:/data/tv": "cifar10",
        "/data/花": "own-images",
    }.items():
        assert _task_name(place) == name
        TaskSpec(name=name)


@needs_real
def test_real_shards_are_described(tmp_path):
    found = scan_images(f"{ROOT}/imagenette_224_mini", most=200)
    assert found.sizes[0][:2] == (224, 224)
    assert dict(found.modes).keys() == {"RGB", "L"}
    assert (found.spec.size, found.spec.channels) == (224, 3)
    assert found.problems == ()
