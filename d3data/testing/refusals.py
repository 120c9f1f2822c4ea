"""How the Hub refuses: a status, an `X-Error-Code` that its client tells errors by, a message."""

from d3data.errors import D3DataError


class Refusal(D3DataError):
    """The Hub refuses a request."""

    status: int = 400
    code: str | None = None
    usual: str = ""  # what it says if it is given no message

    def __init_subclass__(
        cls, status: int = 400, code: str | None = None, usual: str = ""
    ) -> None:
        cls.status, cls.code, cls.usual = status, code, usual

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.usual)


class Invalid(Refusal):
    """The request is malformed."""


class NotSignedIn(Refusal, status=401, usual="Invalid username or password."):
    """No token, or an unknown one."""


class Forbidden(Refusal, status=403):
    """The token does not permit this."""


class NoRepository(Refusal, status=404, code="RepoNotFound", usual="Repository not found"):
    """The repository is missing, or private and not the user's; the Hub does not tell which.

    It answers 401 without a token, with which one might see more, and 404 with one.
    """


class NoRevision(Refusal, status=404, code="RevisionNotFound"):
    """There is no such branch, tag or commit."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"Invalid rev id: {revision}")


class NoEntry(Refusal, status=404, code="EntryNotFound", usual="Entry not found"):
    """The revision has no such file or folder."""


class NotSupported(Refusal, status=404):
    """The URL is unknown here."""


class Exists(Refusal, status=409):
    """The name is taken."""


class Stale(
    Refusal, status=412, usual="A commit has happened since. Please refresh and try again."
):
    """The branch is no longer at the parent of the commit."""
