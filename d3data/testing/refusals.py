"""How the Hub refuses: a status, an `X-Error-Code` that its client tells errors by, a message."""

from d3data.errors import D3DataError


class Refusal(D3DataError):
    """The Hub refuses a request."""

    status = 400
    code: str | None = None
    message = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


class Invalid(Refusal):
    """The request is malformed."""


class NotSignedIn(Refusal):
    """No token, or an unknown one."""

    status, message = 401, "Invalid username or password."


class Forbidden(Refusal):
    """The token does not permit this."""

    status = 403


class NoRepository(Refusal):
    """The repository is missing, or private and not the user's; the Hub does not tell which.

    It answers 401 without a token, with which one might see more, and 404 with one.
    """

    status, code, message = 404, "RepoNotFound", "Repository not found"


class NoRevision(Refusal):
    """There is no such branch, tag or commit."""

    status, code = 404, "RevisionNotFound"

    def __init__(self, revision: str) -> None:
        super().__init__(f"Invalid rev id: {revision}")


class NoEntry(Refusal):
    """The revision has no such file or folder."""

    status, code, message = 404, "EntryNotFound", "Entry not found"


class NotSupported(Refusal):
    """The URL is unknown here."""

    status = 404


class Exists(Refusal):
    """The name is taken."""

    status = 409


class Stale(Refusal):
    """The branch is no longer at the parent of the commit."""

    status, message = 412, "A commit has happened since. Please refresh and try again."
