"""The only module that calls the Hugging Face Hub, through `huggingface_hub`.

What huggingface_hub raises becomes an error of d3data (see `errors.py`); no message has a token.
"""

import contextlib
import hashlib
import itertools
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d3data.errors import AccessError, FormatError, HubError, IntegrityError, NotCachedError
from d3data.hub import errors
from d3data.hub.retries import BUSY, patiently
from d3data.utils.canonical_json import MOST_BYTES
from d3data.utils.paths import expanded
from d3data.utils.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log: logging.Logger = logging.getLogger(__name__)
DATASET: Any = {"repo_type": "dataset"}
PROPOSE = "or propose the change to its owners: --create-pr (create_pr=True)"
OFFLINE = "HF_HUB_OFFLINE=1 or local_files_only=True forbids requests to the Hub: unset it"


@dataclass(frozen=True)
class HubOptions:
    """How a data set is looked up on the Hub."""

    revision: str | None = None  # a version, range, branch or commit, where the name has none
    cache_dir: str | Path | None = None  # by default that of HF_HUB_CACHE or HF_HOME
    token: str | bool | None = field(default=None, repr=False)  # by default that of the login
    local_files_only: bool = False  # send no request, as with HF_HUB_OFFLINE=1
    force_download: bool = False  # download again what is in the cache


DEFAULTS = HubOptions()


@dataclass(frozen=True)
class Blob:
    """A file in a repository: its size in bytes, and git's name or, if large, its sha256."""

    size: int
    oid: str
    sha256: str | None


