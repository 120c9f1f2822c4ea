"""Exceptions of huggingface_hub, as errors of d3data that say what to do.

They are recognized by the names of their classes, so that huggingface_hub is not imported here.
"""

import errno
import re
from collections.abc import Collection

from d3data.errors import (
    AccessError,
    ConflictError,
    HubError,
    NotCachedError,
    NotPublishedError,
    UnreachableError,
)

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
NO_XET = "if the endpoint does not support Xet, set HF_HUB_DISABLE_XET=1 before starting d3data"
MOST = 300  # characters that are quoted of what the Hub says
_TOKEN = re.compile(r"Bearer\s+[^\s'\"]+|hf_[A-Za-z0-9_.-]{16,}")
_USER = re.compile(r"//[^/\s]*@")  # of a URL that has a password in it

Row = tuple[type[HubError], str]
_UNREACHABLE: Row = (
    UnreachableError,
    "{hub} does not answer ({said}): check the connection, HF_ENDPOINT and proxies, and retry",
)
_BY_CLASS: dict[str, Row] = {
    "GatedRepoError": (
        AccessError,
        "access has to be requested from its owner: request it at {hub}/datasets, then " + LOG_IN,
    ),
    "RepositoryNotFoundError": (
        NotPublishedError,
        "{hub} has no such data set, or it is private: check the name, or " + LOG_IN,
    ),
    "RevisionNotFoundError": (NotPublishedError, "there is no such version, branch or commit"),
    "RemoteEntryNotFoundError": (
        NotPublishedError,
        "there is no such file: it is not a d3data set, or an incomplete one",
    ),
    "OfflineModeIsEnabled": (
        NotCachedError,
        "not in the cache, and HF_HUB_OFFLINE=1 forbids requests to the Hub: unset it",
    ),
    "TransportError": _UNREACHABLE,
    "ConnectionError": _UNREACHABLE,
}
_BUSY: Row = (UnreachableError, "{hub} is not available ({said}): try again later")
_CONFLICT: Row = (ConflictError, "changed by somebody else at the same time ({said}): try again")
_BY_STATUS: dict[int, Row] = {
    401: (AccessError, "{hub} requires a valid token ({said}): " + LOG_IN),
    403: (
        AccessError,
        "the token does not have permission ({said}): use one with write access to the repository",
    ),
    408: _BUSY,
    409: _CONFLICT,
    412: _CONFLICT,
    429: (
        UnreachableError,
        "too many requests to {hub} ({said}): wait some minutes; the limit is higher when you "
        "are logged in",
    ),
}
_REJECTED: Row = (
    HubError,
    "{hub} rejected the request ({said}); retrying unchanged will fail again",
)
_BY_ERRNO: dict[int, Row] = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    (
        HubError,
        "the cache cannot be written ({said}): free some space, or choose another folder with "
        "HF_HUB_CACHE or cache_dir",
    ),
)
_OTHERWISE: Row = (HubError, "huggingface_hub failed at {hub} ({said}): try again")


def convert(failure: Exception, *, what: str, endpoint: str, secrets: Collection[str]) -> HubError:
    """The error of d3data for an exception of huggingface_hub.

    `what` was requested, such as `org/name at v1.0.0`, of the Hub at the URL `endpoint`;
    `secrets` are texts that must not be quoted.
    """
    cause = _cause(failure)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    said = clean(getattr(cause, "server_message", None) or str(cause), secrets)
    said = said or type(cause).__name__
    if "xet" in said.lower():
        said = f"{said}; {NO_XET}"
    error, text = _row(cause, status)
    return error(f"{what}: {text.format(hub=without_password(endpoint), said=said)}")


def _row(cause: BaseException, status: int | None) -> Row:
    for kind in type(cause).__mro__:
        if row := _BY_CLASS.get(kind.__name__):
            return row
    if status is not None and status >= 400:
        return _BY_STATUS.get(status, _REJECTED if status < 500 else _BUSY)
    return _BY_ERRNO.get(getattr(cause, "errno", None) or 0, _OTHERWISE)


def _cause(failure: Exception) -> BaseException:
    """The exception with the reason, where huggingface_hub has wrapped it in another."""
    wrapped = isinstance(failure, FileNotFoundError | ValueError)
    if not wrapped or getattr(failure, "response", None) is not None:
        return failure
    return failure.__cause__ or failure


def without_password(url: str) -> str:
    """A URL without the user and password that may be in it.

    >>> without_password("https://me:sesame@hub.example/datasets")
    'https://hub.example/datasets'
    """
    return _USER.sub("//", url)


def clean(text: str, secrets: Collection[str] = ()) -> str:
    """One line of a text from outside, printable, without tokens and passwords."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = " ".join(_TOKEN.sub("***", without_password(text)).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
