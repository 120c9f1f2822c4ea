"""load(): a name in, a data set out."""

from pathlib import Path

import pytest
import torch

import d3data
import made
from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.errors import ArtifactError, IntegrityError, UnknownNameError
from d3data.hub import index


def test_a_folder_is_loaded(toys: Artifact) -> None:
    data = d3data.load(toys.folder)
    assert isinstance(data, DistilledDataset)
    assert len(data) == 30
    assert d3data.load(str(toys.folder)).version == "1.2.3"


def test_options_arrive(toys: Artifact) -> None:
    data = d3data.load(
        toys.folder,
        seed=3,
        draws_per_class=4,
        transform=lambda image: image + 1,
        target_transform=lambda label: -label,
        output="normalized",
        as_dict=True,
        verify="size",
    )
    direct = DistilledDataset(toys, seed=3, draws_per_class=4, output="normalized")
    image, label = direct.draw(2, 7)
    sample = data.draw(2, 7)
    assert torch.equal(sample["image"], image + 1)
    assert sample["label"] == -label
    assert data.artifact.verify == "size"


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="is not a folder"):
        d3data.load(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="is not a data set of d3data"):
        d3data.load(tmp_path)


def test_a_name_is_pinned_to_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made.write(tmp_path / "toys-ipc2")
    digest = found.manifest.content_sha256
    entry = {"about": "toys", "version": "1.2.3"}
    monkeypatch.setattr(index, "ZOO", tmp_path)
    for pinned, fault in ((digest, None), ("0" * 64, "pins")):
        sets = {"toys-ipc2": index.Entry(**entry, content_sha256=pinned)}
        known = index.Index(format=1, sets=sets)
        monkeypatch.setattr(index, "shipped", lambda known=known: known)
        if fault is None:
            assert d3data.load("toys-ipc2").version == "1.2.3"
        else:
            with pytest.raises(IntegrityError, match=fault):
                d3data.load("toys-ipc2")
