"""Which files are large, which a `.gitignore` excludes, and what the Hub reads of a card."""

import codecs
import fnmatch
import re
from typing import Any

from d3data.testing.git import parents_of
from d3data.testing.refusals import Invalid

_SUFFIXES = (
    *("7z", "arrow", "bin", "bz2", "ckpt", "flac", "gif", "gz", "h5", "jpeg", "jpg", "mp3"),
    *("mp4", "msgpack", "npy", "npz", "onnx", "parquet", "pickle", "pkl", "png", "pt", "pth"),
    *("rar", "safetensors", "tar", "tgz", "wasm", "wav", "webp", "xz", "zip", "zst"),
)
ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _SUFFIXES)
_FRONT_MATTER = re.compile(r"\s*---[\r\n]+([\s\S]*?)[\r\n]+---(?:\r?\n|$)")
_LISTS = ("tags", "task_categories", "task_ids", "size_categories", "source_datasets", "configs")
_TAGGED = ("license", "language", "task_categories", "task_ids", "size_categories")


def is_large(path: str, *, sample: bytes, size: int, attributes: str, large_above: int) -> bool:
    """Whether the Hub wants a file in LFS: by `.gitattributes`, because it is no text, or by size.

    `sample` has its first 512 bytes; an empty file is never large.

    >>> is_large("a/b.bin", sample=b"text", size=4, attributes="*.bin filter=lfs", large_above=9)
    True
    """
    large = size > large_above or not _is_text(sample)
    by_name = False
    for line in attributes.splitlines():
        pattern, *settings = line.split() or [""]
        if _matches(path, pattern):
            for setting in settings:
                if setting.lstrip("-!").partition("=")[0] == "filter":
                    by_name = setting == "filter=lfs"
    return size > 0 and (large or by_name)


def is_ignored(path: str, rules: str) -> bool:
    """Whether the last line of a `.gitignore` about a file or a folder above it excludes it.

    Source: git-scm.com/docs/gitignore; ** is read as *, and a * may stand for slashes.

    >>> is_ignored("preview/a.parquet", "*.parquet"), is_ignored("a/b.txt", "b/")
    (True, False)
    """
    ignored = False
    for line in map(str.rstrip, rules.splitlines()):
        pattern = line.removeprefix("!").removesuffix("/")
        if pattern and not line.startswith("#"):
            paths = [*parents_of(path), *([] if line.endswith("/") else [path])]
            if any(_matches(one, pattern) for one in paths):
                ignored = not line.startswith("!")
    return ignored


def _matches(path: str, pattern: str) -> bool:
    """Whether git applies a pattern to a path: without a slash, to its last segment."""
    name = path if "/" in pattern else path.rpartition("/")[2]
    return fnmatch.fnmatchcase(name, pattern.removeprefix("/"))


def _is_text(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # may end within a character
    except UnicodeDecodeError:
        return False
    return b"\0" not in sample


def metadata(readme: str) -> dict[str, Any]:
    """The metadata of a card; Invalid, if it is no mapping or has a value in place of a list."""
    import yaml

    block = _FRONT_MATTER.match(readme)
    try:
        values = yaml.safe_load(block[1]) if block else None
    except Exception as failure:  # of any kind, where a value is not of the type that it names
        raise Invalid(f"YAML metadata in README.md cannot be read: {failure}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Invalid("YAML metadata in README.md is not a mapping of names to values")
    for key in _LISTS:
        if key in values and not isinstance(values[key], list):
            raise Invalid(f'"{key}" must be an array')
    return values


def tags(card: dict[str, Any]) -> list[str]:
    """What searches filter by: the card's own tags, and `license:mit` and the like."""
    found = [str(tag) for tag in card.get("tags", [])]
    for key in _TAGGED:
        values = card.get(key, [])
        found += [f"{key}:{value}" for value in (values if isinstance(values, list) else [values])]
    return found
