"""Places as people bring them, made of small pictures: folders, shards, tables."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from d3data.images import formats
from d3data.images.formats.labels import UNLABELED
from pictures import encoded, picture

PNG = encoded(picture(0, width=8, height=8))
PETS = ("cat", "dog")


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    """Write files, by their paths below a root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pets(below: str = "", count: int = 3, inner: str = "") -> dict[str, bytes]:
    """`cat/0.png`, ... below a folder, in an inner folder where one is named."""
    names = (f"{kind}/{inner}{number}.png" for kind in PETS for number in range(count))
    return {f"{below}{name}": PNG for name in names}


def shard(members: list[tuple[str, bytes]]) -> bytes:
    """A tar file; a name may come twice."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def samples(count: int) -> bytes:
    """A shard of `000.png` and `000.cls`, ..."""
    pairs = (((f"{n:03d}.png", PNG), (f"{n:03d}.cls", str(n % 2).encode())) for n in range(count))
    return shard([member for pair in pairs for member in pair])


def table(
    labels: Any, *, names: list[str] | None = None, image: str = "image", label: str = "label",
    **more: Any,
) -> bytes:  # fmt: skip
    """A Parquet file with an image for each label."""
    made = pyarrow.table({image: [PNG] * len(labels), label: labels, **more})
    if names:
        info = {"features": {label: {"names": names, "_type": "ClassLabel"}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": info})})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(made, buffer)
    return buffer.getvalue()


def counts(place: Path | str, **how: Any) -> dict[str, dict[str, int]]:
    """How many images of each class each split has, as they are read; "?" has no label."""
    index = formats.read(place, **how).used()
    return {
        part: dict(
            Counter(index.classes[n] if n > UNLABELED else "?" for n in own.labels.tolist())
        )
        for part, own in index.splits.items()
        if len(own.labels)
    }
