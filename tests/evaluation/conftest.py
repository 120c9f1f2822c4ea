"""A task, a protocol and a distilled set that are small."""

import pytest
import torch

import made
from d3data import artifact
from d3data.artifact.manifest import About, Method, Provenance
from d3data.artifact.part import Part
from d3data.data.dataset import DistilledDataset
from d3data.evaluation import evaluate
from d3data.evaluation.protocols import Protocol
from d3data.images.spec import Image
from d3data.images.tasks import load_task
from d3data.nets import NetworkSpec
from d3data.sources.specs import DecoderSpec, GaussianSpec, PixelsSpec
from d3data.utils.rng import generator
from toys import image_of


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
    return evaluate(pixels, protocol=tiny, date="2026-01-02", resume=False)


@pytest.fixture(scope="session")
def pixels(digits, tmp_path_factory):
    """Three real images of each digit, as a distilled set of the kind `pixels`."""
    rng = generator(0, "pixels")
    images = torch.cat([digits.train.batch(3, of=label, rng=rng)[0] for label in range(10)])
    provenance = Provenance(
        task="digits",
        license=digits.license,
        source=digits.source,
        fingerprint=digits.fingerprint,
        images=len(digits.train),
        recipe_sha256=None,
        seeds=("0",),
        versions={},
        device="cpu",
        seconds=0.0,
        date="2026-01-01",
    )
    written = artifact.write(
        tmp_path_factory.mktemp("artifacts") / "pixels",
        spec=PixelsSpec(),
        image=Image(channels=1, size=8, mean=digits.mean, std=digits.std),
        preprocessing=digits.rule,
        classes=digits.classes,
        parts=[Part(tuple(range(10)), (3,) * 10, {"pixels": images, "step_size": torch.ones(1)})],
        about=About(
            name="three-digits",
            version="1.0.0",
            method=Method(name="real images", reference="none"),
            provenance=provenance,
        ),
    )
    return DistilledDataset(written)


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
    return DistilledDataset(found, output="normalised")
