"""Digests."""

from collections.abc import Iterable
from hashlib import sha256


def digest(pieces: Iterable[str | bytes]) -> str:
    """A hex sha256 of a sequence; where one piece ends matters."""
    total = sha256()
    for piece in pieces:
        encoded = piece.encode() if isinstance(piece, str) else piece
        total.update(len(encoded).to_bytes(8, "little"))
        total.update(encoded)
    return total.hexdigest()
