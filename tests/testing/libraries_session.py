"""What d3data and `datasets` do with a Hub, with whichever client is here: python ... FOLDER.

Prints the names of the steps that passed.
"""

import json
import sys
from pathlib import Path

import datasets
import huggingface_hub
import torch
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from PIL import Image as Picture

import d3data
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


def load(folder):
    data = d3data.load(NAME, cache_dir=folder / "elsewhere")
    images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=len(data))))
    assert images.shape == (1280, 1, 8, 8)
    assert set(labels.tolist()) == set(range(10))
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
    preview = load_dataset(NAME, split="train")
    assert preview.column_names == ["image", "label", "item", "draw"]
    assert preview.features["label"].names == [str(digit) for digit in range(10)]
    assert preview[0]["image"].size == (8, 8)


def push_pictures(folder):
    rows = {"image": [Picture.new("RGB", (4, 4), (v, 0, 0)) for v in (1, 2, 3)]}
    features = Features({"image": Image(), "label": ClassLabel(names=["ant", "bee"])})
    made = Dataset.from_dict(rows | {"label": [0, 1, 1]}, features=features)
    made.push_to_hub("me/pictures")
    huggingface_hub.create_tag("me/pictures", tag="v1.0.0", repo_type="dataset")
    made.select([2]).push_to_hub("me/pictures")


def load_pictures(folder):
    newest = load_dataset("me/pictures", split="train")
    assert newest["label"] == [1]
    assert newest.features["label"].names == ["ant", "bee"]
    assert newest[0]["image"].getpixel((0, 0)) == (3, 0, 0)
    for streaming in (False, True):
        first = load_dataset("me/pictures", split="train", revision="v1.0.0", streaming=streaming)
        assert [row["label"] for row in first] == [0, 1, 1]


STEPS = (publish, load, evaluate, load_preview, push_pictures, load_pictures)

if __name__ == "__main__":
    for step in STEPS:
        step(Path(sys.argv[1]))
    passed = [step.__name__ for step in STEPS]
    versions = {"client": huggingface_hub.__version__, "datasets": datasets.__version__}
    sys.stdout.write(json.dumps({**versions, "passed": passed}))
