"""What a name stands for follows from how it is written."""

from pathlib import Path

import pytest

from d3data import artifact
from d3data.errors import UnknownNameError
from d3data.hub import names

INDEX = {
    "digits-ipc4": names.Entry(about="digits", version="1.0.0", content_sha256="ab" * 32),
    "fashion-ipc2": names.Entry(about="clothes", version=None, content_sha256=None),
}


@pytest.fixture(autouse=True)
def _index(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "shipped" not in request.node.name:
        monkeypatch.setattr(names, "index", lambda: INDEX)


@pytest.mark.parametrize("name", ["digits-ipc4", "digits-ipc4@1.0.0"])
def test_a_short_name_is_a_folder_of_the_zoo(name: str) -> None:
    place = names.resolve(name)
    assert place.folder == names.ZOO / "digits-ipc4"
    assert place.content_sha256 == "ab" * 32


@pytest.mark.parametrize(
    "written", ["./x", "../here/x", "./", ".", "..", "x-path", "absolute", "~"]
)
def test_a_path_is_a_folder(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    name = {"x-path": Path("x"), "absolute": str(tmp_path / "here")}.get(written, written)
    place = names.resolve(name)
    assert place.folder.is_dir()
    assert place.folder == Path(name).expanduser()
    assert place.content_sha256 is None


def test_what_exists_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("digits-ipc4", "mine", "org/name"):
        (tmp_path / folder).mkdir(parents=True)
    assert names.resolve("digits-ipc4").folder == names.ZOO / "digits-ipc4"
    with pytest.raises(UnknownNameError, match=r"write a path: \./mine"):
        names.resolve("mine")
    with pytest.raises(UnknownNameError, match=r"write \./org/name"):
        names.resolve("org/name")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("digits-icp4", "did you mean digits-ipc4"),
        ("", "no data set is called ''"),
        ("digits-ipc4@2.0.0", r"no version 2\.0\.0: this d3data has digits-ipc4@1\.0\.0"),
        ("fashion-ipc2", "`d3data distill fashion-ipc2"),
        ("fashion-ipc2@1.0.0", "not made yet"),
        ("./nowhere", "nowhere is not a folder"),
        ("~nobody-here", "no data set is called"),
    ],
)
def test_other_names_say_what_to_do(name: str, fault: str) -> None:
    with pytest.raises(UnknownNameError, match=fault):
        names.resolve(name)


def test_the_shipped_index_and_zoo_agree() -> None:
    for name, entry in names.index().items():
        assert (entry.version is None) == (entry.content_sha256 is None)
        assert (names.ZOO / name).exists() == (entry.version is not None)
        if entry.version is not None:
            found = artifact.read(names.ZOO / name)
            found.check()
            assert found.manifest.about.name == name
            assert found.manifest.about.version == entry.version
            names.resolve(name).require(found.manifest)
