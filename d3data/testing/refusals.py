"""How the Hub refuses: a status, an `X-Error-Code` that its client tells errors by, a message."""

from d3data.errors import D3DataError


class Refusal(D3DataError):
    """The Hub refuses a request."""

    status = 400
    code: str | None = None


class NotSignedIn(Refusal):
    """No token, or an unknown one."""

    status = 401


class Forbidden(Refusal):
    """The token does not permit this."""

    status = 403


class NoRepository(Refusal):
    """The repository is missing, or private and not the user's; the Hub does not tell which.

    It answers 401 without a token, with which one might see more, and 404 with one.
    """

    status, code = 404, "RepoNotFound"

    def __init__(self, *, signed_in: bool = True) -> None:
        super().__init__("Repository not found")
        self.status = 404 if signed_in else 401


class NoRevision(Refusal):
    """There is no such branch, tag or commit."""

    status, code = 404, "RevisionNotFound"

    def __init__(self, revision: str) -> None:
        super().__init__(f"Invalid rev id: {revision}")


class NoEntry(Refusal):
    """The revision has no such file or folder."""

    status, code = 404, "EntryNotFound"

    def __init__(self, message: str = "Entry not found") -> None:
        super().__init__(message)


class NotSupported(Refusal):
    """The URL is unknown here."""

    status = 404


class Exists(Refusal):
    """The name is taken."""

    status = 409


class Stale(Refusal):
    """The branch is no longer at the parent of the commit."""

    status = 412

    def __init__(self) -> None:
        super().__init__("A commit has happened since. Please refresh and try again.")


class Invalid(Refusal):
    """The request is malformed."""
