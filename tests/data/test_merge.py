"""Sets of different classes as one: the same images of each class, and where they come from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import d3data
import made
from d3data.artifact.artifact import Artifact
from d3data.errors import ArtifactError, FormatError, UnknownNameError
from d3data.images.spec import Image

OTHERS = ("fly", "gnu", "hen", "ibis", "jay")
DARKER = Image(channels=3, size=8, mean=(0.3, 0.3, 0.3), std=(0.2, 0.2, 0.25))


def two(folder: Path, kind: str, **changed: Any) -> tuple[Artifact, Artifact]:
    first = made.write(folder / "a", kind)
    return first, made.write(folder / "b", kind, **{"classes": OTHERS} | changed)


def pictures(place: Artifact | Path) -> torch.Tensor:
    folder = place.folder if isinstance(place, Artifact) else place
    return d3data.load(folder, soft_labels=False).mean_images()[0]


@pytest.mark.parametrize("kind", made.SPECS)
def test_each_class_keeps_its_images(tmp_path: Path, kind: str) -> None:
    sets = two(tmp_path, kind)
    joined = d3data.merge(sets, out=tmp_path / "ab")
    content = joined.manifest.content
    assert content.classes == (*made.NAMES, *OTHERS)
    assert content.items_per_class == sets[0].manifest.content.items_per_class * 2
    images = d3data.load(joined.folder).mean_images()
    for number, one in enumerate(sets):
        ours = images[1] // 5 == number
        alone = d3data.load(one.folder).mean_images()
        assert torch.equal(images[0][ours], alone[0])
        assert torch.equal(images[1][ours], alone[1] + 5 * number)
    joined.check_golden()


@pytest.mark.parametrize("kind", ["gaussian", "pixels"])
def test_sets_of_other_moments_keep_their_pixels(tmp_path: Path, kind: str) -> None:
    sets = two(tmp_path, kind, image=DARKER)
    joined = pictures(d3data.merge(sets, out=tmp_path / "ab"))
    expected = torch.cat([*map(pictures, sets)])
    assert (joined.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("kind", ["residual", "shared"])
def test_where_values_are_no_pixels_moments_must_agree(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be normalized otherwise"):
        d3data.merge(two(tmp_path, kind, image=DARKER), out=tmp_path / "ab")
    assert not (tmp_path / "ab").exists()


def test_soft_labels_are_over_the_classes_of_their_own_set(tmp_path: Path) -> None:
    soft = {"parts": made.three_parts(made.SPECS["gaussian"], labels=5), "labels": made.SOFT}
    first = made.write(tmp_path / "a", **soft)
    second = made.write(tmp_path / "b", classes=OTHERS, **soft)
    joined = d3data.load(d3data.merge([first, second], out=tmp_path / "ab").folder)
    alone = d3data.load(first.folder)
    label = joined.draw(0, 7)[1]
    assert torch.equal(label[5:], alone.draw(0, 2)[1])
    assert not label[:5].any()


def test_where_sets_come_from_stays_with_them(tmp_path: Path) -> None:
    sets = two(tmp_path, "pixels")
    joined = d3data.merge(sets, out=tmp_path / "ab", name="all", version="2.0.0", task="animals")
    notes = json.loads(joined.file("made_from.json"))["sets"]
    hashes = [one.manifest.content_sha256 for one in sets]
    assert [note["content_sha256"] for note in notes] == hashes
    assert notes[1]["classes"] == list(OTHERS)
    assert notes[0]["about"]["provenance"]["fingerprint"] == "ab" * 32
    about = joined.manifest.about
    assert (about.name, about.version, about.provenance.task) == ("all", "2.0.0", "animals")
    assert (about.provenance.images, about.provenance.recipe_sha256) == (10_000, None)
    assert [note["recipe"] for note in notes] == ["name = 'toys'\n"] * 2
    again = d3data.merge([joined, made.write(tmp_path / "c", "pixels", classes=[*"vwxyz"])],
                         out=tmp_path / "abc")  # fmt: skip
    assert len(again.manifest.content.classes) == 15
    assert json.loads(again.file("made_from.json"))["sets"][0]["made_from"] == notes


@pytest.mark.parametrize(
    "extras",
    [{"recipe.toml": b"\xff"}, {"made_from.json": b"[]"}, {"made_from.json": b"[" * 9999}],
)
def test_pages_of_strangers_that_are_broken_are_named(
    tmp_path: Path, extras: dict[str, bytes]
) -> None:
    sets = two(tmp_path, "pixels", extras=extras)
    with pytest.raises(FormatError, match="of toys-ipc2 is broken"):
        d3data.merge(sets, out=tmp_path / "ab")


def test_what_is_no_one_set_is_refused(tmp_path: Path) -> None:
    first, second = two(tmp_path, "pixels")
    rule = made.RULE.model_copy(update={"fit": "squash"})
    other = made.write(tmp_path / "c", "gaussian", classes=OTHERS)
    ruled = made.write(tmp_path / "d", "pixels", classes=OTHERS, preprocessing=rule)
    for sets, fault in (
        ([first, first], "'ant', 'bee', 'cat'"),
        ([first], "number of sets"),
        ([first, other], "differ in their source"),
        ([first, ruled], "differ in preprocessing"),
    ):
        with pytest.raises(ArtifactError, match=fault):
            d3data.merge(sets, out=tmp_path / "ab")
    with pytest.raises(ArtifactError, match="exists"):
        d3data.merge([first, second], out=first.folder)
    with pytest.raises(UnknownNameError):
        d3data.merge([first, "no-such-set"], out=tmp_path / "ab")
