"""SHA-256 digests."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(pieces: Iterable[str | bytes]) -> str:
    """The hex digest of a sequence; where one piece ends and the next begins matters."""
    total = hashlib.sha256()
    for piece in pieces:
        encoded = piece.encode() if isinstance(piece, str) else piece
        total.update(len(encoded).to_bytes(8, "little"))
        total.update(encoded)
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """The hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
