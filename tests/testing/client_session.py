"""All that a client does, with whichever huggingface_hub is here: python client_session.py FOLDER.

Asks for the Hub of its environment, where GET of */cut.bin breaks off once. Every step stands on
the ones before it. Prints the names of the steps that passed.
"""

import hashlib
import json
import os
import random
import sys
import warnings
from pathlib import Path

import huggingface_hub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    HfFileSystem,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

NAME, SORT = "me/flowers", {"repo_type": "dataset"}
CARD = "---\nlicense: mit\ntags:\n- d3data\n---\n# Flowers\n"


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def refused(error, call, *arguments, status=None, **words):
    try:
        call(*arguments, **words)
    except error as failure:
        if status is not None and failure.response.status_code != status:
            raise
        return failure
    raise AssertionError(f"{call} was not refused")


class Session:
    """The steps, in order; `folder` is for its files."""

    def __init__(self, folder):
        self.folder, self.api = folder, HfApi()

    def commit(self, *operations, **words):
        words = {"commit_message": "a commit", **SORT, **words}
        return self.api.create_commit(NAME, operations, **words).oid

    def head(self, revision=None):
        return self.api.dataset_info(NAME, revision=revision).sha

    def names(self, revision=None):
        return sorted(self.api.list_repo_files(NAME, revision=revision, **SORT))

    def step_whoami(self):
        assert self.api.whoami()["name"] == "me"
        refused(HfHubHTTPError, self.api.whoami, token="hf_nobody", status=401)

    def step_create_repo(self):
        url = self.api.create_repo(NAME, **SORT)
        assert url.repo_id == NAME
        assert url.repo_type == "dataset"
        assert self.api.create_repo(NAME, exist_ok=True, **SORT) == url
        refused(HfHubHTTPError, self.api.create_repo, NAME, **SORT, status=409)

    def step_upload_folder(self):
        out = self.folder / "flowers"
        (out / "parts").mkdir(parents=True)
        (out / "README.md").write_text(CARD)
        (out / "d3data.json").write_text("{}")
        (out / "empty.txt").write_bytes(b"")
        (out / "parts" / "000.safetensors").write_bytes(noise(5000, 1))
        (out / "preview.png").write_bytes(noise(900, 2))
        self.upload = {"repo_id": NAME, "folder_path": out, **SORT}
        self.api.upload_folder(**self.upload)
        assert len(self.names()) == 6
        before = self.head()
        self.api.upload_folder(**self.upload)
        assert self.head() == before
        assert len(self.api.list_repo_commits(NAME, **SORT)) == 2

    def step_create_commit(self):
        self.old = self.head()
        self.first = self.commit(
            CommitOperationAdd("report.json", b"[1]"),
            CommitOperationAdd("b.bin", noise(300)),
            parent_commit=self.old,
        )
        assert self.head() == self.first
        add = CommitOperationAdd("report.json", b"[2]")
        error = refused(HfHubHTTPError, self.commit, add, parent_commit=self.old, status=412)
        assert "A commit has happened since" in str(error)
        assert self.head() == self.first

    def step_delete_patterns(self):
        (self.folder / "flowers" / "d3data.json").write_text('{"a":1}')
        self.api.upload_folder(**self.upload, delete_patterns="*.bin")
        assert "b.bin" not in self.names()

    def step_copy(self):
        source, target = "parts/000.safetensors", "copy.safetensors"
        self.commit(CommitOperationCopy(source, target), CommitOperationDelete("report.json"))
        found = self.api.get_paths_info(NAME, [source, target], **SORT)
        assert len({info.lfs.sha256 for info in found}) == 1

    def step_tags(self):
        self.tagged = self.head()
        tag = {"repo_id": NAME, "tag": "v1.0.0", **SORT}
        self.api.create_tag(**tag, revision=self.tagged, tag_message="first")
        refused(HfHubHTTPError, self.api.create_tag, **tag, status=409)
        self.api.create_tag(**tag, revision=self.first, exist_ok=True)
        missing = {**tag, "tag": "v2", "revision": "nowhere"}
        refused(RevisionNotFoundError, self.api.create_tag, **missing)
        self.commit(CommitOperationAdd("later.txt", b"later"))
        refs = self.api.list_repo_refs(NAME, **SORT)
        assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1.0.0", self.tagged)]
        assert refs.branches[0].target_commit == self.head() != self.tagged

    def step_branches(self):
        branch = {"repo_id": NAME, "branch": "side/way", **SORT}
        self.api.create_branch(**branch, revision="v1.0.0")
        refused(HfHubHTTPError, self.api.create_branch, **branch, status=409)
        main = self.head()
        side = self.commit(CommitOperationAdd("s.txt", b"s"), revision="side/way")
        assert (self.head("side/way"), self.head()) == (side, main)
        self.api.delete_branch(**branch)
        refused(RevisionNotFoundError, self.head, "side/way")

    def step_pull_request(self):
        main = self.head()
        words = {"commit_message": "please", "create_pr": True, **SORT}
        made = self.api.create_commit(NAME, [CommitOperationAdd("p.txt", b"p")], **words)
        assert made.pr_revision == "refs/pr/1"
        assert self.head() == main
        again = self.commit(CommitOperationAdd("q.txt", b"q"), revision="refs/pr/1")
        assert self.head("refs/pr/1") == again
        refs = self.api.list_repo_refs(NAME, include_pull_requests=True, **SORT)
        assert refs.pull_requests[0].target_commit == again
        for number in range(2, 5):
            self.api.create_commit(NAME, [CommitOperationAdd(f"p{number}", b"p")], **words)
        found = self.api.get_repo_discussions(NAME, discussion_type="pull_request", **SORT)
        assert [(pull.num, pull.status) for pull in found] == [
            (number, "open") for number in (4, 3, 2, 1)
        ]
        others = self.api.get_repo_discussions(NAME, discussion_type="discussion", **SORT)
        assert list(others) == []

    def step_info(self):
        info = self.api.dataset_info(NAME, revision="v1.0.0", files_metadata=True)
        sizes = {file.rfilename: file.size for file in info.siblings}
        assert sizes["parts/000.safetensors"] == 5000
        assert info.card_data.license == "mit"
        assert set(info.tags) == {"d3data", "license:mit"}
        part = next(file for file in info.siblings if file.rfilename.endswith("000.safetensors"))
        assert part.lfs.sha256 == hashlib.sha256(noise(5000, 1)).hexdigest()
        assert self.api.dataset_info(NAME, expand=["sha", "tags"]).sha == self.head()

    def step_tree(self):
        tree = list(self.api.list_repo_tree(NAME, recursive=True, **SORT))
        assert {entry.path for entry in tree} == {*self.names(), "parts"}
        inside = list(self.api.list_repo_tree(NAME, "parts", expand=True, **SORT))
        assert inside[0].last_commit.title == "Upload folder using huggingface_hub"
        with_error = self.api.list_repo_tree(NAME, "nothing", **SORT)
        refused(EntryNotFoundError, list, with_error)
        paths = ["README.md", "parts", "nothing"]
        found = self.api.get_paths_info(NAME, paths, **SORT)
        assert {info.path for info in found} == {"README.md", "parts"}

    def step_commits(self):
        found = self.api.list_repo_commits(NAME, formatted=True, **SORT)
        assert [found[0].commit_id, found[-1].title] == [self.head(), "initial commit"]
        assert found[0].authors == ["me"]

    def step_exists(self):
        assert self.api.repo_exists(NAME, **SORT)
        assert not self.api.repo_exists("me/none", **SORT)
        assert self.api.revision_exists(NAME, "v1.0.0", **SORT)
        assert not self.api.revision_exists(NAME, "v9", **SORT)
        assert self.api.file_exists(NAME, "README.md", **SORT)
        assert not self.api.file_exists(NAME, "nothing", **SORT)

    def step_snapshot(self):
        by_tag = Path(snapshot_download(NAME, revision="v1.0.0", **SORT))
        assert by_tag.name == self.tagged
        assert (by_tag / "parts" / "000.safetensors").read_bytes() == noise(5000, 1)
        assert (by_tag / "empty.txt").read_bytes() == b""
        assert Path(snapshot_download(NAME, revision=self.tagged, **SORT)) == by_tag
        refused(RevisionNotFoundError, snapshot_download, NAME, revision="v9", **SORT)
        refused(RepositoryNotFoundError, snapshot_download, "me/none", **SORT)
        found = self.api.verify_repo_checksums(NAME, revision=self.tagged, **SORT)
        assert (found.checked_count, found.mismatches) == (len(self.names("v1.0.0")), [])

    def step_download(self):
        path = hf_hub_download(NAME, "preview.png", **SORT)
        assert Path(path).read_bytes() == noise(900, 2)
        refused(EntryNotFoundError, hf_hub_download, NAME, "nothing", **SORT)

    def step_large_file_over_a_cut_connection(self):
        large = noise(10_600_000)  # clients write what they download every 10 MiB
        self.commit(CommitOperationAdd("cut.bin", large))
        path = hf_hub_download(NAME, "cut.bin", **SORT)
        assert Path(path).read_bytes() == large

    def step_local_dir(self):
        out = self.folder / "local"
        snapshot_download(NAME, revision="v1.0.0", local_dir=out, **SORT)
        assert (out / "d3data.json").read_text() == '{"a":1}'

    def step_filesystem(self):
        files = HfFileSystem()
        listed = files.ls(f"datasets/{NAME}", detail=False)
        assert f"datasets/{NAME}/README.md" in listed
        with files.open(f"datasets/{NAME}@v1.0.0/parts/000.safetensors", "rb") as file:
            file.seek(1000)
            assert file.read(500) == noise(5000, 1)[1000:1500]
        with files.open(f"datasets/{NAME}/written.txt", "w") as file:
            file.write("by fsspec")
        assert files.cat_file(f"datasets/{NAME}/written.txt") == b"by fsspec"
        files.invalidate_cache()
        assert len(files.glob(f"datasets/{NAME}/**/*.safetensors")) == 2

    def step_card(self):
        card = DatasetCard(CARD.replace("# Flowers", "# More flowers"))
        if huggingface_hub.__version__.startswith("1."):  # asks huggingface.co to check the card
            self.commit(CommitOperationAdd("README.md", str(card).encode()))
        else:
            card.push_to_hub(NAME, **SORT)
        assert "# More flowers" in DatasetCard.load(NAME).text
        broken = CommitOperationAdd("README.md", b"---\ntags: [a\n---\n")
        assert "Invalid metadata" in str(refused(ValueError, self.commit, broken))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            self.commit(CommitOperationAdd("README.md", b"# No metadata\n"))
        assert any("empty or missing yaml metadata" in str(one.message) for one in seen)

    def step_delete_files_and_tags(self):
        self.api.delete_file("later.txt", NAME, **SORT)
        self.api.delete_folder("parts", NAME, **SORT)
        assert not {"later.txt", "parts/000.safetensors"} & set(self.names())
        refused(EntryNotFoundError, self.api.delete_file, "later.txt", NAME, **SORT)
        self.api.delete_tag(NAME, tag="v1.0.0", **SORT)
        refused(RevisionNotFoundError, self.api.delete_tag, NAME, tag="v1.0.0", **SORT)
        assert self.head(self.tagged) == self.tagged

    def step_models_and_spaces(self):
        for kind, words in (("model", {}), ("space", {"space_sdk": "static"})):
            self.api.create_repo("me/other", repo_type=kind, **words)
            what = {"path_or_fileobj": noise(99), "path_in_repo": "x.bin"}
            self.api.upload_file(**what, repo_id="me/other", repo_type=kind)
            path = hf_hub_download("me/other", "x.bin", repo_type=kind)
            assert Path(path).read_bytes() == noise(99)
            assert self.api.repo_info("me/other", repo_type=kind).id == "me/other"
        assert [model.id for model in self.api.list_models()] == ["me/other"]

    def step_private_and_rights(self):
        self.api.create_repo("me/secret", private=True, **SORT)
        assert self.api.dataset_info("me/secret").private
        refused(RepositoryNotFoundError, self.api.dataset_info, "me/secret", token=False)
        self.api.update_repo_settings("me/secret", private=False, **SORT)
        assert not self.api.dataset_info("me/secret", token=False).private
        refused(HfHubHTTPError, self.api.create_repo, "you/x", **SORT, status=403)
        add = CommitOperationAdd("x.txt", b"x")
        refused(HfHubHTTPError, self.commit, add, token=False, status=401)

    def step_list(self):
        for number in range(5):
            self.api.create_repo(f"me/many-{number}", **SORT)
        assert len(list(self.api.list_datasets(search="MANY"))) == 5
        assert len(list(self.api.list_datasets(search="many", limit=3))) == 3
        self.api.upload_file(
            path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id="me/many-2", **SORT
        )
        assert [found.id for found in self.api.list_datasets(filter="d3data")] == ["me/many-2"]
        assert [found.id for found in self.api.list_datasets(author="you")] == []

    def step_move(self):
        self.api.move_repo("me/many-0", "me/moved", **SORT)
        assert self.api.dataset_info("me/moved").id == "me/moved"
        assert self.api.dataset_info("me/many-0").id == "me/moved"
        clash = {"from_id": "me/moved", "to_id": NAME, **SORT}
        refused(HfHubHTTPError, self.api.move_repo, **clash, status=409)

    def step_delete_repo(self):
        self.api.delete_repo(NAME, **SORT)
        assert not self.api.repo_exists(NAME, **SORT)
        refused(RepositoryNotFoundError, self.api.delete_repo, NAME, **SORT)
        self.api.delete_repo(NAME, missing_ok=True, **SORT)


STEPS = [name for name in vars(Session) if name.startswith("step_")]


def run(folder):
    """Take all steps; their names."""
    session = Session(folder)
    for name in STEPS:
        getattr(session, name)()
    return STEPS


if __name__ == "__main__":
    assert os.environ["HF_ENDPOINT"].startswith("http://127.0.0.1:")
    passed = run(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({"client": huggingface_hub.__version__, "passed": passed}))
