"""Exceptions of huggingface_hub, as errors of d3data that say what to do; see errors.toml.

They are recognized by the names of their classes, so that huggingface_hub is not imported here.
"""

import contextlib
import errno
import functools
import re
import tomllib
from collections.abc import Collection
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from d3data import errors
from d3data.errors import HubError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
NO_XET = "if the endpoint does not support Xet, set HF_HUB_DISABLE_XET=1 before starting d3data"
MOST = 300  # characters that are quoted of what the Hub says
_TOKEN = re.compile(r"Bearer\s+[^\s'\"]+|hf_[A-Za-z0-9_.-]{16,}")
_USER = re.compile(r"//[^/\s]*@")  # of a URL that has a password in it


def status(failure: Exception) -> int:
    """The HTTP status of an exception; 0 if it has none."""
    return getattr(getattr(_cause(failure), "response", None), "status_code", None) or 0


def retry_after(failure: Exception) -> float | None:
    """The seconds that the Hub asks to wait before it is asked again, if it says so.

    RFC 9110, section 10.2.3: a number of seconds, or a date.
    """
    said = getattr(getattr(_cause(failure), "response", None), "headers", {}).get("Retry-After")
    if said is None:
        return None
    if re.fullmatch("[0-9]{1,9}", said.strip()):
        return float(said)
    with contextlib.suppress(ValueError, TypeError):
        date = parsedate_to_datetime(said)
        return max(0.0, (date - datetime.now(date.tzinfo)).total_seconds())
    return None


def convert(failure: Exception, what: str, endpoint: str, secrets: Collection[str]) -> HubError:
    """The error for an exception about `what`, such as `org/name at v1.0.0`, without `secrets`."""
    cause, number = _cause(failure), status(failure)
    said = clean(getattr(cause, "server_message", None) or str(cause), secrets)
    said = said or type(cause).__name__
    if (seconds := retry_after(failure)) is not None:
        said = f"{said}; it asks to wait {seconds:.0f} s"
    if "xet" in said.lower():
        said = f"{said}; {NO_XET}"
    name = errno.errorcode.get(getattr(cause, "errno", None) or 0, "")
    keys = [kind.__name__ for kind in type(cause).__mro__]
    keys += [str(number), f"{number // 100}xx", name, "otherwise"]
    error, text = next(_messages()[key] for key in keys if key in _messages())
    text = text.format(hub=without_password(endpoint), said=said, log_in=LOG_IN)
    return error(f"{what}: {text}")


@functools.cache
def _messages() -> dict[str, tuple[type[HubError], str]]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {
        key: (getattr(errors, row["error"]), row["text"])
        for row in table["messages"]
        for key in row["when"]
    }


def _cause(failure: Exception) -> BaseException:
    """The exception with the reason, where huggingface_hub has wrapped it in another."""
    has_response = getattr(failure, "response", None) is not None
    wrapped = isinstance(failure, FileNotFoundError | ValueError) and not has_response
    return (failure.__cause__ if wrapped else None) or failure


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
