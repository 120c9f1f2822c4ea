"""What the Hub's client raises, as an error of ours that says what to do.

Its errors are told by the names of their classes, so that nothing of it is imported here.
"""

import errno
import re
from collections.abc import Collection
from typing import Any

from d3data.errors import (
    AccessError,
    ConflictError,
    HubError,
    NotCachedError,
    NotPublishedError,
    UnreachableError,
)

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
NO_XET = "where an endpoint has no Xet, set HF_HUB_DISABLE_XET=1 before d3data is started"
MOST = 300  # letters of what the Hub says that are told on
_TOKEN = re.compile(r"Bearer\s+[^\s'\"]+|hf_[A-Za-z0-9_.-]{16,}")
_USER = re.compile(r"//[^/\s]*@")  # of an address that has a password in it
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def error_of(
    failure: Exception, *, what: str, endpoint: str, secrets: Collection[str]
) -> HubError:
    """The error for what the client raised.

    Args:
        failure: what it raised.
        what: what was asked for, such as `org/name at v1.0.0`.
        endpoint: the address of the Hub.
        secrets: texts that must not be told.
    """
    cause = _cause(failure)
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    status = getattr(getattr(cause, "response", None), "status_code", None)
    said = clean(getattr(cause, "server_message", None) or str(cause), secrets)
    said = said or type(cause).__name__
    if "xet" in said.lower():
        said = f"{said}; {NO_XET}"
    found = next((row for row in _BY_KIND if kinds.intersection(row[0])), None)
    found = found or next((row for row in _BY_STATUS if status in row[0]), None)
    if found is None and getattr(cause, "errno", None) in _NO_SPACE:
        found = _NOT_WRITTEN
    _, error, text = found or _OTHERWISE
    return error(text.format(what=what, hub=address(endpoint), said=said))


def address(url: str) -> str:
    """An address as it may be shown: without the user and password that may be in it.

    >>> address("https://me:sesame@hub.example/datasets")
    'https://hub.example/datasets'
    """
    return _USER.sub("//", url)


def clean(text: str, secrets: Collection[str]) -> str:
    """One line of a text that others wrote, printable and without tokens and passwords."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = " ".join(_TOKEN.sub("***", address(text)).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."


def _cause(failure: Exception) -> BaseException:
    """What the client failed for, where it only says that it did; what was answered says all."""
    wrapped = isinstance(failure, FileNotFoundError | ValueError)
    if not wrapped or getattr(failure, "response", None) is not None:
        return failure
    return failure.__cause__ or failure


Row = tuple[Collection[Any], type[HubError], str]

_BY_KIND: tuple[Row, ...] = (
    (
        {"GatedRepoError"},
        AccessError,
        "{what}: its owner wants to be asked first: ask at {hub}/datasets, then " + LOG_IN,
    ),
    (
        {"RepositoryNotFoundError"},
        NotPublishedError,
        "{what}: {hub} has no such data set, or it is private: check the name, or " + LOG_IN,
    ),
    (
        {"RevisionNotFoundError"},
        NotPublishedError,
        "{what}: there is no such version, branch or commit",
    ),
    (
        {"RemoteEntryNotFoundError"},
        NotPublishedError,
        "{what}: there is no such file: it is no set of d3data, or not a whole one",
    ),
    (
        {"OfflineModeIsEnabled"},
        NotCachedError,
        "{what}: not in the cache, and HF_HUB_OFFLINE=1 forbids to ask: unset it",
    ),
    (
        {"TransportError", "ConnectionError"},
        UnreachableError,
        "{what}: {hub} does not answer ({said}): check the connection, HF_ENDPOINT and proxies, "
        "then try again",
    ),
)
_BY_STATUS: tuple[Row, ...] = (
    (
        (401,),
        AccessError,
        "{what}: {hub} wants to know who asks ({said}): " + LOG_IN,
    ),
    (
        (403,),
        AccessError,
        "{what}: the token may not do this ({said}): use one with the right to write there",
    ),
    (
        (409, 412),
        ConflictError,
        "{what}: somebody else was there first ({said}): try again",
    ),
    (
        (429,),
        UnreachableError,
        "{what}: {hub} was asked too often ({said}): wait some minutes; who is logged in may "
        "ask more",
    ),
    (
        (408, *range(500, 600)),
        UnreachableError,
        "{what}: {hub} cannot answer at the moment ({said}): try again later",
    ),
    (
        range(400, 500),
        HubError,
        "{what}: {hub} does not take this ({said}): it will not take it unchanged",
    ),
)
_NOT_WRITTEN: Row = (
    (),
    HubError,
    "{what}: the cache cannot be written ({said}): free some space, or give another place with "
    "HF_HUB_CACHE or cache_dir",
)
_OTHERWISE: Row = ((), HubError, "{what}: the client of {hub} failed ({said}): try again")
