"""Files that are not what the manifest says: changed, missing, links, or no files at all."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

import bounds
import forging
from d3data import artifact
from d3data.artifact import summary
from d3data.errors import ArtifactError, IntegrityError
from d3data.utils import safe_open
from d3data.utils.safe_open import Verify

PARTS = [f"parts/{number:03d}.safetensors" for number in range(3)]
FILES = [*PARTS, "golden.safetensors", "recipe.toml"]


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_one_bit_is_found(path: str, share: float, place: Path) -> None:
    flip(place / path, int(share * (place / path).stat().st_size))
    with pytest.raises(IntegrityError, match=rf"{path} has sha256 .*fetch the artifact again"):
        artifact.read(place).check()


def test_one_bit_of_the_manifest_is_found_wherever_it_is(place: Path) -> None:
    page = (place / "d3data.json").read_bytes()
    for byte in range(0, len(page), 13):
        (place / "d3data.json").write_bytes(page)
        flip(place / "d3data.json", byte)
        with pytest.raises(ArtifactError, match=r"d3data\.json"):
            artifact.read(place)


@pytest.mark.parametrize("verify", ["always", "size"])
def test_another_size_is_found(verify: Verify, place: Path) -> None:
    with (place / PARTS[1]).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(IntegrityError, match="bytes, not"):
        artifact.read(place, verify=verify).sources()


@pytest.mark.parametrize("verify", ["size", "never"])
def test_who_wants_no_digests_gets_none(verify: Verify, place: Path) -> None:
    path = place / PARTS[0]
    flip(path, path.stat().st_size - 1)
    artifact.read(place, verify=verify).sources()


@pytest.mark.parametrize("path", FILES)
def test_a_missing_file_is_named(path: str, place: Path) -> None:
    (place / path).unlink()
    with pytest.raises(IntegrityError, match=f"{path} is missing"):
        artifact.read(place).check()


@pytest.mark.parametrize("path", [*FILES, "d3data.json"])
def test_links_are_refused(path: str, place: Path) -> None:
    (place / path).rename(place.parent / "elsewhere")
    (place / path).symlink_to(place.parent / "elsewhere")
    with pytest.raises(IntegrityError, match="reached by a link"):
        artifact.read(place).check()


def test_links_on_the_way_are_refused(place: Path) -> None:
    (place / "parts").rename(place.parent / "elsewhere")
    (place / "parts").symlink_to(place.parent / "elsewhere")
    with pytest.raises(IntegrityError, match="reached by a link"):
        artifact.read(place).sources()


def test_a_dangling_link_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "d3data.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="is not a data set of d3data"):
        artifact.read(tmp_path)


def test_the_folder_itself_may_be_a_link(place: Path) -> None:
    link = place.parent / "link"
    link.symlink_to(place)
    artifact.read(link).check()


def test_a_pipe_does_not_block(place: Path) -> None:
    (place / PARTS[0]).unlink()
    os.mkfifo(place / PARTS[0])
    with pytest.raises(IntegrityError, match="not a regular file"):
        artifact.read(place).sources()


def test_a_device_is_no_file(place: Path) -> None:
    (place / PARTS[0]).unlink()
    try:
        os.mknod(place / PARTS[0], stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(IntegrityError, match=r"not a regular file|cannot be read"):
        artifact.read(place).sources()


def test_a_socket_is_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / PARTS[0]).unlink()
    monkeypatch.chdir(place)  # a socket's path has at most 108 letters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(PARTS[0])
        with pytest.raises(IntegrityError, match="cannot be read"):
            artifact.read(place).sources()


@pytest.mark.parametrize("path", ["d3data.json", "README.md"])
def test_a_pipe_is_no_page(path: str, place: Path) -> None:
    (place / path).unlink()
    os.mkfifo(place / path)
    with pytest.raises(IntegrityError, match="not a regular file"):
        summary.card(artifact.read(place))


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_what_is_no_name_of_a_folder_says_so(name: str) -> None:
    with pytest.raises(IntegrityError, match=r"d3data\.json cannot be read: "):
        artifact.read(name)


def test_a_name_that_the_system_refuses_says_so(place: Path) -> None:
    for path in ("a\0b", "a" * 300):
        with pytest.raises(IntegrityError, match="cannot be read: "):
            safe_open.read(place, path, most=100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_nobody_may_enter_says_so(place: Path) -> None:
    place.chmod(0)
    try:
        with pytest.raises(IntegrityError, match="Permission denied"):
            artifact.read(place)
    finally:
        place.chmod(0o755)


@pytest.mark.parametrize("path", ["d3data.json", "README.md"])
def test_a_system_that_says_no_is_quoted(
    path: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stat_of, open_of = artifact.read(place), Path.stat, os.open

    def denied(name: object) -> None:
        if str(name).endswith(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(name))

    def refuse(self: Path, **how: bool) -> os.stat_result:
        denied(self)
        return stat_of(self, **how)

    def refused(name: str, *flags: int, **how: int) -> int:
        denied(name)
        return open_of(name, *flags, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(IntegrityError, match=f"{path} cannot be read: Permission denied"):
        artifact.read(place) if path == "d3data.json" else summary.card(whole)


def sparse(place: Path, size: int, *, path: str = "preview.png") -> None:
    """A file of so many zeros, which takes no room, in an artifact that lists it."""
    with (place / path).open("wb") as file:
        file.truncate(size)
    zeros = hashlib.sha256()
    for _ in range(size >> 20):
        zeros.update(bytes(1 << 20))
    page = json.loads((place / "d3data.json").read_bytes())
    others = [entry for entry in page["files"] if entry["path"] != path]
    entry = {"path": path, "size": size, "sha256": zeros.hexdigest()}
    page["files"] = sorted([*others, entry], key=lambda entry: entry["path"])
    forging.seal(place, page)


def test_a_file_beyond_its_bound_is_not_even_listed(place: Path) -> None:
    sparse(place, (64 << 20) + (1 << 20))
    with pytest.raises(ArtifactError, match="less than or equal to 67108864"):
        artifact.read(place)


def test_a_large_file_is_checked_piece_by_piece_and_held_once(place: Path) -> None:
    sparse(place, 64 << 20)
    found = artifact.read(place)
    found.check()  # a thread takes address space, too
    assert bounds.tried(found.check, memory=48 << 20) == (None, "")
    content, fault = bounds.tried(lambda: found.file("preview.png"), memory=110 << 20)
    assert fault == ""
    assert content == bytes(64 << 20)


def test_who_wants_no_checks_gets_no_endless_file(place: Path) -> None:
    with (place / "golden.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    found = artifact.read(place, verify="never")
    with pytest.raises(IntegrityError, match=r"golden\.safetensors has more than 67108864 bytes"):
        found.file("golden.safetensors")


def test_what_is_left_out_of_a_check_may_be_absent(place: Path) -> None:
    (place / "recipe.toml").unlink()
    artifact.read(place).check(without=["recipe.toml"])


def test_a_folder_is_no_file(place: Path) -> None:
    (place / PARTS[0]).unlink()
    (place / PARTS[0]).mkdir()
    with pytest.raises(IntegrityError, match="not a regular file"):
        artifact.read(place).sources()


def test_a_file_is_no_folder(place: Path) -> None:
    shutil.rmtree(place / "parts")
    (place / "parts").write_bytes(b"")
    with pytest.raises(IntegrityError, match="cannot be read"):
        artifact.read(place).sources()


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "a/../../b"])
def test_paths_stay_inside(path: str, place: Path) -> None:
    (place.parent / "outside").write_bytes(b"secret")
    with pytest.raises(IntegrityError, match="relative and inside"):
        safe_open.read(place, path, most=100)


def test_a_manifest_beyond_all_bounds_is_not_read_whole(place: Path) -> None:
    with (place / "d3data.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(IntegrityError, match="more than 4194304 bytes"):
        artifact.read(place)


def test_no_handle_is_left_open(place: Path) -> None:
    (place / "link").symlink_to(place)
    mine = Path("/proc/self/fd")
    if not mine.is_dir():
        pytest.skip("this system does not list a process's open files")
    before = len(list(mine.iterdir()))
    for path in (*FILES, "nothing", "parts", "parts/nothing", "recipe.toml/x", "link/recipe.toml"):
        with contextlib.suppress(IntegrityError):
            safe_open.read(place, path, most=1 << 20)
    assert len(list(mine.iterdir())) == before
