"""A set whose images become pixels."""

import json

import pytest
import torch
from typer.testing import CliRunner

import d3data
import made
from d3data.artifact.quantize import Quantization
from d3data.cli.commands import app
from d3data.errors import ArtifactError


@pytest.mark.parametrize("kind", ["generator", "seeded"])
def test_images_stay_and_nothing_of_the_generator_is_left(kind, tmp_path):
    old = made.write(tmp_path / "old", kind)
    new = d3data.bake(old, out=tmp_path / "new")
    new.check(), new.check_golden()
    assert new.manifest.content.format == 1
    assert new.manifest.about.name == "toys-ipc2-pixels"
    assert json.loads(new.file("made_from.json"))["sets"][0]["content_sha256"] == (
        old.manifest.content_sha256
    )
    assert new.ledger.purposes["pixels"] == 9 * 3 * 8 * 8 * 4
    for one, other in zip(old.sources(), new.sources(), strict=True):
        items = torch.arange(len(one.classes))
        torch.testing.assert_close(one(items, None), other(items, None), atol=1e-5, rtol=1e-5)
        assert torch.equal(one.classes, other.classes)
        assert torch.equal(one.step_size, other.step_size)


def test_draws_become_images_and_labels_go_with_them(tmp_path):
    made.rounded(tmp_path / "old")
    new = d3data.bake(tmp_path / "old", out=tmp_path / "new", draws_per_item=3, bits=8, name="n")
    old = d3data.load(tmp_path / "old").artifact
    content = new.manifest.content
    assert content.items_per_class == tuple(3 * n for n in old.manifest.content.items_per_class)
    assert content.parts[0].quantization == Quantization(pixels="int8", labels="float16")
    for one, other in zip(old.sources(), new.sources(), strict=True):
        assert torch.equal(other.labels, one.labels.repeat_interleave(3, 0))
        images = other(torch.arange(3), None)
        assert not torch.equal(images[0], images[1])
    again = d3data.bake(old, out=tmp_path / "again", draws_per_item=3, bits=8, name="n")
    assert again.manifest.content_sha256 == new.manifest.content_sha256


def test_what_cannot_be_baked_is_refused(tmp_path):
    pixels, latents = (made.write(tmp_path / kind, kind) for kind in ("pixels", "seeded"))
    with pytest.raises(ArtifactError, match="stores its images as pixels already"):
        d3data.bake(pixels, out=tmp_path / "new")
    with pytest.raises(ArtifactError, match="has one image of each item"):
        d3data.bake(latents, out=tmp_path / "new", draws_per_item=2)
    with pytest.raises(ArtifactError, match="9 bits: choose"):
        d3data.bake(latents, out=tmp_path / "new", bits=9)
    with pytest.raises(ArtifactError, match="exists"):
        d3data.bake(latents, out=tmp_path / "pixels")


def test_the_command_says_what_it_costs(tmp_path):
    old = made.write(tmp_path / "old", "generator")
    words = ["bake", str(tmp_path / "old"), "--out", str(tmp_path / "new"), "--bits", "8"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert f"times the {old.ledger.content_bytes:,} of" in ended.output
