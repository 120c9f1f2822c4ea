"""What a forger can do: change a part and make size and digests right again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from d3data.utils import canonical_json

PART = "parts/000.safetensors"


JUNK: list[Any] = [
    *(None, True, -1, 0, 1, 3, 255, 1 << 20, 2**31, 2**53 - 1, 1e300, 0.5),
    *("", "x" * 5000, "../x", "/etc/passwd", "\n", "float16", "int2", "gaussian", "pixels"),
    *([], {}, [[]], [0], [1 << 40] * 3, {"kind": "gaussian"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON document."""
    inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    deeper = [places(v, (*path, key)) for key, v in inner if isinstance(v, dict | list)]
    return [(*path, key) for key, _ in inner] + [place for found in deeper for place in found]


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace one value of a JSON document."""
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


def put_part(folder: Path, content: bytes) -> None:
    """Replace the first part of an artifact, and let its manifest agree."""
    (folder / PART).write_bytes(content)
    page = json.loads((folder / "d3data.json").read_bytes())
    entry = page["content"]["parts"][0]
    entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    seal(folder, page)


def seal(folder: Path, page: dict[str, Any]) -> None:
    """Write a manifest with the digests that its blocks have."""
    page.pop("self_sha256", None)
    page["content_sha256"] = hashlib.sha256(canonical_json.encode(page["content"])).hexdigest()
    page["self_sha256"] = hashlib.sha256(canonical_json.encode(page)).hexdigest()
    (folder / "d3data.json").write_bytes(canonical_json.encode(page))


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file and the bytes of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def about(header: dict[str, Any]) -> dict[str, Any]:
    """Classes and items in the metadata of a header."""
    found: dict[str, Any] = json.loads(header["__metadata__"]["d3data"])
    return found


def join(header: Any, tensors: bytes) -> bytes:
    """A safetensors file of a header, JSON or bytes, and the bytes of tensors."""
    if isinstance(header, bytes):
        text = header
    else:
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors
