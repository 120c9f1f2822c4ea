"""Artifacts: written whole or not at all, the same bytes each time, read back as they were."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import made
from d3data import artifact
from d3data.artifact.manifest import SoftLabels
from d3data.artifact.part import Part
from d3data.errors import ArtifactError, FormatError
from d3data.utils import atomic

GOLDEN = Path(__file__).parents[1] / "golden"
SOFT = SoftLabels(teacher="convnet", temperature=1.0)


def files(place: Path) -> dict[str, bytes]:
    found = (path for path in place.rglob("*") if path.is_file())
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("kind", made.SPECS)
def test_write_then_read_gives_the_same_images(kind: str, tmp_path: Path) -> None:
    written = made.write(tmp_path / "toys", kind)
    found = artifact.read(tmp_path / "toys")
    assert found == written
    ordered = sorted(made.three_parts(made.SPECS[kind]), key=lambda part: part.classes)
    for part, source in zip(ordered, found.sources(), strict=True):
        items, noise = torch.arange(sum(part.items_per_class)), None
        if source.noise_values:
            noise = torch.randn(len(items), source.noise_values)
        direct = part.source(made.SPECS[kind], made.IMAGE)(items, noise)
        assert torch.equal(source(items, noise), direct)


def test_the_same_tensors_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    made.write(tmp_path / "one")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import made, pathlib; "
    code += "made.write(pathlib.Path(sys.argv[2]), parts=made.three_parts(made.GAUSSIAN)[::-1])"
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path / "two")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize("name", made.GOLDEN)
def test_an_artifact_written_long_ago_is_written_the_same_today(name: str, tmp_path: Path) -> None:
    made.GOLDEN[name](tmp_path / "toys")
    old, new = files(GOLDEN / name), files(tmp_path / "toys")
    assert old.keys() == new.keys()
    for path in old:
        if path.startswith("parts/"):
            assert old[path] == new[path]
    assert any(path.startswith("parts/") for path in old)
    pages = [json.loads(page["d3data.json"]) for page in (old, new)]
    assert pages[0]["content"] == pages[1]["content"]
    assert pages[0]["content_sha256"] == pages[1]["content_sha256"]


@pytest.mark.parametrize("name", made.GOLDEN)
def test_an_artifact_written_long_ago_is_read_and_draws_the_same(name: str) -> None:
    found = artifact.check_golden(GOLDEN / name)
    assert found.noise_ulps <= 1
    assert found.pixel_steps <= 1


def test_the_manifest_tells_the_files(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    found = files(tmp_path / "toys")
    page = json.loads(found.pop("d3data.json"))
    listed = {e["path"]: e for e in page["content"]["parts"] + page["files"]}
    assert found.pop("README.md") == b"# toys\n"
    assert found.keys() == listed.keys()
    for path, content in found.items():
        assert listed[path]["size"] == len(content)
        assert listed[path]["sha256"] == hashlib.sha256(content).hexdigest()


def test_parts_are_joined_in_order_of_class(tmp_path: Path) -> None:
    content = made.write(tmp_path / "toys").manifest.content
    assert [part.classes for part in content.parts] == [(0, 2), (1, 4), (3,)]
    assert content.items_per_class == (2, 1, 3, 1, 2)


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        ([(0, 1), (2, 3)], "in no part: 4"),
        ([(0, 1), (1, 2, 3, 4)], "in two parts: 1"),
        ([(0, 1, 2, 3, 4, 5)], "unknown: 5"),
    ],
)
def test_classes_must_be_dealt_once(
    classes: list[tuple[int, ...]], fault: str, tmp_path: Path
) -> None:
    parts = [made.part(made.GAUSSIAN, ids, (1,) * len(ids)) for ids in classes]
    with pytest.raises(ArtifactError, match=fault):
        made.write(tmp_path / "toys", parts=parts)
    assert not (tmp_path / "toys").exists()


def test_what_does_not_fit_the_source_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="should be"):
        made.write(tmp_path / "toys", spec=made.SPECS["residual"])
    with pytest.raises(FormatError, match="labels"):
        made.write(tmp_path / "toys", labels=SOFT)
    rule = made.RULE.model_copy(update={"size": 16})
    with pytest.raises(ArtifactError, match="disagree"):
        made.write(tmp_path / "toys", preprocessing=rule)
    with pytest.raises(ArtifactError, match="own place"):
        made.write(tmp_path / "toys", extras={"parts/009.safetensors": b""})
    with pytest.raises(ArtifactError, match="path"):
        made.write(tmp_path / "toys", extras={"../outside": b""})
    assert list(tmp_path.iterdir()) == []


def test_draws_per_class_are_the_most_items_unless_given(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys", draws_per_class=None)
    assert found.manifest.content.sampling.draws_per_class == 3


def test_an_artifact_is_replaced_as_a_whole(tmp_path: Path) -> None:
    made.write(tmp_path / "toys", extras={"preview/old.png": b"old"})
    made.write(tmp_path / "toys", "pixels")
    assert artifact.read(tmp_path / "toys").manifest.content.source.kind == "pixels"
    assert not (tmp_path / "toys" / "preview").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    made.write(tmp_path / "toys").check()


def test_files_are_as_readable_as_any(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_bytes(b"")
    for ours, plain in (
        ("toys", "plain"),
        ("toys/parts", "plain"),
        ("toys/d3data.json", "plain/file"),
    ):
        modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in (ours, plain)]
        assert modes[0] == modes[1]


def test_what_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(ArtifactError, match="is not empty and is not an artifact"):
        made.write(place)
    (place / "d3data.json").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match="manifest cannot be read"):
        made.write(place)
    made.write(tmp_path / "toys")
    (tmp_path / "toys" / "notes.txt").write_bytes(b"mine")
    with pytest.raises(ArtifactError, match=r"holds notes\.txt"):
        made.write(tmp_path / "toys")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="not a folder"):
        made.write(tmp_path / "file")
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(ArtifactError, match="not a folder"):
        made.write(tmp_path / "link")
    assert (place / "cat.jpg").read_bytes() == b"cat"
    assert (tmp_path / "toys" / "notes.txt").read_bytes() == b"mine"


@pytest.mark.parametrize("fails", [1, 2])
def test_a_failure_leaves_what_was_there(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write(tmp_path / "toys")
    before, times, rename = files(tmp_path / "toys"), iter(range(1, 9)), Path.rename

    def full(path: Path, target: Path) -> Path:
        if next(times) == fails:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        made.write(tmp_path / "toys", "pixels")
    assert files(tmp_path / "toys") == before
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        made.write(tmp_path / "toys")
    assert list(tmp_path.iterdir()) == []


def test_soft_labels_travel(tmp_path: Path) -> None:
    parts = made.three_parts(made.GAUSSIAN, labels=5)
    found = made.write(tmp_path / "toys", parts=parts, labels=SOFT)
    labels = [source.labels for source in found.sources()]
    assert [None if rows is None else tuple(rows.shape) for rows in labels] == [
        (5, 5),
        (3, 5),
        (1, 5),
    ]


def test_check_reads_every_file(tmp_path: Path) -> None:
    made.write(tmp_path / "toys").check()
    recipe = tmp_path / "toys" / "recipe.toml"
    recipe.write_bytes(recipe.read_bytes().replace(b"toys", b"boys"))
    found = artifact.read(tmp_path / "toys")
    found.sources()
    with pytest.raises(ArtifactError, match=r"recipe\.toml has sha256"):
        found.check()


def test_a_file_that_is_not_listed_is_not_read(tmp_path: Path) -> None:
    found = made.write(tmp_path / "toys")
    with pytest.raises(ArtifactError, match=r"has no README\.md; it has parts/000"):
        found.file("README.md")


def test_what_is_no_artifact_says_so(tmp_path: Path) -> None:
    told = r"is not a data set of d3data \(no d3data\.json\): .*d3data init"
    with pytest.raises(ArtifactError, match=told):
        artifact.read(tmp_path)


def test_a_megabyte_is_read_in_little_time(tmp_path: Path) -> None:
    spec = made.GAUSSIAN.model_copy(
        update={"decoder": made.GAUSSIAN.decoder.model_copy(update={"width": 180, "noise": 64})}
    )
    made.write(
        tmp_path / "toys",
        spec=spec,
        parts=[made.part(spec, (0, 1, 2, 3, 4), (9,) * 5)],
        draws_per_class=9,
    )
    took = []
    for _ in range(5):
        begin = time.process_time()
        found = artifact.read(tmp_path / "toys")
        found.sources()
        took.append(time.process_time() - begin)
    assert found.ledger.content_bytes > 1_000_000
    assert min(took) < 0.25  # of the processor: 0.02 s are usual


def test_merge_orders_parts() -> None:
    ordered = artifact.merge(made.three_parts(made.GAUSSIAN), classes=5)
    assert [part.classes for part in ordered] == [(0, 2), (1, 4), (3,)]
    assert all(isinstance(part, Part) for part in ordered)
