"""What a name stands for follows from how it is written, never from what exists.

digits-ipc4, digits-ipc4@1.0.0    a short name, which an index knows
org/name, org/name@1.0.0          a repository of the Hugging Face Hub
./x, ../x, /x, ~/x, x/, or a Path  a folder

After the @ comes a version `X.Y.Z` or its tag `vX.Y.Z`, a range of versions as pip takes them
(`~=1.2`, `>=1,<2`), a commit of 40 hexadecimal digits, or else a branch. Without one it is the
newest version, which is never a branch.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from d3data.errors import UnknownNameError
from d3data.hub import errors

Kind = Literal["newest", "version", "range", "commit", "branch"]

SHORT = "^[a-z0-9]+([._-][a-z0-9]+)*$"
_NUMBER = "(0|[1-9][0-9]{0,5})"
NUMBERS = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
_VERSION = re.compile(f"v?({NUMBERS})")
_SEGMENT = r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9._-]{1,96}(?<![-.])(?<!\.git)"
_REPOSITORY = re.compile(f"{_SEGMENT}/{_SEGMENT}")
_ADDRESS = re.compile(
    "(?:[a-z]+://)?(?:[^/]+/)?datasets/([^/]+/[^/?#]+)(?:/(?:tree|blob|resolve)/([^/?#]+))?"
)
_PAGE = "/d3data.json"
_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock$|/$|@\{))[A-Za-z0-9_][A-Za-z0-9_./+-]{0,249}")


@dataclass(frozen=True)
class Revision:
    """Which state of a repository: `text` is X.Y.Z, a range, 40 digits or a branch by `kind`."""

    kind: Kind
    text: str = ""

    @property
    def ref(self) -> str | None:
        """What the Hub calls it; None where versions have to be looked at first."""
        if self.kind in ("newest", "range"):
            return None
        return tag(self.text) if self.kind == "version" else self.text

    def or_branch(self, name: str) -> "Revision":
        """The same, but a branch where none was written."""
        return Revision("branch", name) if self.kind == "newest" else self

    def pick(self, versions: Iterable[str]) -> str | None:
        """The newest of some versions that it permits, if any."""
        allowed = SpecifierSet(f"=={self.text}" if self.kind == "version" else self.text)
        return max((v for v in versions if v in allowed), key=order, default=None)


NEWEST = Revision("newest")


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path


@dataclass(frozen=True)
class Short:
    """A name of an index."""

    name: str
    revision: Revision = NEWEST

    def __str__(self) -> str:
        return _joined(self.name, self.revision)


@dataclass(frozen=True)
class Repository:
    """A data set repository of the Hub, in some state."""

    name: str
    revision: Revision = NEWEST

    def __str__(self) -> str:
        return _joined(self.name, self.revision)


def parse(name: str | Path, *, revision: str | None = None) -> Folder | Short | Repository:
    """What a name is.

    Args:
        name: as a user writes it.
        revision: what comes after the @, where it is not in the name.

    Raises:
        UnknownNameError: it is no name.

    >>> parse("me/x@1.2.0").revision
    Revision(kind='version', text='1.2.0')
    """
    if not isinstance(name, str | Path):
        raise UnknownNameError(
            f"{name!r} is no name of a data set: a name is text, or the Path of a folder"
        )
    if isinstance(name, Path) or re.match(r"(\.{1,2}|~)?/|(\.{1,2}|~)$|[^@:]*/$", name):
        if revision is not None:
            raise UnknownNameError(
                f"{name} is a folder, which has no revisions such as {revision}"
            )
        return Folder(Path(name).expanduser())
    name = errors.address(name)
    base, at, after = name.partition("@")
    if at and revision is not None:
        raise UnknownNameError(f"{name!r} and revision={revision!r}: say it once, in one of them")
    wanted = parse_revision(after if revision is None else revision, given=bool(at), of=base)
    if "/" in base:
        return Repository(repository(base), wanted)
    if not re.fullmatch(SHORT, base):
        shown = errors.clean(base[:100], ())
        raise UnknownNameError(
            f"{shown!r} is no name of a data set: short names are of a-z, 0-9, - . and _, "
            f"a folder is written with a slash (./{shown}), one of the Hub as org/name"
        )
    return Short(base, wanted)


def repository(name: str) -> str:
    """The name, if it is written as one of a repository; else UnknownNameError."""
    name = errors.address(name)
    if not _REPOSITORY.fullmatch(name) or name.endswith(_PAGE):
        shown = errors.clean(name[:200], ())
        raise UnknownNameError(f"{shown!r} is no repository of the Hub: {_meant(name, shown)}")
    return name


def _meant(name: str, shown: str) -> str:
    """What to write instead of what is no name of a repository, and is shown so."""
    found = _ADDRESS.match(name)
    if found and _REPOSITORY.fullmatch(found[1]):
        return f"write {found[1]}" + (f"@{found[2]}" if found[2] else "")
    if name.endswith(_PAGE):
        return f"write the folder that the file is in, ./{shown.removesuffix(_PAGE)}"
    return f"write org/name, each of letters, digits, - . and _; for a folder write ./{shown}"


def parse_revision(text: str, *, given: bool = True, of: str = "org/name") -> Revision:
    """What comes after the @; nothing is the newest version, unless an @ was `given`."""
    if not text and not given:
        return NEWEST
    if found := _VERSION.fullmatch(text):
        return Revision("version", found[1])
    if re.fullmatch("[0-9a-f]{40}", text):
        return Revision("commit", text)
    if re.match("[~=<>!]", text):
        try:
            return Revision("range", str(SpecifierSet(text)))
        except InvalidSpecifier:
            raise UnknownNameError(
                f"{text[:100]!r} is no range of versions: write such as {of}@~=1.2 (1.2 or newer, "
                f"below 2) or '{of}@>=1.1,<1.4'"
            ) from None
    if re.fullmatch(r"v?[0-9]+(\.[0-9]+)*", text):
        raise UnknownNameError(
            f"{text[:100]!r} is no version, which has three numbers: write such as {of}@1.2.0, or "
            f"{of}@==1.2.* for the newest of them"
        )
    if not _BRANCH.fullmatch(text):
        raise UnknownNameError(
            f"{text[:100]!r} is neither a version, a range, a branch nor a commit: write such as "
            f"{of}@1.2.0 or {of}@main"
        )
    return Revision("branch", text)


def tag(version: str) -> str:
    """The tag of a version.

    >>> tag("1.2.0")
    'v1.2.0'
    """
    return f"v{version}"


def version(tag: str) -> str | None:
    """The version that a tag is of, if it is of any.

    >>> version("v1.2.0"), version("1.2.0"), version("v1.2.0-rc1")
    ('1.2.0', None, None)
    """
    found = _VERSION.fullmatch(tag)
    return found[1] if found and tag.startswith("v") else None


def order(version: str) -> Version:
    """What versions are sorted by."""
    return Version(version)


def _joined(name: str, revision: Revision) -> str:
    return f"{name}@{revision.text}" if revision.text else name
