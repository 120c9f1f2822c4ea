"""Publish an artifact, list it under a short name, and load it by that, on a Hub of this machine.

    python examples/short_name.py ./runs/digits-ipc4/artifact

A firm does the same on the Hub itself, without LocalHub: its list is a repository, too, and
whoever sets D3DATA_INDEX to it loads its sets by name.
"""

import json
import os
import sys
import tempfile

from huggingface_hub import HfApi

import d3data
from d3data import artifact
from d3data.testing import LocalHub

LIST = "me/index"


def main(folder: str) -> int:
    """Return how many images were drawn of the set that came back."""
    name = artifact.read(folder).manifest.about.name
    with LocalHub() as hub, tempfile.TemporaryDirectory() as home, hub.using(home):
        done = d3data.publish(folder, f"me/{name}", progress=lambda at: print(at.message))
        entry = {
            "about": "distilled by me",
            "repository": done.repository,
            "version": done.version,
            "content_sha256": done.content_sha256,
        }
        api = HfApi()
        api.create_repo(LIST, repo_type="dataset")
        api.upload_file(
            path_or_fileobj=json.dumps({"format": 1, "sets": {name: entry}}).encode(),
            path_in_repo="index.json",
            repo_id=LIST,
            repo_type="dataset",
        )
        os.environ["D3DATA_INDEX"] = LIST
        data = d3data.load(name)
        images, labels = data.sample(2)
    print(
        f"{name} {data.version}: {len(images)} images of {len(labels.unique())} classes were drawn"
    )
    return len(images)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/short_name.py ./runs/NAME/artifact")
    try:
        main(sys.argv[1])
    except d3data.errors.D3DataError as failure:
        sys.exit(f"error: {failure}")
