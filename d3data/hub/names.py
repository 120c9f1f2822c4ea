"""Names of data sets: resolved by their spelling alone, never by which files exist.

digits-ipc4, digits-ipc4@1.0.0    a short name of an index
org/name, org/name@1.0.0          a repository of the Hugging Face Hub
./x, ../x, /x, ~/x, x/, or a Path  a folder

After the @ comes a version `X.Y.Z` or its tag `vX.Y.Z`, a range of versions as pip takes them
(`~=1.2`, `>=1,<2`), a commit of 40 hexadecimal digits, or else a branch. Without one it is the
newest version, which is never a branch.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from d3data.errors import UnknownNameError
from d3data.hub.errors import clean, without_password
from d3data.utils.paths import expanded

Kind = Literal["newest", "version", "range", "commit", "branch"]

SHORT = "^[a-z0-9]+([._-][a-z0-9]+)*$"
_NUMBER = "(0|[1-9][0-9]{0,5})"
NUMBERS = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
_VERSION = re.compile(f"v?({NUMBERS})")
_SEGMENT = r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9._-]{1,96}(?<![-.])(?<!\.git)"
_REPOSITORY = re.compile(f"{_SEGMENT}/{_SEGMENT}")
_URL = re.compile(
    "(?:[a-z]+://)?(?:[^/]+/)?datasets/([^/]+/[^/?#]+)(?:/(?:tree|blob|resolve)/([^/?#]+))?"
)
_MANIFEST = "/d3data.json"
_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock$|/$|@\{))[A-Za-z0-9_][A-Za-z0-9_./+-]{0,249}")


@dataclass(frozen=True)
class Revision:
    """A revision: `text` is X.Y.Z, a range, 40 hexadecimal digits or a branch, by `kind`."""

    kind: Kind
    text: str = ""

    @property
    def ref(self) -> str | None:
        """Its name on the Hub; None where the versions have to be listed first."""
        if self.kind in ("newest", "range"):
            return None
        return tag(self.text) if self.kind == "version" else self.text

    def or_branch(self, name: str) -> "Revision":
        """The same, but this branch where no revision was written."""
        return Revision("branch", name) if self.kind == "newest" else self

    def pick(self, versions: Iterable[str]) -> str | None:
        """The newest of the versions that match, if any."""
        allowed = SpecifierSet(f"=={self.text}" if self.kind == "version" else self.text)
        return max((v for v in versions if v in allowed), key=order, default=None)


NEWEST = Revision("newest")


@dataclass(frozen=True)
class Folder:
    """A folder on this machine."""

    path: Path


@dataclass(frozen=True)
class _Revised:
    name: str
    revision: Revision = NEWEST

    def __str__(self) -> str:
        return f"{self.name}@{self.revision.text}" if self.revision.text else self.name


class Short(_Revised):
    """A short name."""


class Repository(_Revised):
    """A data set repository of the Hub, at a revision."""


def parse(name: str | Path, *, revision: str | None = None) -> Folder | Short | Repository:
    """The meaning of a name as a user writes it; `revision` is what may come after the @.

    >>> parse("me/x@1.2.0").revision
    Revision(kind='version', text='1.2.0')
    """
    if not isinstance(name, str | Path):
        raise UnknownNameError(
            f"{name!r} is not a valid data set name: it must be a str, or the Path of a folder"
        )
    if isinstance(name, Path) or re.match(r"(\.{1,2}|~)?/|(\.{1,2}|~)$|[^@:]*/$", name):
        if revision is not None:
            raise UnknownNameError(f"{name} is a folder, which has no revision {revision}")
        return Folder(expanded(name))
    name = without_password(name)
    if is_images(name):
        raise UnknownNameError(
            f"{clean(name[:100])!r} are real images, not a distilled set: distill them first "
            "(`d3data init`, `d3data distill`); only `d3data evaluate`, `audit` and `compare` "
            "take real images, with --task"
        )
    base, at, after = name.partition("@")
    if at and revision is not None:
        raise UnknownNameError(f"{name!r} and revision={revision!r}: give the revision once")
    wanted = parse_revision(after if revision is None else revision, given=bool(at), of=base)
    if "/" in base:
        return Repository(repository(base), wanted)
    if not re.fullmatch(SHORT, base):
        shown = clean(base[:100])
        raise UnknownNameError(
            f"{shown!r} is not a valid data set name: short names consist of a-z, 0-9, -, . and "
            f"_; write a folder with a slash (./{shown}), a data set of the Hub as org/name"
        )
    return Short(base, wanted)


def is_images(name: str) -> bool:
    """Whether it names images that nobody distilled.

    >>> is_images("hf:me/x"), is_images("torchvision:MNIST:/x"), is_images("hf://datasets/me/x")
    (True, True, False)
    """
    return re.match("(hf:(?!//)|torchvision:)", name) is not None


def repository(name: str) -> str:
    """The name, if it is a valid name of a repository; else UnknownNameError."""
    name = without_password(name)
    if _REPOSITORY.fullmatch(name) and not name.endswith(_MANIFEST):
        return name
    shown = clean(name[:200])
    meant = f"write org/name, each of letters, digits, -, . and _; for a folder write ./{shown}"
    url = _URL.match(name)
    if url and _REPOSITORY.fullmatch(url[1]):
        meant = f"write {url[1]}" + (f"@{url[2]}" if url[2] else "")
    elif name.endswith(_MANIFEST):
        meant = f"write the folder of the file, ./{shown.removesuffix(_MANIFEST)}"
    raise UnknownNameError(f"{shown!r} is not a valid repository name: {meant}")


def parse_revision(text: str, *, given: bool = True, of: str = "org/name") -> Revision:
    """The revision written after an @; nothing is the newest version, unless an @ was `given`."""
    if not text and not given:
        return NEWEST
    if version := _VERSION.fullmatch(text):
        return Revision("version", version[1])
    if re.fullmatch("[0-9a-f]{40}", text):
        return Revision("commit", text)
    if _BRANCH.fullmatch(text) and not re.fullmatch(r"v?[0-9]+(\.[0-9]+)*", text):
        return Revision("branch", text)
    if re.match("[~=<>!]", text):
        with contextlib.suppress(InvalidSpecifier):
            return Revision("range", str(SpecifierSet(text)))
    raise UnknownNameError(
        f"{text[:100]!r} is not a valid revision: write a version of three numbers ({of}@1.2.0), "
        f"a range ({of}@~=1.2, {of}@==1.2.*), a branch ({of}@main) or a commit of 40 digits"
    )


def tag(version: str) -> str:
    """The tag of a version."""
    return f"v{version}"


def version(tag: str) -> str | None:
    """The version of a tag, if it is one.

    >>> version("v1.2.0"), version("1.2.0"), version("v1.2.0-rc1")
    ('1.2.0', None, None)
    """
    match = _VERSION.fullmatch(tag)
    return match[1] if match and tag.startswith("v") else None


def order(version: str) -> Version:
    """The sort key of versions."""
    return Version(version)
