"""How the Hub says no: a status, an `X-Error-Code` that its client tells errors by, a message.

Refusal
├── NotSignedIn        401  no token, or one that nobody has
├── Forbidden          403  a token that may not do this
├── NoRepository       404  RepoNotFound: missing, or private and not yours
├── NoRevision         404  RevisionNotFound
├── NoEntry            404  EntryNotFound
├── Exists             409  the name is taken
├── Stale              412  somebody committed in the meantime
└── Invalid            400  the request makes no sense
"""

from d3data.errors import D3DataError


class Refusal(D3DataError):
    """The Hub says no."""

    status = 400
    code: str | None = None


class NotSignedIn(Refusal):
    """No token, or one that nobody has."""

    status = 401


class Forbidden(Refusal):
    """The user of this token may not do this."""

    status = 403


class NoRepository(Refusal):
    """The repository is missing, or private and not the user's; the Hub does not tell which.

    It answers 401 to whoever has no token, who might see more with one, and 404 to users.
    """

    status = 404
    code = "RepoNotFound"

    def __init__(self, *, signed_in: bool = True) -> None:
        super().__init__("Repository not found")
        self.status = 404 if signed_in else 401


class NoRevision(Refusal):
    """No branch, tag or commit is called so."""

    status = 404
    code = "RevisionNotFound"

    def __init__(self, revision: str) -> None:
        super().__init__(f"Invalid rev id: {revision}")


class NoEntry(Refusal):
    """The revision has no such file or folder."""

    status = 404
    code = "EntryNotFound"

    def __init__(self, message: str = "Entry not found") -> None:
        super().__init__(message)


class NotSpoken(Refusal):
    """The address means nothing here."""

    status = 404


class Exists(Refusal):
    """The name is taken."""

    status = 409


class Stale(Refusal):
    """The branch is no longer at the parent that the commit names."""

    status = 412

    def __init__(self) -> None:
        super().__init__("A commit has happened since. Please refresh and try again.")


class Invalid(Refusal):
    """The request makes no sense."""
