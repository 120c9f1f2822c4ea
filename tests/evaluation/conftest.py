"""A task, a protocol and a distilled set that are small."""

import pytest
import torch

import made
from d3data import artifact, nets
from d3data.artifact.part import Part
from d3data.data.dataset import DistilledDataset
from d3data.evaluation import evaluate, trial_training
from d3data.evaluation.protocols import Protocol
from d3data.images.spec import Image
from d3data.images.tasks import load_task
from d3data.nets import NetworkSpec, count_flops
from d3data.sources.decoders import DecoderSpec
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.pixels import PixelsSpec
from d3data.utils.rng import generator
from toys import image_of

COUNTED = {}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Counts the operations of like networks once, and draws curves of few images."""

    def count(network, shape):
        key = str(network), shape
        return COUNTED.get(key) or COUNTED.setdefault(key, count_flops(network, shape))

    monkeypatch.setattr(nets, "count_flops", count)
    monkeypatch.setattr(trial_training, "MOST_VALIDATED", 50)


@pytest.fixture(scope="session")
def digits():
    return load_task("digits")


@pytest.fixture(scope="session")
def task(digits):
    return digits.subtask([0, 1, 2])


@pytest.fixture(scope="session")
def tiny():
    return Protocol(
        name="tiny",
        version=1,
        network=NetworkSpec(width=4),
        networks=2,
        steps=12,
        batch=16,
        learning_rates=(0.05,),
        augment="siamese-noflip",
    )


@pytest.fixture(scope="session")
def report(pixels, tiny):
    """Of the protocol `tiny` on three images of each digit."""
    return evaluate(pixels, protocol=tiny, baselines="random", date="2026-01-02", resume=False)


@pytest.fixture(scope="session")
def written(digits):
    """Writes three real images of each digit, as a distilled set of the kind `pixels`."""
    rng = generator(0, "pixels")
    images = torch.cat([digits.train.batch(3, of=label, rng=rng)[0] for label in range(10)])
    whose = {"task": "digits", "fingerprint": digits.fingerprint}
    provenance = made.ABOUT.provenance.model_copy(update=whose)
    about = {"name": "three-digits", "version": "1.0.0", "provenance": provenance}
    usual = {
        "spec": PixelsSpec(),
        "image": Image(channels=1, size=8, mean=digits.mean, std=digits.std),
        "preprocessing": digits.rule,
        "classes": digits.classes,
        "parts": [
            Part(tuple(range(10)), (3,) * 10, {"pixels": images, "step_size": torch.ones(1)})
        ],
        "about": made.ABOUT.model_copy(update=about),
    }
    return lambda folder, **changes: DistilledDataset(
        artifact.write(folder, **usual | changes), output="normalized"
    )


@pytest.fixture(scope="session")
def pixels(written, tmp_path_factory):
    return written(tmp_path_factory.mktemp("artifacts") / "pixels")


@pytest.fixture(scope="session")
def priors(digits, tmp_path_factory):
    """Gaussian priors of the digits, of two decoders; classes have different counts."""
    spec = GaussianSpec(decoder=DecoderSpec(family="small", width=4, noise=3), residual=True)
    image = image_of(digits)
    counts = [((0, 2, 4, 6, 8), (2, 1, 3, 1, 2)), ((1, 3, 5, 7, 9), (1, 4, 1, 2, 1))]

    def random(seed, classes, items):
        shapes = made.registry.layout(spec, image, items=sum(items), classes=5, labels=10)
        values = {n: made.uniform(s, seed, k) for k, (n, s) in enumerate(shapes.items())}
        values["labels"] = values["labels"].softmax(1)
        return Part(classes, items, {n: t.abs() if n == "std" else t for n, t in values.items()})

    found = artifact.write(
        tmp_path_factory.mktemp("priors") / "a",
        spec=spec,
        image=image,
        preprocessing=digits.rule,
        classes=digits.classes,
        parts=[random(seed, *some) for seed, some in enumerate(counts)],
        about=made.ABOUT,
        labels=made.SOFT,
        draws_per_class=4,
    )
    return DistilledDataset(found, output="normalized")