@dataclass(frozen=True)
class Refs:
    """Commits by the names of branches, tags and pull requests (that end in their number)."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]
    pulls: Mapping[str, str]


@dataclass(frozen=True)
class NewCommit:
    """A commit that was made, and the URL of its pull request, if it is in one."""

    commit: str
    pull_request: str | None


class Client:
    """The Hub as seen with one token, and the cache that it fills."""

    root: Path
    endpoint: str

    def __init__(self, options: HubOptions = DEFAULTS) -> None:
        from huggingface_hub import constants

        token, folder = options.token, options.cache_dir
        if isinstance(token, str) and not re.fullmatch("[!-~]+", token):
            raise AccessError("the token is empty or has invalid characters: copy it again")
        self.options = options
        self.root = expanded(constants.HF_HUB_CACHE if folder is None else folder)
        self.endpoint = errors.without_password(constants.ENDPOINT)
        self.offline: bool = options.local_files_only or constants.HF_HUB_OFFLINE

    @property
    def has_token(self) -> bool:
        token = self.options.token
        return bool(_login() if token in (None, True) else token)

    def refs(self, repository: str, *, pulls: bool = False) -> Refs:
        """All names of commits; one request."""
        with self._api(repository) as api:
            found = patiently(
                lambda: api.list_repo_refs(repository, include_pull_requests=pulls, **DATASET)
            )
        kinds = (found.branches, found.tags, found.pull_requests or ())
        return Refs(*({ref.name: _commit(ref.target_commit) for ref in refs} for refs in kinds))

    def open_pull_requests(self, repository: str, *, most: int) -> dict[int, str]:
        """The commits of open pull requests by number, the newest first; two requests."""
        with self._api(repository) as api:
            options: Any = {"discussion_type": "pull_request", "discussion_status": "open"}

            def newest() -> list[int]:
                found = api.get_repo_discussions(repository, **options, **DATASET)
                return [pull.num for pull in itertools.islice(found, most)]

            numbers = patiently(newest)
        pulls = self.refs(repository, pulls=True).pulls if numbers else {}
        commits = {ref.rpartition("/")[2]: commit for ref, commit in pulls.items()}
        return {n: commits[str(n)] for n in sorted(numbers, reverse=True) if str(n) in commits}

    def commit(self, repository: str, ref: str) -> str:
        """The commit of a branch or tag; one request."""
        with self._api(f"{repository} at {ref}") as api:
            return _commit(patiently(lambda: api.dataset_info(repository, revision=ref)).sha)

    def cache_ref(self, repository: str, ref: str) -> None:
        """Store the commit of a branch or tag in the cache, if it is writable; one request."""
        try:
            with self._api(f"{repository} at {ref}") as api:
                api.resolve_revision(repository, revision=ref, cache_dir=self.root, **DATASET)
        except HubError as failure:
            log.info("%s of %s is not stored in the cache: %s", ref, repository, failure)

    def is_private(self, repository: str) -> bool:
        """Whether only users with access can see it; one request."""
        with self._api(repository) as api:
            return bool(patiently(lambda: api.dataset_info(repository)).private)

    def tree(self, repository: str, commit: str) -> dict[str, Blob]:
        """All files of a commit by path; one request for each thousand."""
        from huggingface_hub.hf_api import RepoFile

        with self._api(f"{repository} at {commit}") as api:
            return {
                file.path: Blob(file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)
                for file in api.list_repo_tree(
                    repository, revision=commit, recursive=True, **DATASET
                )
                if isinstance(file, RepoFile)
            }

    def download(self, repository: str, commit: str, path: str, *, force: bool = False) -> Path:
        """The path of a file in the cache, downloaded if missing or by `force`; two requests."""
        with self._api(f"{path} of {repository} at {commit}") as api:
            return Path(api.hf_hub_download(repository, path, **self._at(commit, force)))

    def download_all(
        self, repository: str, commit: str, paths: Iterable[str], *, force: bool = False
    ) -> None:
        """Download the files that exist, in parallel; two requests each, and one.

        huggingface_hub may leave out files that it cannot get.
        """
        with self._api(f"{repository} at {commit}") as api:
            files = list(paths)
            api.snapshot_download(repository, allow_patterns=files, **self._at(commit, force))

    def read(self, repository: str, commit: str, path: str, blob: Blob) -> bytes:
        """The content of a file of at most 4 MiB, downloaded again if it differs from `blob`."""
        if blob.size > MOST_BYTES:
            raise FormatError(
                f"{path} of {repository} has {blob.size} bytes, more than the limit of "
                f"{MOST_BYTES}: d3data did not write it; replace it with a shorter file"
            )
        for force in (False, True):
            content = read_limited(self.download(repository, commit, path, force=force))
            if is_same(blob, content):
                return content
        raise IntegrityError(
            f"{path} of {repository}: two downloads differ from the checksum that the Hub lists: "
            "a proxy may change files; try again"
        )

    def create_repo(self, repository: str, *, private: bool) -> None:
        """Create a repository, unless it exists."""
        with self._api(repository) as api:
            patiently(
                lambda: api.create_repo(
                    repository, private=private or None, exist_ok=True, **DATASET
                )
            )

    def create_commit(
        self,
        repository: str,
        files: Mapping[str, bytes | None],
        *,
        parent: str,
        message: str,
        create_pr: bool = False,
    ) -> NewCommit:
        """Commit files on `parent`, where main must be, or as a pull request; None deletes."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations = [
            CommitOperationDelete(path, is_folder=False)
            if content is None
            else CommitOperationAdd(path, content)
            for path, content in files.items()
        ]
        options: Any = {"commit_message": message, "parent_commit": parent, "create_pr": create_pr}
        busy = {429} if create_pr else BUSY  # asked again, 503 might open a second one
        with self._api(repository, denied="" if create_pr else PROPOSE) as api:
            made = patiently(
                lambda: api.create_commit(repository, operations, **options, **DATASET), busy=busy
            )
        page = None if made.pr_url is None else errors.without_password(made.pr_url)
        return NewCommit(_commit(made.oid), page)

    def create_tag(self, repository: str, tag: str, commit: str) -> None:
        """Tag a commit; ConflictError if the tag exists, wherever it points."""
        with self._api(f"{tag} of {repository}") as api:
            patiently(lambda: api.create_tag(repository, tag=tag, revision=commit, **DATASET))

    def _at(self, commit: str, force: bool) -> Any:
        return {"revision": commit, "cache_dir": self.root, "force_download": force, **DATASET}

    @contextlib.contextmanager
    def _api(self, what: str, *, denied: str = "") -> "Iterator[HfApi]":
        """What huggingface_hub raises inside the block becomes an error about `what`.

        `denied` is added where permission is missing.
        """
        if self.offline:
            raise NotCachedError(f"{what}: {OFFLINE}")
        from huggingface_hub import HfApi

        token = self.options.token
        try:
            with _bars_on_terminals():
                yield HfApi(token=token, library_name="d3data", library_version=__version__)
        except Exception as failure:  # HTTP, disk, Xet, huggingface_hub's own checks
            secrets = [str(token or ""), _login()]
            fault = errors.convert(failure, what, self.endpoint, secrets)
            if denied and errors.status(failure) == 403:
                fault = type(fault)(f"{fault}; {denied}")
            raise fault from None


def is_same(blob: Blob | None, content: bytes) -> bool:
    """Whether a file of a repository has this content."""
    if blob is None or blob.size != len(content):
        return False
    if blob.sha256 is not None:
        return blob.sha256 == hashlib.sha256(content).hexdigest()
    header = b"blob %d\0" % len(content)  # git hashes it with the content
    return blob.oid == hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def read_limited(path: Path) -> bytes:
    """The content of a file, of one that is too large only one byte more than the limit."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _commit(text: str | None) -> str:
    if text is None or not re.fullmatch("[0-9a-f]{40}", text):
        raise ValueError("the Hub names no commit" if text is None else f"{text!r} is no commit")
    return text


def _login() -> str:
    """What the user is logged in with: HF_TOKEN, or what `hf auth login` stored; "" if nothing."""
    from huggingface_hub import get_token

    with contextlib.suppress(Exception):  # it may ask a server to renew it
        return get_token() or ""
    return ""


@contextlib.contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Draw no progress bars into files, unless HF_HUB_DISABLE_PROGRESS_BARS is set."""
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
