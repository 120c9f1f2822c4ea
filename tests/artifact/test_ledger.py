"""The ledger agrees with the files, to the byte."""

import math
from pathlib import Path

import pytest

import made
from d3data import artifact
from d3data.artifact.manifest import SoftLabels
from d3data.errors import FormatError
from d3data.sources import registry


def on_disk(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", made.SPECS)
def test_it_adds_up_to_what_is_on_disk(kind: str, tmp_path: Path) -> None:
    spent = made.write(tmp_path / "toys", kind).ledger
    place = tmp_path / "toys"
    assert spent.total_bytes == on_disk(place)
    assert spent.content_bytes == on_disk(place / "parts") + (place / "d3data.json").stat().st_size
    assert spent.extras.keys() == {"README.md", "golden.safetensors", "recipe.toml"}


def test_it_tells_what_bytes_are_for(tmp_path: Path) -> None:
    written = made.three_parts(made.SPECS["residual"], labels=5)
    soft = SoftLabels(teacher="convnet", temperature=1.0)
    found = made.write(tmp_path / "toys", "residual", parts=written, labels=soft)
    spent, tensors = found.ledger, [t for part in written for t in part.tensors.items()]
    for purpose, roots in {
        "priors": ("mean", "std"),
        "decoder": ("decoder",),
        "labels": ("labels",),
        "residual": ("residual",),
        "step_size": ("step_size",),
    }.items():
        wanted = sum(4 * t.numel() for name, t in tensors if name.split(".")[0] in roots)
        assert spent.purposes[purpose] == wanted
    assert spent.stored_values == sum(t.numel() for _, t in tensors)
    assert sum(spent.purposes.values()) == (
        4 * spent.stored_values + spent.purposes["headers"] + spent.purposes["manifest"]
    )


def test_it_counts_values_as_papers_do(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    counted = [
        registry.published_values(made.GAUSSIAN, made.IMAGE, items=items, classes=classes)
        for items, classes in ((5, 2), (3, 2), (1, 1))
    ]
    image = 3 * 8 * 8
    assert found.ledger.published_values == sum(counted)
    assert math.isclose(found.ledger.ipc_floats, sum(counted) / (5 * image))
    assert math.isclose(found.ledger.ipc_bytes, found.ledger.content_bytes / (5 * image))


def test_a_file_that_nobody_listed_is_an_extra(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    (tmp_path / "toys" / "notes").mkdir()
    (tmp_path / "toys" / "notes" / "a.txt").write_bytes(b"12345")
    spent = artifact.read(tmp_path / "toys").ledger
    assert spent.extras["notes/a.txt"] == 5
    assert spent.total_bytes == on_disk(tmp_path / "toys")


def test_a_part_that_was_cut_short_does_not_add_up(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    path = tmp_path / "toys" / "parts" / "001.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError, match="where its header tells"):
        _ = found.ledger


def test_it_can_be_printed(tmp_path: Path) -> None:
    spent = made.write(tmp_path / "toys").ledger
    lines = str(spent).splitlines()
    assert len(lines) == len(spent.rows())
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].endswith(f"{spent.total_bytes:,}")
