"""Sources as an objective sees them: rounded, and decoded in another precision."""

import pytest
import torch

import tiny_runs as runs
import toys
from d3data import artifact, distill
from d3data.artifact.quantize import Quantization
from d3data.distill.straight_through import StraightThrough
from d3data.nets.compute import Compute

HALF = Compute(decoding="bfloat16")


def gradients(source, seen):
    images = seen.images(torch.arange(len(source.classes)), torch.Generator().manual_seed(1))
    tensors = [p for p in source.parameters() if p.requires_grad]
    found = torch.autograd.grad(images.square().mean(), tensors, allow_unused=True)
    flat = torch.cat([g.flatten() for g in found if g is not None])
    return images, flat


@pytest.mark.parametrize("kind", toys.SPECS)
@pytest.mark.parametrize("stored", [Quantization(), Quantization(priors="int4", decoder="int8")])
def test_decoding_in_bfloat16_differs_by_its_rounding_alone(kind, stored):
    source = toys.source(kind)
    exact, wanted = gradients(source, StraightThrough(source, stored))
    images, found = gradients(source, StraightThrough(source, stored, HALF))
    assert images.dtype == found.dtype == torch.float32
    assert (images - exact).abs().max() <= 2**-5 * exact.abs().max()
    assert torch.cosine_similarity(found, wanted, dim=0) > 0.99
    assert torch.equal(images, exact) == (kind == "pixels")


def test_what_is_not_rounded_is_seen_as_it_is():
    source = toys.source("gaussian")
    plain, gradient = gradients(source, source)
    seen, same = gradients(source, StraightThrough(source, Quantization()))
    assert torch.equal(plain, seen)
    assert torch.equal(gradient, same)


@pytest.mark.parametrize(
    ("compute", "compiles"), [({"decoding": "bfloat16"}, True), ({"decoding": "float32"}, False)]
)
def test_decoders_are_compiled_where_networks_are(compute, compiles, monkeypatch):
    seen = []
    source = toys.source("spatial")
    monkeypatch.setattr(type(source), "compile_decoder", lambda self: seen.append(self))
    StraightThrough(source, Quantization(), Compute(compile=True, **compute))
    assert seen == [source] * compiles


@pytest.mark.parametrize("kind", ["gaussian", "spatial"])
def test_what_is_compiled_computes_the_same(kind, monkeypatch):
    source = toys.source(kind).double()
    exact, wanted = gradients(source, source)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    images, found = gradients(source, source)
    assert torch.allclose(images, exact, rtol=0, atol=1e-12)
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_recipe_says_so(tmp_path):
    """And those that do not say it are what they were."""
    recipes = [runs.recipe(compute=compute) for compute in ({}, {"decoding": "bfloat16"})]
    assert ["decoding" in recipe.dump()["compute"] for recipe in recipes] == [False, True]
    parts = []
    for number, recipe in enumerate(recipes):
        distill.run(recipe, out=tmp_path / str(number), executor="inline", workers=1)
        parts.append(artifact.read(tmp_path / str(number) / "artifact").part(0).tensors["mean"])
    assert not torch.equal(*parts)
    assert (parts[0] - parts[1]).abs().max() < 0.1 * parts[0].abs().max()
