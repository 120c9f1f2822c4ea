"""Files as a repository lists them: by git's name, or by sha256 where they are large."""

import hashlib
from dataclasses import replace

import pytest

from d3data.hub.blobs import Blob, is_same

CONTENT = b"0123456789"
SMALL = Blob(10, "ad471007bd7f5983d273b9584e5629230150fd54", None)  # git hash-object
LARGE = Blob(10, "1" * 40, hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_a_file_is_what_it_is_listed_as(blob: Blob) -> None:
    assert is_same(blob, CONTENT)
    assert not is_same(blob, CONTENT[::-1])
    assert not is_same(replace(blob, size=11), CONTENT)
    assert not is_same(None, CONTENT)
