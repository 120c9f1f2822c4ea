"""What d3data does with a Hub, with whichever client is here: python d3data_session.py FOLDER.

Prints the names of the steps that passed.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import datasets
import huggingface_hub
import pytest

import d3data
import made
from d3data.errors import NotPublishedError
from d3data.publishing import publish as publish_set

NAME = "me/toys"


def publish(folder):
    artifact = made.write(folder / "toys").folder
    done = publish_set(artifact, NAME)
    assert done.created
    again = publish_set(artifact, NAME)
    assert (again.commit, again.changes) == (done.commit, ())
    proposed = [publish_set(artifact, NAME, version="2.0.0", create_pr=True) for _ in range(2)]
    assert proposed[0].pull_request == proposed[1].pull_request


def load_cold(folder):
    assert d3data.load(NAME).version == "1.2.3"


def load_warm(folder):
    asked = d3data.load(NAME)
    kept = d3data.load(f"{NAME}@1.2.3", local_files_only=True)
    assert kept.revision == asked.revision


def load_preview(folder):
    assert datasets.load_dataset(NAME, split="train")["draw"][0] == 0


def load_nothing(folder):
    with pytest.raises(NotPublishedError, match="no such data set"):
        d3data.load("me/nothing")


STEPS = (publish, load_cold, load_warm, load_preview, load_nothing)

if __name__ == "__main__":
    for step in STEPS:
        step(Path(sys.argv[1]))
    passed = [step.__name__ for step in STEPS]
    sys.stdout.write(json.dumps({"client": huggingface_hub.__version__, "passed": passed}))
