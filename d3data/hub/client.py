"""The one place that speaks to the Hugging Face Hub, through its own client and never besides.

What the client raises becomes an error of ours that says what to do; no message holds a token.
"""

import contextlib
import itertools
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d3data.errors import AccessError, HubError, NotCachedError
from d3data.hub import errors
from d3data.hub.blobs import Blob
from d3data.utils.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)
SORT: Any = {"repo_type": "dataset"}


@dataclass(frozen=True)
class Refs:
    """Commits by the names of branches, tags and pull requests (`refs/pr/1`)."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]
    pulls: Mapping[str, str]


@dataclass(frozen=True)
class Made:
    """A commit that was made, and the page of the pull request that it is in, if any."""

    commit: str
    pull_request: str | None


class Client:
    """The Hub as seen with one token, and the cache that it fills.

    Args:
        token: as huggingface_hub takes it; None is what the user is logged in with.
        cache_dir: the folder of the cache; the one of HF_HUB_CACHE or HF_HOME unless given.
        local_files_only: ask nothing of the Hub, as with HF_HUB_OFFLINE=1.
    """

    def __init__(
        self,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> None:
        from huggingface_hub import constants

        if isinstance(token, str) and not re.fullmatch("[!-~]+", token):
            raise AccessError("the token is empty or has letters that no token has: copy it anew")
        self._token = token
        self.root = Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser()
        self.endpoint = errors.address(constants.ENDPOINT)
        self.offline: bool = local_files_only or constants.HF_HUB_OFFLINE

    def refs(self, repository: str, *, pulls: bool = False) -> Refs:
        """All names of commits; one request."""
        with self._asking(repository) as api:
            found = api.list_repo_refs(repository, include_pull_requests=pulls, **SORT)
        branches, tags, asked = (
            {ref.name: _commit(ref.target_commit) for ref in refs}
            for refs in (found.branches, found.tags, found.pull_requests or ())
        )
        numbered = {f"refs/{name.removeprefix('refs/')}": asked[name] for name in asked}
        return Refs(branches, tags, numbered)

    def proposals(self, repository: str, *, most: int) -> dict[int, str]:
        """The commits of pull requests that are open, the newest first; two requests."""
        with self._asking(repository) as api:
            found = api.get_repo_discussions(
                repository, discussion_type="pull_request", discussion_status="open", **SORT
            )
            numbers = [pull.num for pull in itertools.islice(found, most)]
        pulls = {number: f"refs/pr/{number}" for number in sorted(numbers, reverse=True)}
        commits = self.refs(repository, pulls=True).pulls if pulls else {}
        return {number: commits[ref] for number, ref in pulls.items() if ref in commits}

    def commit(self, repository: str, ref: str) -> str:
        """The commit of a branch or tag; one request."""
        with self._asking(f"{repository} at {ref}") as api:
            return _commit(api.dataset_info(repository, revision=ref).sha)

    def remember(self, repository: str, ref: str) -> None:
        """Note the commit of a branch or tag in the cache, if that can be done; one request."""
        try:
            with self._asking(f"{repository} at {ref}") as api:
                api.resolve_revision(repository, revision=ref, cache_dir=self.root, **SORT)
        except HubError as failure:
            log.info("%s of %s is not noted in the cache: %s", ref, repository, failure)

    def is_private(self, repository: str) -> bool:
        """Whether strangers cannot see it; one request."""
        with self._asking(repository) as api:
            return bool(api.dataset_info(repository).private)

    def tree(self, repository: str, commit: str) -> dict[str, Blob]:
        """All files of a commit by path; one request for each thousand."""
        from huggingface_hub.hf_api import RepoFile

        with self._asking(f"{repository} at {commit}") as api:
            listed = list(api.list_repo_tree(repository, revision=commit, recursive=True, **SORT))
        return {
            file.path: Blob(file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)
            for file in listed
            if isinstance(file, RepoFile)
        }

    def fetch(self, repository: str, commit: str, path: str, *, force: bool = False) -> Path:
        """Where a file is in the cache, fetched if it is not, or by `force`; two requests."""
        with self._asking(f"{path} of {repository} at {commit}") as api:
            return Path(
                api.hf_hub_download(
                    repository,
                    path,
                    revision=commit,
                    cache_dir=self.root,
                    force_download=force,
                    **SORT,
                )
            )

    def fetch_all(
        self, repository: str, commit: str, paths: Iterable[str], *, force: bool = False
    ) -> None:
        """Bring files into the cache, several at a time; two requests each, and one.

        The client leaves out what it cannot find, and may keep silent about what it cannot get.
        """
        with self._asking(f"{repository} at {commit}") as api:
            api.snapshot_download(
                repository,
                revision=commit,
                cache_dir=self.root,
                allow_patterns=list(paths),
                force_download=force,
                **SORT,
            )

    def create(self, repository: str, *, private: bool) -> None:
        """Make a repository, unless there is one."""
        with self._asking(repository) as api:
            api.create_repo(repository, private=private or None, exist_ok=True, **SORT)

    def change(
        self,
        repository: str,
        *,
        parent: str,
        put: Mapping[str, bytes],
        delete: Iterable[str],
        message: str,
        create_pr: bool = False,
    ) -> Made:
        """Make exactly one commit on the branch main, or propose it.

        Raises:
            ConflictError: main is no longer at `parent`.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [
            *(CommitOperationAdd(path, content) for path, content in put.items()),
            *(CommitOperationDelete(path, is_folder=False) for path in delete),
        ]
        with self._asking(repository) as api:
            made = api.create_commit(
                repository,
                operations,
                commit_message=message,
                parent_commit=parent,
                create_pr=create_pr,
                **SORT,
            )
        page = None if made.pr_url is None else errors.address(made.pr_url)
        return Made(_commit(made.oid), page)

    def tag(self, repository: str, tag: str, commit: str) -> None:
        """Name a commit for good; ConflictError if the tag is there, wherever it points."""
        with self._asking(f"{tag} of {repository}") as api:
            api.create_tag(repository, tag=tag, revision=commit, **SORT)

    @contextlib.contextmanager
    def _asking(self, what: str) -> "Iterator[HfApi]":
        """The client; whatever it raises inside the block becomes an error of ours."""
        if self.offline:
            raise NotCachedError(
                f"{what}: nothing may be asked of the Hub, by HF_HUB_OFFLINE=1 or "
                "local_files_only=True: unset it"
            )
        from huggingface_hub import HfApi

        try:
            api = HfApi(token=self._token, library_name="d3data", library_version=__version__)
            with _bars_on_terminals():
                yield api
        except Exception as failure:  # of every kind: HTTP, disk, Xet, the client's own checks
            secrets = [str(self._token or ""), _login()]
            raise errors.error_of(
                failure, what=what, endpoint=self.endpoint, secrets=secrets
            ) from None


def _commit(text: str | None) -> str:
    if text is None:
        raise ValueError("the Hub names no commit")
    if not re.fullmatch("[0-9a-f]{40}", text):
        raise ValueError(f"{text!r} is no commit")
    return text


def _login() -> str:
    """What the user is logged in with: HF_TOKEN, or what `hf auth login` keeps; "" if nothing."""
    from huggingface_hub import get_token

    with contextlib.suppress(Exception):  # it may ask a server to renew it
        return get_token() or ""
    return ""


@contextlib.contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Keep the client from drawing bars into files, unless its user or variable says so."""
    import huggingface_hub

    bars: Any = huggingface_hub.utils
    decided = huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    if decided or sys.stderr.isatty() or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()
