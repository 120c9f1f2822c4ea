"""What d3data does with a Hub, with whichever client is here: python d3data_session.py FOLDER.

Prints the names of the steps that passed.
"""

import json
import sys
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import torch

import d3data
from d3data.errors import NotPublishedError
from d3data.evaluation.protocols import protocols
from d3data.hub import index
from d3data.hub.resolve import resolve
from d3data.publishing import publish as publish_set

SET, NAME = index.ZOO / "digits-ipc4", "me/digits"


def publish(folder):
    done = publish_set(SET, NAME)
    assert done.created
    again = publish_set(SET, NAME)
    assert (again.commit, again.changes) == (done.commit, ())
    proposed = [publish_set(SET, NAME, version="2.0.0", create_pr=True) for _ in range(2)]
    assert proposed[0].pull_request == proposed[1].pull_request


def load_elsewhere(folder):
    data = d3data.load(NAME, cache_dir=folder / "elsewhere")
    images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=len(data))))
    assert images.shape == (1280, 1, 8, 8)
    assert set(labels.tolist()) == set(range(10))


def load_again(folder):
    first = d3data.load(NAME)
    kept = d3data.load(f"{NAME}@{first.version}", local_files_only=True)
    assert kept.revision == first.revision


def evaluate(folder):
    resolve(NAME, extras=True)  # of which evaluation reads the recipe
    few = protocols["quick"].model_copy(update={"name": "few", "steps": 4, "networks": 1})
    report = d3data.evaluate(NAME, protocol=few, baselines=())
    assert report.content_sha256 == d3data.load(SET).artifact.manifest.content_sha256
    assert len(report.rows[0].trials) == 1


def load_preview(folder):
    preview = datasets.load_dataset(NAME, split="train")
    assert preview.column_names == ["image", "label", "item", "draw"]
    assert preview.features["label"].names == [str(digit) for digit in range(10)]
    assert preview[0]["image"].size == (8, 8)


def load_nothing(folder):
    with pytest.raises(NotPublishedError, match="no such data set"):
        d3data.load("me/nothing")


STEPS = (publish, load_elsewhere, load_again, evaluate, load_preview, load_nothing)

if __name__ == "__main__":
    for step in STEPS:
        step(Path(sys.argv[1]))
    passed = [step.__name__ for step in STEPS]
    sys.stdout.write(json.dumps({"client": huggingface_hub.__version__, "passed": passed}))
