"""Which files are large ones, and which are left out of commits, by the rules of a repository.

Large are files that `.gitattributes` says are, that are no text, or that have so many bytes.
"""

import codecs
import fnmatch

_SUFFIXES = (
    *("7z", "arrow", "bin", "bz2", "ckpt", "flac", "gif", "gz", "h5", "jpeg", "jpg", "mp3"),
    *("mp4", "msgpack", "npy", "npz", "onnx", "parquet", "pickle", "pkl", "png", "pt", "pth"),
    *("rar", "safetensors", "tar", "tgz", "wasm", "wav", "webp", "xz", "zip", "zst"),
)
ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _SUFFIXES)


def is_large(path: str, *, sample: bytes, size: int, attributes: str, large_above: int) -> bool:
    """Whether the Hub wants a file in LFS.

    Args:
        path: where the file goes.
        sample: its first 512 bytes.
        size: in bytes; an empty file is never a large one.
        attributes: the repository's `.gitattributes`.
        large_above: the size from which any file is a large one.

    >>> is_large("a/b.bin", sample=b"text", size=4, attributes="*.bin filter=lfs", large_above=9)
    True
    """
    if size == 0:
        return False
    return size > large_above or _named(path, attributes) or not _is_text(sample)


def _named(path: str, attributes: str) -> bool:
    """Whether the last line about `path` sends it through LFS."""
    large = False
    for line in attributes.splitlines():
        pattern, *settings = line.split() or [""]
        name = path if "/" in pattern else path.rpartition("/")[2]
        if fnmatch.fnmatchcase(name, pattern.removeprefix("/")):
            for setting in settings:
                if setting.lstrip("-!").partition("=")[0] == "filter":
                    large = setting == "filter=lfs"
    return large


def is_ignored(path: str, rules: str) -> bool:
    """Whether the last line of a `.gitignore` about a file or a folder above it leaves it out.

    Source: git-scm.com/docs/gitignore; ** is read as *, and a * may stand for slashes.

    >>> is_ignored("preview/a.parquet", "*.parquet"), is_ignored("a/b.txt", "b/")
    (True, False)
    """
    steps, ignored = path.split("/"), False
    above = ["/".join(steps[:count]) for count in range(1, len(steps))]
    for line in map(str.rstrip, rules.splitlines()):
        pattern = line.removeprefix("!").removesuffix("/")
        if not pattern or line.startswith("#"):
            continue
        places = above if line.endswith("/") else [*above, path]
        if "/" not in pattern:
            places = [place.rpartition("/")[2] for place in places]
        if any(fnmatch.fnmatchcase(place, pattern.removeprefix("/")) for place in places):
            ignored = not line.startswith("!")
    return ignored


def _is_text(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # may end within a character
    except UnicodeDecodeError:
        return False
    return b"\0" not in sample
