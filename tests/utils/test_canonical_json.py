"""JSON in one spelling, and the parser of pages that others wrote."""

import pytest

from d3data.errors import FormatError
from d3data.utils import canonical_json


@pytest.mark.parametrize(
    ("value", "page"),
    [
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        ({"x": 1.0, "y": 1e21, "z": 1e-7, "w": 0.1}, b'{"w":0.1,"x":1,"y":1e+21,"z":1e-7}'),
        (
            {"\u20ac": "\u20ac\n\x0f", "a": None},
            b'{"a":null,"\xe2\x82\xac":"\xe2\x82\xac\\n\\u000f"}',
        ),
        # RFC 8785, 3.2.3: keys are sorted by their UTF-16 units, so an emoji precedes U+FB33
        ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'.encode()),
    ],
)
def test_encode_is_rfc_8785(value: dict[str, object], page: bytes) -> None:
    assert canonical_json.encode(value) == page
    assert canonical_json.decode(page, where="here") == value


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (b"", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a":1,"a":1}', "'a' comes twice"),
        (b'{"a":{"b":[{"c":1,"c":2}]}}', "'c' comes twice"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number"),
        (b'{"a":1}x', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":' * 16 + b"[]" + b"}" * 16, "deeper than 16"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 16"),
        (b'{"a":[' + b"0," * (1 << 18) + b"0]}", "262146 commas and opening brackets"),
        (b'{"a":9007199254740992}', "whole number beyond 2"),
        (b'{"a":-9007199254740992}', "whole number beyond 2"),
        (b'{"a":"' + b" " * (4 << 20) + b'"}', "bytes of JSON"),
    ],
)
def test_decode_refuses(page: bytes, fault: str) -> None:
    with pytest.raises(FormatError, match=fault) as caught:
        canonical_json.decode(page, where="here")
    assert str(caught.value).startswith("here: ")
    assert len(str(caught.value)) < 300


def test_decode_reads_up_to_its_bounds_and_down_to_its_depth() -> None:
    wide = b'{"a":[' + b"0," * ((1 << 18) - 2) + b"9007199254740991]}"
    for page in (wide, b'{"a":' * 15 + b"{}" + b"}" * 15):
        assert canonical_json.encode(canonical_json.decode(page, where="here")) == page
