"""A set written again in fewer bits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import d3data
import made
from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.errors import ArtifactError, UnknownNameError


def test_a_name_is_rounded_into_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = d3data.quantize("digits-ipc4", bits=8)
    assert small.folder.resolve() == tmp_path / "digits-ipc4-int8"
    assert small.ledger.content_bytes < d3data.load("digits-ipc4").ledger.content_bytes
    with pytest.raises(UnknownNameError, match="digits-ipc4"):
        d3data.quantize("digits-ipc5", bits=8)


@pytest.mark.parametrize(
    ("bits", "name", "most"), [(16, "float16", 2e-3), (8, "int8", 0.05), (4, "int4", 1.0)]
)
def test_images_stay_near_and_bytes_become_fewer(
    bits: int, name: str, most: float, every_kind: Artifact, tmp_path: Path
) -> None:
    old = every_kind
    new = d3data.quantize(old, bits=bits, out=tmp_path / "new")
    assert new.manifest.about.name == f"toys-ipc2-{name}"
    assert new.ledger.content_bytes < old.ledger.content_bytes
    assert new.ledger.published_values == old.ledger.published_values
    assert new.manifest.content_sha256 != old.manifest.content_sha256
    assert new.file("recipe.toml") == old.file("recipe.toml")
    before, after = (DistilledDataset(artifact).batch(0, range(30))[0] for artifact in (old, new))
    assert (before - after).abs().mean() < most
    new.check_golden()


def test_each_kind_of_tensor_can_have_its_own(tmp_path: Path) -> None:
    made.rounded(tmp_path / "toys")
    new = d3data.quantize(
        tmp_path / "toys",
        bits={"priors": 2, "labels": 8},
        out=tmp_path / "small",
        name="small",
        axis="items",
    )
    stored = {part.quantization for part in new.manifest.content.parts}
    assert stored == {made.MIXED.model_copy(update={"priors": "int2", "labels": "int8"})}
    assert new.manifest.about.name == "small"
    labels = d3data.load(tmp_path / "small").draw(0, 0)[1]
    assert torch.allclose(labels.sum(), torch.tensor(1.0), atol=1e-6)


@pytest.mark.parametrize("bits", [16, *range(8, 1, -1)])
def test_labels_stay_probabilities(bits: int, soft: Artifact, tmp_path: Path) -> None:
    new = d3data.quantize(soft, bits={"labels": bits}, out=tmp_path / "small")
    for number in range(3):
        labels = new.part(number).tensors["labels"]
        assert (labels >= 0).all()
        assert torch.allclose(labels.sum(1), torch.ones(len(labels)), atol=1e-3)


def test_labels_of_which_nothing_would_be_left_are_refused(tmp_path: Path) -> None:
    part = made.part(made.GAUSSIAN, (0, 1, 2, 3, 4), (2,) * 5, labels=5)
    rows = torch.cat([torch.eye(5), torch.full((5, 5), 0.2)])
    parts = [replace(part, tensors={**part.tensors, "labels": rows})]
    old = made.write(tmp_path / "toys", parts=parts, labels=made.SOFT)
    with pytest.raises(ArtifactError, match=r"its sum is 0, .*labels need more bits"):
        d3data.quantize(old, bits={"labels": 2})
    d3data.quantize(old, bits={"labels": 4})


def test_float32_changes_nothing_but_the_name(tmp_path: Path) -> None:
    old = made.write(tmp_path / "toys")
    new = d3data.quantize(old, bits=32)
    assert new.manifest.content == old.manifest.content


def test_rounding_twice_is_rounding_once(tmp_path: Path) -> None:
    once = d3data.quantize(made.write(tmp_path / "toys"), bits=5)
    twice = d3data.quantize(once, bits=5, out=tmp_path / "twice")
    assert twice.manifest.content == once.manifest.content


@pytest.mark.parametrize(
    ("bits", "fault"),
    [
        (1, "1 bits"),
        (12, "12 bits"),
        ({"prior": 4}, "priors"),
        ({"priors": 9}, "9 bits"),
        ({}, "bits is empty"),
        (8.0, r"8\.0 bits"),
        (True, "True bits"),
        ("8", "'8' bits"),
        (None, "None bits"),
        ({"pixels": 4}, "toys-ipc2 has no pixels: it stores decoder, priors"),
    ],
)
def test_bits_that_there_are_not(bits: Any, fault: str, toys: Artifact) -> None:
    with pytest.raises(ArtifactError, match=fault):
        d3data.quantize(toys, bits=bits)


def test_extending_changes_no_content(tmp_path: Path) -> None:
    old = made.write(tmp_path / "toys")
    new = artifact.extend(tmp_path / "toys", {"report.json": b"{}", "README.md": b"# new\n"})
    assert new.manifest.content == old.manifest.content
    assert new.file("report.json") == b"{}"
    assert (tmp_path / "toys" / "README.md").read_bytes() == b"# new\n"
    assert artifact.read(tmp_path / "toys") == new
    new.check()
    again = artifact.extend(tmp_path / "toys", {"report.json": b"[]"})
    assert again.file("report.json") == b"[]"
    assert again.file("recipe.toml") == old.file("recipe.toml")
    with pytest.raises(ArtifactError, match="own place"):
        artifact.extend(tmp_path / "toys", {"parts/000.safetensors": b""})
    artifact.read(tmp_path / "toys").check()


def test_content_changes_with_what_is_trained_on_and_with_nothing_else(tmp_path: Path) -> None:
    usual = made.write(tmp_path / "usual").manifest
    parts = made.three_parts(made.GAUSSIAN)
    parts[0].tensors["mean"][0, 0] += 2.0**-20
    image = made.IMAGE.model_copy(update={"std": (0.2, 0.25, 0.31)})
    other_training = [
        {"parts": parts},
        {"image": image},
        {"classes": (*made.NAMES[:4], "emu")},
        {"draws_per_class": 7},
        {"preprocessing": made.RULE.model_copy(update={"fit": "squash"})},
    ]
    digests = {
        made.write(tmp_path / "x", **kind).manifest.content_sha256 for kind in other_training
    }
    assert len(digests | {usual.content_sha256}) == 1 + len(other_training)
    provenance = made.ABOUT.provenance.model_copy(update={"device": "abacus", "seconds": 9.0})
    about = made.ABOUT.model_copy(update={"version": "1.2.4", "provenance": provenance})
    for same in ({"about": about}, {"extras": {"report.json": b"{}"}}):
        found = made.write(tmp_path / "y", **same).manifest
        assert found.content_sha256 == usual.content_sha256
        assert found.self_sha256 != usual.self_sha256


def test_files_behind_links_are_read_where_they_are(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    blobs, links = tmp_path / "blobs", {}
    blobs.mkdir()
    for number, file in enumerate(
        sorted(p for p in (tmp_path / "toys").rglob("*") if p.is_file())
    ):
        target = blobs / str(number)
        file.rename(target)
        file.symlink_to(target)
        links[file.relative_to(tmp_path / "toys").as_posix()] = target
    with pytest.raises(ArtifactError, match="reached by a link"):
        artifact.read(tmp_path / "toys")
    found = artifact.read(tmp_path / "toys", links=links)
    found.check()
    found.check_golden()
    assert found.ledger.total_bytes == sum(path.stat().st_size for path in blobs.iterdir())
    manifest = json.loads(links["d3data.json"].read_bytes())
    assert found.manifest.dump() == manifest
    del links["parts/000.safetensors"]
    with pytest.raises(ArtifactError, match="reached by a link"):
        artifact.read(tmp_path / "toys", links=links).sources()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    old = made.write(tmp_path / "toys")
    for out in (tmp_path / "toys", tmp_path / "toys" / ".." / "toys"):
        with pytest.raises(ArtifactError, match="toys exists: choose another folder"):
            d3data.quantize(old, bits=4, out=out)
    d3data.quantize(old, bits=8, out=tmp_path / "small")
    with pytest.raises(ArtifactError, match="small exists: choose another folder"):
        d3data.quantize(old, bits=4, out=tmp_path / "small")
    assert artifact.read(tmp_path / "toys") == old


@pytest.mark.parametrize("verify", ["sha256", "Always", True, None])
def test_a_check_that_there_is_not_is_no_check(verify: object, toys: Artifact) -> None:
    with pytest.raises(ArtifactError, match="verify="):
        d3data.load(toys.folder, verify=verify)


def test_fewer_bits_stay_and_more_are_refused(tmp_path):
    old = d3data.quantize("digits-ipc4", bits={"priors": 3}, out=tmp_path / "old")
    new = d3data.quantize(old, bits={"decoder": 8}, out=tmp_path / "new")
    [entry] = new.manifest.content.parts
    assert (entry.quantization.priors, entry.quantization.decoder) == ("int3", "int8")
    assert new.ledger.content_bytes < old.ledger.content_bytes
    with pytest.raises(ArtifactError, match="already: decoder as int8, priors as int3"):
        d3data.quantize(new, bits=8, out=tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_what_keeps_its_bits_keeps_its_values(tmp_path):
    bits = {"priors": 3}
    old = d3data.quantize("digits-ipc4", bits=bits, axis="items", out=tmp_path / "old")
    new = d3data.quantize(old, bits={"decoder": 8}, out=tmp_path / "new")
    before, after = (one.part(0).tensors["mean"] for one in (old, new))
    assert torch.equal(before, after)
