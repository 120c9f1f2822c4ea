"""Requests that huggingface_hub sends once only, sent again where the Hub is busy."""

import logging
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from d3data.hub import errors

T = TypeVar("T")
log: logging.Logger = logging.getLogger(__name__)
BUSY = frozenset({429, 503})  # HTTP statuses
WAITS = (1.0, 2.0, 4.0)  # seconds before each further try, where the Hub says nothing
LONGEST = 300.0  # seconds, the Hub's window of rate limits


def patiently(ask: Callable[[], T], *, busy: Collection[int] = BUSY) -> T:
    """What `ask` returns, tried again up to three times while its HTTP status is `busy`.

    The wait is what Retry-After says; longer ones than five minutes are left to the user.
    """
    for wait in WAITS:
        try:
            return ask()
        except Exception as failure:
            status, seconds = errors.status(failure), errors.retry_after(failure)
            seconds = wait if seconds is None else seconds
            if status not in busy or seconds > LONGEST:
                raise
            log.warning("the Hub is busy (HTTP %s): trying again in %.0f s", status, seconds)
            time.sleep(seconds)
    return ask()
