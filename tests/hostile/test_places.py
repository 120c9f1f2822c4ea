"""Folders, shards and tables that chance has mutated: read, or refused with a sentence.

`D3DATA_SOAK=1` tries 5,000 of them.
"""

import contextlib
import io
import os
import random
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from d3data.convert.image_files import read_images
from d3data.errors import D3DataError
from d3data.images.scan import scan_images
from pictures import encoded, picture
from places import PNG, pets, put, samples, table

PLACES = range(5_000 if os.environ.get("D3DATA_SOAK") else 100)
NAMES = [
    b"train", b"test", b"val", b"cat", b"\xff\xfe", b"a\nb", b"\x1b[31m", b"..x", b".hidden",
    b"__MACOSX", b" ", b"metadata.csv", b"metadata.jsonl", b"classes.txt", b"x" * 250, b"0.png",
    b"n.npz", b"t.tar", b"p.parquet", b"0", b"CON", "\u202e猫".encode(), b"a.PNG", b"data",
]  # fmt: skip
CHANGES = ["bytes", "bytes", "bytes", "text", "name", "link", "hard", "pipe", "folder", "remove",
           "copy"]  # fmt: skip
TEXTS = [
    b"", b"\0", b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>", b"\xff\xfe\0",
    b"file_name,label\n0.png,cat\n", b"file_name,label\n../0.png,1\n", b'{"file_name": [1]}\n',
    b"file_name\n", b"file_name,label\ncat/0.png,0.5\n", b"{", PNG, PNG[:40], b"\x1f\x8b\x08",
]  # fmt: skip


def archive() -> bytes:
    buffer = io.BytesIO()
    images = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(buffer, train_images=images, train_labels=[0, 1, 0, 1], classes=["a", "b"])
    return buffer.getvalue()


def originals() -> list[dict[str, bytes]]:
    """What is mutated: a place of each format."""
    jpeg = encoded(picture(1), "jpeg")
    rows = "file_name,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4))
    return [
        pets(),
        pets("train/") | pets("test/") | {"train/cat/x.jpg": jpeg},
        {f"{n}.png": PNG for n in range(4)} | {"metadata.csv": rows.encode()},
        {"train-0.tar": samples(4), "test-0.tar": samples(2), "classes.txt": b"ant\nbee\n"},
        {"train.parquet": table([0, 1, 0, 1], names=["a", "b"]), "val.parquet": table([0, 1])},
        {"images.npz": archive()},
    ]


def mutate(root: Path, rng: random.Random) -> None:
    """One change to a file, a name or the tree."""
    paths = [root, *root.rglob("*")]
    path = rng.choice(paths)
    folder = path if path.is_dir() and not path.is_symlink() else path.parent
    new = folder / os.fsdecode(rng.choice(NAMES))
    if os.path.lexists(new):
        return
    with contextlib.suppress(OSError):
        match rng.choice(CHANGES):
            case "bytes" if path.is_file():
                content = bytearray(path.read_bytes())
                for _ in range(rng.choice([1, 1, 4, 30])):
                    at = rng.randrange(len(content) + 1)
                    content[at : at + rng.choice([0, 1, 1, 8])] = rng.randbytes(
                        rng.choice([0, 1, 4])
                    )
                path.write_bytes(
                    content[: rng.choice([None, None, rng.randrange(len(content) + 1)])]
                )
            case "text":
                (path if path.is_file() else new).write_bytes(rng.choice(TEXTS))
            case "name" if path != root:
                path.rename(new)
            case "link":
                new.symlink_to(rng.choice([*paths, root, Path("nowhere"), new]))
            case "hard":
                new.hardlink_to(path)
            case "pipe":
                os.mkfifo(new)
            case "folder":
                new.mkdir()
            case "remove" if path != root:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            case "copy" if path.is_file():
                shutil.copy(path, new)
            case "copy" if path.is_dir() and not path.is_symlink() and path != root:
                shutil.copytree(path, path.with_name(new.name), symlinks=True)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_mutated_place_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    kinds = originals()
    for seed in PLACES:
        rng = random.Random(seed)
        root = put(tmp_path / "place", rng.choice(kinds))
        for _ in range(rng.choice([1, 1, 2, 5])):
            mutate(root, rng)
        for read in (scan_images, read_images):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow's, of odd EXIF and TIFF
                    read(str(root))
            except D3DataError as failure:
                said = str(failure)
                assert not re.search(r"<_io|object at 0x|\(\)|\b1 classes|\b1 images", said), said
                assert len(said) < 3_000, said
            except Exception as failure:
                raise AssertionError(f"seed {seed}: {read.__name__}") from failure
        shutil.rmtree(root)
