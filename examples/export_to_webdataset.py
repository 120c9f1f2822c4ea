"""Write draws of a distilled set as WebDataset shards, and read them with two workers.

python examples/export_to_webdataset.py ./runs/digits-ipc4/artifact ./shards
"""

import sys
from pathlib import Path

import webdataset

import d3data


def main(name: str, out: str, draws_per_class: int = 100) -> int:
    """Return how many images came back."""
    data = d3data.load(name, seed=1)
    d3data.export(data, out, format="webdataset", draws_per_class=draws_per_class)
    shards = [str(path) for path in sorted(Path(out).glob("shard-*.tar"))]
    read = webdataset.WebDataset(shards, shardshuffle=100).shuffle(1000)
    batches = read.decode("torchrgb").to_tuple("png", "cls").batched(64)
    loader = webdataset.WebLoader(batches, batch_size=None, num_workers=2)
    seen = 0
    for images, labels in loader:  # (B, 3, H, W) float32 from 0 to 1, and (B,) classes
        assert len(images) == len(labels)
        seen += len(images)
    print(f"{seen} images of {len(data.classes)} classes in {out}")
    return seen


if __name__ == "__main__":
    main(*sys.argv[1:])
