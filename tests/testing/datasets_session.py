"""What the `datasets` library does with a Hub: python datasets_session.py

Prints the names of the steps that passed.
"""

import io
import json
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from huggingface_hub import HfApi
from PIL import Image as Picture

NAME = "me/pictures"
CARD = """---
configs:
- config_name: preview
  default: true
  data_files:
  - split: train
    path: preview/train-*.parquet
---
# Pictures
"""


def picture(value):
    return Picture.new("RGB", (4, 4), (value, 0, 0))


def push():
    rows = {"image": [picture(v) for v in (1, 2, 3)], "label": [0, 1, 1]}
    features = Features({"image": Image(), "label": ClassLabel(names=["ant", "bee"])})
    made = Dataset.from_dict(rows, features=features)
    made.push_to_hub(NAME)
    HfApi().create_tag(NAME, tag="v1.0.0", repo_type="dataset")
    made.select([2]).push_to_hub(NAME)


def load():
    found = load_dataset(NAME, split="train")
    assert found["label"] == [1]
    assert found.features["label"].names == ["ant", "bee"]
    assert found[0]["image"].getpixel((0, 0)) == (3, 0, 0)


def load_revision():
    assert list(load_dataset(NAME, split="train", revision="v1.0.0")["label"]) == [0, 1, 1]


def stream():
    found = load_dataset(NAME, split="train", revision="v1.0.0", streaming=True)
    assert [row["label"] for row in found] == [0, 1, 1]


def load_configs():
    table = io.BytesIO()
    pq.write_table(pa.table({"label": [7, 8]}), table)
    api, repo = HfApi(), {"repo_id": "me/cards", "repo_type": "dataset"}
    api.create_repo(**repo)
    for path, content in (
        ("preview/train-00000.parquet", table.getvalue()),
        ("d3data.json", b'{"a": 1}'),
        ("README.md", CARD.encode()),
    ):
        api.upload_file(path_or_fileobj=content, path_in_repo=path, **repo)
    assert load_dataset("me/cards", split="train")["label"][:] == [7, 8]


STEPS = (push, load, load_revision, stream, load_configs)

if __name__ == "__main__":
    for step in STEPS:
        step()
    passed = [step.__name__ for step in STEPS]
    sys.stdout.write(json.dumps({"client": datasets.__version__, "passed": passed}))
