"""From one machine to another: published here, pulled, trained on and evaluated there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hubs
from d3data import artifact
from d3data.artifact.manifest import About, Method, Provenance
from d3data.artifact.part import Part
from d3data.images.spec import Image
from d3data.images.tasks import load_task
from d3data.publishing import publish
from d3data.sources.pixels import PixelsSpec
from d3data.testing import LocalHub
from d3data.utils.rng import generator

ELSEWHERE = """
import json
import sys

import torch
from datasets import load_dataset

import d3data
from d3data.evaluation.protocols import protocols

name = sys.argv[1]
data = d3data.load(name)
images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=30)))
few = protocols["quick"].model_copy(update={"name": "few", "steps": 4, "networks": 1})
report = d3data.evaluate(name, protocol=few, baselines=())
preview = load_dataset(name, split="train")
print(json.dumps({
    "revision": data.revision,
    "shape": images.shape,
    "classes": sorted(set(labels.tolist())),
    "content": report.content_sha256,
    "trials": len(report.rows[0].trials),
    "columns": preview.column_names,
    "names": preview.features["label"].names,
    "rows": len(preview),
    "first": list(preview[0]["image"].size),
}))
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real images of each digit, as a set of the kind `pixels`."""
    task = load_task("digits")
    rng = generator(0, "pixels")
    images = torch.cat([task.train.batch(2, of=label, rng=rng)[0] for label in range(10)])
    provenance = Provenance(
        task="digits",
        license=task.license,
        source=task.source,
        fingerprint=task.fingerprint,
        images=len(task.train),
        recipe_sha256=None,
        seeds=("0",),
        versions={},
        device="cpu",
        seconds=0.0,
        date="2026-01-01",
    )
    return artifact.write(
        tmp_path_factory.mktemp("artifacts") / "digits",
        spec=PixelsSpec(),
        image=Image(channels=1, size=8, mean=task.mean, std=task.std),
        preprocessing=task.rule,
        classes=task.classes,
        parts=[Part(tuple(range(10)), (2,) * 10, {"pixels": images, "step_size": torch.ones(1)})],
        about=About(
            name="two-digits",
            version="1.0.0",
            method=Method(name="real images", reference="none"),
            provenance=provenance,
        ),
    ).folder


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_published_here_and_used_there(hub: LocalHub, digits: Path, tmp_path: Path) -> None:
    done = publish(digits, "me/digits")
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, "me/digits"],
        env={**os.environ, **hub.environment(tmp_path / "elsewhere"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "revision": done.commit,
        "shape": [20, 1, 8, 8],
        "classes": list(range(10)),
        "content": done.content_sha256,
        "trials": 1,
        "columns": ["image", "label", "item", "draw"],
        "names": [str(digit) for digit in range(10)],
        "rows": 20,
        "first": [8, 8],
    }
