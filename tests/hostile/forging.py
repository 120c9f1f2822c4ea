"""What a forger can do: change a part and make size and digests right again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from d3data.utils import canonical_json

PART = "parts/000.safetensors"


def put(folder: Path, content: bytes) -> None:
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
