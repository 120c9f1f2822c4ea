"""What a name stands for follows from how it is written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d3data.errors import UnknownNameError
from d3data.hub import names
from d3data.hub.names import NEWEST, Folder, Repository, Revision, Short, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "written", ["./x", "../here/x", "./", ".", "..", "/x", "~", "~/x", "./a@b", "x/", "a/b/"]
)
def test_a_path_is_a_folder(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse(written) == Folder(Path(written).expanduser())
    assert parse(Path("x")) == Folder(Path("x"))


@pytest.mark.parametrize(
    ("after", "revision"),
    [
        ("", NEWEST),
        ("@1.2.0", Revision("version", "1.2.0")),
        ("@v1.2.0", Revision("version", "1.2.0")),
        ("@~=1.2", Revision("range", "~=1.2")),
        ("@>=1, <2", Revision("range", "<2,>=1")),
        ("@==1.2.*", Revision("range", "==1.2.*")),
        (f"@{COMMIT}", Revision("commit", COMMIT)),
        ("@main", Revision("branch", "main")),
        ("@refs/pr/1", Revision("branch", "refs/pr/1")),
        ("@v2-beta", Revision("branch", "v2-beta")),
        ("@0123abc", Revision("branch", "0123abc")),
    ],
)
def test_what_comes_after_the_at(after: str, revision: Revision) -> None:
    assert parse(f"digits-ipc4{after}") == Short("digits-ipc4", revision)
    assert parse(f"Org_1/a.Name-x{after}") == Repository("Org_1/a.Name-x", revision)
    if after:
        assert parse("me/x", revision=after[1:]) == Repository("me/x", revision)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("", "not a valid data set name"),
        ("Digits", r"not a valid data set name.*\./Digits"),
        ("~nobody", r"\./~nobody"),
        ("a/b/c", r"write org/name.*\./a/b/c"),
        ("a--b/c", "write org/name"),
        ("a/-b", "write org/name"),
        ("a/b.git", "write org/name"),
        ("a/..", "write org/name"),
        ("me/x@", "not a valid revision"),
        ("me/x@1.2", r"three numbers.*me/x@1\.2\.0.*==1\.2\.\*"),
        ("me/x@v1", "three numbers"),
        ("me/x@01.2.0", "three numbers"),
        ("me/x@~=1", "not a valid revision"),
        ("me/x@>=", "not a valid revision"),
        ("me/x@../../y", "not a valid revision"),
        ("me/x@a//b", "not a valid revision"),
        ("me/x@-a", "not a valid revision"),
        ("me/x@a b", "not a valid revision"),
        ("me/x@main@main", "not a valid revision"),
        ("https://huggingface.co/datasets/me/x", "write me/x$"),
        ("https://huggingface.co/datasets/me/x/", "write me/x$"),
        ("https://hub.example:8080/datasets/me/x?row=1", "write me/x$"),
        ("huggingface.co/datasets/me/x/tree/v1.0.0/parts", "write me/x@v1.0.0$"),
        ("https://huggingface.co/datasets/me/x/blob/main/d3data.json", "write me/x@main$"),
        ("hf://datasets/me/x", "write me/x$"),
        ("hf:me/x", "real images, not a distilled set.*`d3data init`"),
        ("torchvision:MNIST:/x", "real images"),
        ("datasets/me/x", "write me/x$"),
        ("https://huggingface.co/me/x", "write org/name"),
        ("runs/x/artifact/d3data.json", r"the folder of the file, \./runs/x/artifact$"),
        ("x/d3data.json", r"the folder of the file, \./x$"),
    ],
)
def test_what_is_no_name_says_how_names_are_written(written: str, fault: str) -> None:
    with pytest.raises(UnknownNameError, match=fault):
        parse(written)


@pytest.mark.parametrize("name", [None, 3, b"me/x", ["me/x"]])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(UnknownNameError, match="must be a str, or the Path"):
        parse(name)


def test_a_revision_is_said_once_and_of_names_only() -> None:
    with pytest.raises(UnknownNameError, match="give the revision once"):
        parse("me/x@1.0.0", revision="1.0.0")
    with pytest.raises(UnknownNameError, match="which has no revision"):
        parse("./x", revision="main")


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UnknownNameError:
        return
    if not isinstance(found, Folder):
        assert ".." not in f"{found.name}{found.revision.ref}"
        assert not (found.revision.ref or "").startswith("/")


VERSIONS = ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "0.9.9"]


@pytest.mark.parametrize(
    ("revision", "picked"),
    [
        (NEWEST, "2.0.0"),
        (Revision("range", "~=1.2"), "1.10.0"),
        (Revision("range", "<1.10"), "1.2.0"),
        (Revision("range", ">2"), None),
        (Revision("version", "1.2.0"), "1.2.0"),
        (Revision("version", "1.2.1"), None),
    ],
)
def test_the_newest_that_is_permitted_is_picked(revision: Revision, picked: str | None) -> None:
    assert revision.pick(VERSIONS) == picked
    assert revision.pick(reversed(VERSIONS)) == picked


def test_versions_and_their_tags() -> None:
    assert [names.version(names.tag(version)) for version in VERSIONS] == VERSIONS
    assert [names.version(tag) for tag in ("1.0.0", "v1.0", "v1.0.0a", "main", "v1.0.0\n")] == [
        None
    ] * 5
    assert sorted(VERSIONS, key=names.order)[-2:] == ["1.10.0", "2.0.0"]


@pytest.mark.parametrize(
    "written",
    [
        "https://me:sesame@huggingface.co/datasets/me/toys",
        "https://me:sesame@huggingface.co/me/toys",
        "me:hf_abcdefghijklmnopqrstuvwx@hub.example/me/toys",
    ],
)
def test_a_password_in_a_name_is_not_said(written: str) -> None:
    with pytest.raises(UnknownNameError) as failure:
        names.parse(written)
    assert "sesame" not in str(failure.value)
    assert "hf_abc" not in str(failure.value)
