"""Latents of a generator: the network against a naive one, its cuts, and its memory."""

import math

import pytest
import torch
from torch.nn import functional as F

import toys
from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources import generator, registry, sampling
from d3data.sources.generator import GeneratorSpec
from d3data.sources.synthesis import Synthesis, SynthesisSpec, random_weights, sizes

NETWORK = SynthesisSpec(width=12, base=64, styles=5)


def image(size, channels=3):
    return Image(channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels)


def network(size, seed=3):
    own = sizes(NETWORK, image(size))
    whole = Synthesis(own).requires_grad_(False)
    whole.load_state_dict(random_weights(own, seed))
    styles = torch.randn(4, own.pixels + 1, 5, generator=torch.manual_seed(0))
    return whole, styles


@pytest.mark.parametrize("size", [8, 24, 28, 32])
def test_a_cut_before_any_layer_makes_the_same_images(size):
    whole, styles = network(size)
    own = whole.sizes
    images = whole(None, None, styles)
    assert images.shape == (4, 3, size, size)
    for layer in range(own.pixels + 1):
        features, before = whole.through(None, None, styles, layer)
        shapes = own.cut(layer)
        rest = Synthesis(own, layer).requires_grad_(False)
        rest.load_state_dict({name: whole.state_dict()[name] for name in own.shapes(layer)})
        if layer == own.pixels:
            edge = (before.shape[-1] - size) // 2
            before = before[..., edge : edge + size, edge : edge + size]
            assert (features, own.shapes(layer)) == (None, {})
        given = {"features": features if layer else None, "image": before}
        given["styles"] = styles[:, layer:] if layer < own.pixels else None
        found = {name: tuple(one.shape[1:]) for name, one in given.items() if one is not None}
        assert found == shapes
        torch.testing.assert_close(rest(*given.values()), images, atol=1e-5, rtol=1e-5)


def naive_layer(x, style, layer, *, up):
    """Karras et al. 2020: weights of each image of their own, zeros between what is doubled."""
    made = []
    for one, scale in zip(x, layer.affine(style), strict=True):
        weight = layer.weight * scale[None, :, None, None]
        if weight.shape[-1] == 3:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = one[None]
        if up:  # each pixel among zeros, the filter, and a convolution in its strict sense
            one = F.pad(naive_doubled(one, before=3, after=2), (0, 0, 0, 0))
            one = F.conv2d(one, weight.flip((2, 3)))
        else:
            one = F.conv2d(one, weight, padding=weight.shape[-1] // 2)
        made.append(one + layer.bias[:, None, None])
    return torch.cat(made)


def naive_doubled(x, *, before, after):
    b, c, h, w = x.shape
    zeros = x.new_zeros(b, c, 2 * h, 2 * w)
    zeros[..., ::2, ::2] = x
    taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 8
    kernel = (4 * torch.outer(taps, taps)).expand(c, 1, 4, 4)
    return F.conv2d(F.pad(zeros, (before, after, before, after)), kernel, groups=c)


def test_the_network_is_that_of_stylegan2():
    whole, styles = network(16)
    whole, styles = whole.double(), styles.double()
    x, rgb = whole.const.expand(4, -1, -1, -1), None
    for n in range(whole.sizes.pixels):
        x = naive_layer(x, styles[:, n], whole.convs[str(n)], up=n % 2 == 1)
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
        if n % 2 == 0:
            added = naive_layer(x, styles[:, n + 1], whole.rgbs[str(n // 2)], up=False)
            rgb = added if rgb is None else naive_doubled(rgb, before=2, after=1) + added
    torch.testing.assert_close(whole(None, None, styles), rgb, atol=1e-10, rtol=1e-10)


def test_weights_of_a_seed_are_its_noise_by_the_order_of_names():
    own = sizes(NETWORK, image(16))
    weights, names = random_weights(own, 11), sorted(own.shapes())
    number = names.index("convs.1.weight")
    values = sampling.noise(11, number, 0, values=12 * 8 * 9)
    assert torch.equal(weights["convs.1.weight"].flatten(), torch.from_numpy(values[0]))
    first = torch.tensor([0.4529112, -0.119975425])
    torch.testing.assert_close(weights["const"].flatten()[:2], first, rtol=1e-6, atol=0)
    assert torch.equal(weights["convs.1.affine.bias"], torch.ones(12))
    assert not weights["rgbs.0.bias"].any()


def test_a_seed_takes_no_bytes_and_is_not_optimized():
    source = toys.source("generator")
    assert {*source.state_dict()} == {"maps.features", "maps.image", "styles", "step_size"}
    assert {name for name, _ in source.named_parameters()} == {*source.state_dict()}
    assert {*toys.source("generator-stored").state_dict()} > {"decoder.const", "styles"}


@pytest.mark.parametrize("kind", ["generator", "generator-stored"])
@pytest.mark.parametrize("objective", ["mtt", "dc", "dm", "dd"])
def test_gradients_are_those_of_images_with_a_graph(objective, kind, monkeypatch, tmp_path):
    name = {"dc": "dsa-looped"}.get(objective, objective)
    experts = toys.experts(tmp_path) if objective == "mtt" else None
    monkeypatch.setattr(generator, "AT_ONCE", 2 * toys.source(kind).values_per_image)
    made = []
    for plainly in (False, True):
        if plainly:
            monkeypatch.setattr(generator, "checkpoint", lambda make, *given, **_: make(*given))
        source = toys.source(kind)
        source.train_only(("maps", "styles", "decoder"))
        losses = toys.OBJECTIVES[name].losses(source, toys.context(experts, steps=2))
        [*map(torch.Tensor.backward, losses)]
        made.append({n: p.grad for n, p in source.named_parameters() if p.requires_grad})
    assert made[0].keys() == made[1].keys()
    for key, again in made[0].items():
        assert (again - made[1][key]).norm() <= 1e-5 * made[1][key].norm(), key


def test_no_graph_of_the_generator_is_kept(monkeypatch):
    spec = GeneratorSpec(network=SynthesisSpec(width=64, styles=4), layer=3, seed=0)
    classes = torch.zeros(8, dtype=torch.int64)
    source = registry.blank(spec, image(32), classes=classes, step_size=1)
    source.train_only(("maps", "styles"))

    own = {one.data_ptr() for one in (*source.parameters(), *source.buffers())}

    def kept():
        values = []

        def keep(tensor):
            values.append(tensor.numel() if tensor.data_ptr() not in own else 0)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = source.images(torch.arange(8), None)
        assert made.requires_grad
        return sum(values)

    latents = 8 * source.latent_shape[0]
    assert kept() <= 4 * latents
    monkeypatch.setattr(generator, "checkpoint", lambda make, *given, **_: make(*given))
    assert kept() > 20 * latents


@pytest.mark.parametrize(("size", "last"), [(8, 3), (32, 7), (128, 11), (512, 15)])
def test_a_layer_that_there_is_not_is_refused(size, last):
    GeneratorSpec(network=NETWORK, layer=last, seed=0).layout(image(size), items=1, classes=1)
    if last < 15:
        beyond = GeneratorSpec(network=NETWORK, layer=last + 1, seed=0)
        with pytest.raises(RecipeError, match=f"layer is {last + 1}: .* layers 0 to {last}"):
            beyond.layout(image(size), items=1, classes=1)
