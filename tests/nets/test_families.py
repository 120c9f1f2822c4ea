"""All networks: published parameter counts, shapes, gradients, seeds, norms, what is refused."""

import json

import pydantic
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from d3data import nets
from d3data.errors import TrainingError, UnknownNameError
from d3data.nets import norms
from d3data.nets.resnet import Block
from d3data.nets.vit import Attention, patch_size
from d3data.utils.rng import generator, seeded

NARROW = {
    "alexnet": {"width": 16},
    "convnet": {"width": 8},
    "lenet": {},
    "mlp": {"width": 8},
    "resnet18": {"width": 8},
    "resnet18-ap": {"width": 8},
    "vgg11": {"width": 8},
    "vit": {"width": 64, "depth": 2},
    "vit-tiny": {"width": 64, "depth": 2},
}
REFUSED = {("lenet", "group"), ("mlp", "instance")} | {
    (name, norm) for name in ("vit", "vit-tiny") for norm in ("batch", "instance", "group")
}
BUILT = [
    (n, norm) for n in nets.list_networks() for norm in norms.NAMES if (n, norm) not in REFUSED
]
KINDS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)


def narrow(name, *, channels=1, size=16, classes=3, seed=0, **options):
    options = {**NARROW[name], **options}
    return nets.build(name, channels=channels, size=size, classes=classes, seed=seed, **options)


def pictures(count, channels=1, size=16, dtype=torch.float32):
    return torch.randn(count, channels, size, size, generator=generator(0, "i"), dtype=dtype)


def copy(theirs, ours):
    """Give one network the other's parameters, in order."""
    pairs = zip(theirs.parameters(), ours.parameters(), strict=True)
    for target, parameter in pairs:
        target.data.copy_(parameter.data)


def test_every_family_is_tried_here():
    assert nets.list_networks() == list(NARROW)


@pytest.mark.parametrize(
    ("name", "channels", "size", "classes", "parameters"),
    [
        # Qin, Deng & Alvarez-Melis 2024, measured on their code
        ("convnet", 3, 32, 10, 320_010),
        ("convnet", 3, 32, 100, 504_420),
        ("convnet", 1, 32, 10, 317_706),
        ("convnet", 3, 64, 200, 857_160),
        ("convnet", 3, 64, 500, 1_471_860),
        ("convnet", 3, 64, 1000, 2_496_360),
        ("alexnet", 3, 32, 10, 1_872_202),
        ("alexnet", 3, 64, 200, 4_299_272),
        ("alexnet", 3, 64, 1000, 14_130_472),
        ("vgg11", 3, 32, 10, 9_231_114),
        ("vgg11", 3, 64, 200, 9_635_784),
        ("vgg11", 3, 64, 1000, 11_274_984),
        ("resnet18-ap", 3, 32, 10, 11_250_762),
        ("resnet18-ap", 3, 64, 200, 17_722_632),
        ("resnet18-ap", 3, 64, 1000, 43_937_832),
        ("vit", 3, 32, 10, 16_145_930),
        ("vit", 3, 64, 200, 16_249_544),
        ("vit", 3, 64, 1000, 16_659_944),
        # widely known
        ("lenet", 3, 32, 10, 62_006),
        ("lenet", 1, 28, 10, 61_706),
        ("resnet18", 3, 32, 10, 11_173_962),
        ("vit-tiny", 3, 224, 1000, 5_717_416),
        # by hand
        ("mlp", 3, 32, 10, 3072 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
        ("mlp", 1, 28, 10, 784 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
    ],
)
def test_parameter_counts_are_the_published_ones(name, channels, size, classes, parameters):
    with torch.device("meta"):
        network = nets.build(name, channels=channels, size=size, classes=classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("size", [8, 14, 28, 32, 64, 96, 224, 512])
@pytest.mark.parametrize("name", nets.list_networks())
def test_every_family_takes_every_usual_size(name, size):
    with torch.device("meta"):
        for channels in (1, 3):
            network = narrow(name, channels=channels, size=size, classes=7)
            images = torch.empty(2, channels, size, size)
            assert network.features(images).shape == (2, network.classifier.in_features)
            assert network(images).shape == (2, 7)


NORM_LAYERS = dict.fromkeys(("convnet", "lenet", "mlp"), 2) | dict.fromkeys(("vit", "vit-tiny"), 5)
NORM_LAYERS |= {"alexnet": 5, "vgg11": 8, "resnet18": 20, "resnet18-ap": 20}


@pytest.mark.parametrize(("name", "norm"), BUILT)
def test_every_norm_is_there_and_passes_gradients_to_every_parameter(name, norm):
    for size in (8, 18):
        network = narrow(name, size=size, norm=norm)
        layers = [layer for layer in network.modules() if isinstance(layer, KINDS)]
        assert len(layers) == (0 if norm == "none" else NORM_LAYERS[name])
        assert all(isinstance(layer, _BatchNorm) for layer in layers) or norm != "batch"
        logits = network(pictures(5, size=size))
        F.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1])).backward()
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            if parameter.ndim > 1:
                assert parameter.grad.count_nonzero() > 0, parameter_name


@pytest.mark.parametrize("name", ["alexnet", "convnet", "lenet", "mlp", "vgg11"])
def test_norms_come_between_a_layer_and_its_relu(name):
    layers = list(narrow(name, norm="layer").body)
    for before, norm, after in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(norm, KINDS):
            assert isinstance(before, nn.Conv2d | nn.Linear)
            assert isinstance(after, nn.ReLU)


@pytest.mark.parametrize("norm", ["instance", "group", "layer"])
def test_norms_of_maps_agree_with_their_definitions(norm):
    maps = pictures(3, channels=8, size=5, dtype=torch.float64)
    groups = {"instance": 8, "group": 4, "layer": 1}[norm]
    grouped = maps.unflatten(1, (groups, -1)).flatten(2)
    mean = grouped.mean(2, keepdim=True)
    variance = (grouped - mean).square().mean(2, keepdim=True)
    expected = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(maps.shape)
    torch.testing.assert_close(norms.normalize(norm, 8).double()(maps), expected)


@pytest.mark.parametrize("name", nets.list_networks())
def test_a_seed_gives_the_weights_and_leaves_the_global_generator(name):
    before = torch.get_rng_state()
    first, again, other = (narrow(name, seed=seed) for seed in (0, 0, 1))
    nets.check(name, channels=1, size=16, classes=3)
    assert torch.equal(before, torch.get_rng_state())
    with seeded(0, "network"):
        by_hand = narrow(name, seed=None)
    for parameter, same, hand in zip(
        first.parameters(), again.parameters(), by_hand.parameters(), strict=True
    ):
        assert torch.equal(parameter, same)
        assert torch.equal(parameter, hand)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize(("name", "norm"), BUILT)
def test_in_evaluation_an_image_does_not_see_its_batch(name, norm):
    network = narrow(name, norm=norm)
    images = pictures(4)
    network(images)  # moves the statistics of batch norms
    network.eval()
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
        assert torch.equal(together, network.classifier(network.features(images)))
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("name", nets.list_networks())
def test_gradients_have_gradients(name):
    network = narrow(name)
    images = pictures(3).requires_grad_()
    loss = F.cross_entropy(network(images), torch.tensor([0, 1, 2]))
    first = next(iter(network.parameters()))
    (gradient,) = torch.autograd.grad(loss, first, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    assert second.isfinite().all()
    assert second.count_nonzero() > 0


@pytest.mark.parametrize(
    ("name", "least"),
    [("lenet", 32), ("alexnet", 32), ("vgg11", 32), ("resnet18", 16), ("resnet18-ap", 16)],
)
def test_small_images_are_centered_in_zeros(name, least):
    small, large = narrow(name, size=9), narrow(name, size=least)
    images = pictures(2, size=9)
    before = (least - 9) // 2
    after = least - 9 - before
    assert torch.equal(small(images), large(F.pad(images, (before, after, before, after))))


def test_alexnet_is_the_published_one():
    network = narrow("alexnet", channels=3, size=32).double()
    layers = iter(layer for layer in network.body if isinstance(layer, nn.Conv2d))
    images = maps = pictures(2, channels=3, size=32, dtype=torch.float64)
    for padding, pooled in ((2, True), (2, True), (1, False), (1, False), (1, True)):
        layer = next(layers)
        maps = F.conv2d(maps, layer.weight, layer.bias, padding=padding).relu()
        maps = F.max_pool2d(maps, 2) if pooled else maps
    torch.testing.assert_close(network.features(images), maps.flatten(1))


def test_lenet_is_the_published_one():
    network = narrow("lenet", size=28).double()
    first, second = (layer for layer in network.body if isinstance(layer, nn.Conv2d))
    third, fourth = (layer for layer in network.body if isinstance(layer, nn.Linear))
    images = pictures(2, size=28, dtype=torch.float64)
    maps = F.max_pool2d(F.conv2d(images, first.weight, first.bias, padding=2).relu(), 2)
    rows = F.max_pool2d(second(maps).relu(), 2).flatten(1)
    torch.testing.assert_close(network.features(images), fourth(third(rows).relu()).relu())


def test_resnet18_is_torchvisions_with_the_stem_for_small_images():
    ours = nets.build("resnet18", channels=3, size=32, classes=4, width=64, seed=0).eval()
    theirs = torchvision.models.resnet18(num_classes=4).eval()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    copy(theirs, ours)
    images = pictures(2, channels=3, size=32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_the_fields_resnet_block_pools_after_its_first_norm():
    with seeded(0, "network"):
        block = Block(3, 8, stride=2, pooled=True, norm="instance").double()
    maps = pictures(2, channels=3, size=8, dtype=torch.float64)
    first, norm, _, _, second, last = block.main
    shortcut, _, shortcut_norm = block.shortcut
    inner = F.avg_pool2d(norm(first(maps)).relu(), 2)
    expected = last(second(inner)) + shortcut_norm(F.avg_pool2d(shortcut(maps), 2))
    torch.testing.assert_close(block(maps), expected.relu())
    assert block(maps).shape == (2, 8, 4, 4)


def test_vgg11_is_torchvisions_before_its_classifier():
    ours = nets.build("vgg11", channels=3, size=32, classes=4, norm="batch", seed=0).eval()
    with torch.device("meta"):
        theirs = torchvision.models.vgg11_bn().features
    theirs = theirs.to_empty(device="cpu").eval()
    copy(theirs, ours.body)
    for target, buffer in zip(theirs.buffers(), ours.buffers(), strict=True):
        target.copy_(buffer)
    images = pictures(1, channels=3, size=32)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(images), theirs(images).flatten(1))


@pytest.mark.parametrize("bias", [True, False])
def test_attention_agrees_with_torch(bias):
    with seeded(0, "network"):
        ours = Attention(128, bias=bias).double()
    tokens = torch.randn(2, 5, 128, generator=generator(0, "t"), dtype=torch.float64)
    shared = ours.queries_keys_values
    none = torch.zeros(3 * 128, dtype=torch.float64)
    expected, _ = F.multi_head_attention_forward(
        *[tokens.transpose(0, 1)] * 3,
        *(128, 2, shared.weight, shared.bias if bias else none, None, None, False, 0.0),
        *(ours.out.weight, ours.out.bias),
    )
    torch.testing.assert_close(ours(tokens), expected.transpose(0, 1))


def test_vit_tiny_is_torchvisions_transformer():
    ours = nets.build("vit-tiny", channels=3, size=16, classes=4, width=128, depth=2, seed=0)
    theirs = torchvision.models.VisionTransformer(
        image_size=16, patch_size=2, num_layers=2, num_heads=2, hidden_dim=128, mlp_dim=512,
        num_classes=4, norm_layer=nn.LayerNorm,
    )  # fmt: skip
    tokens, *layers, _, last = ours.body
    theirs.conv_proj.load_state_dict(tokens.patches.state_dict())
    theirs.class_token.data.copy_(tokens.read.data)
    theirs.encoder.pos_embedding.data.copy_(tokens.positions.data)
    for target, layer in zip(theirs.encoder.layers, layers, strict=True):
        copy(target, layer)
    copy(theirs.encoder.ln, last)
    copy(theirs.heads, ours.classifier)
    images = pictures(2, channels=3)
    torch.testing.assert_close(ours(images), theirs(images))


def test_patches_of_the_field_are_16_px_where_they_fit():
    patches = {size: patch_size(size, least=2) for size in (8, 28, 30, 32, 48, 64, 224, 512)}
    assert patches == {8: 4, 28: 4, 30: 2, 32: 16, 48: 16, 64: 16, 224: 16, 512: 16}


@pytest.mark.parametrize(
    ("name", "size", "options", "says"),
    [
        ("convnet", 8, {"depth": 4}, "from 1 to 3"),
        ("vit", 27, {}, "use images of 16 or 32 px"),
        ("vit-tiny", 250, {}, "use images of 240 or 256 px"),
        ("vit", 7, {}, "use images of 16 px"),
        ("vit", 600, {}, "use images of 512 px"),
        ("vit", 32, {"width": 100}, "multiple of 64, not 100"),
        ("vit", 32, {"norm": "batch"}, "no batch norm of tokens: choose none, layer"),
        ("mlp", 8, {"norm": "instance"}, "no instance norm of vectors"),
        ("lenet", 32, {"norm": "group"}, "6 channels do not divide"),
        ("convnet", 32, {"norm": "group", "width": 6}, "6 channels do not divide"),
        ("lenet", 32, {"width": 8}, "lenet has no choice of width"),
        ("vgg11", 32, {"depth": 8}, "vgg11 has no choice of depth"),
        ("convnet", 32, {"width": 0}, "convnet: width: .*greater than or equal to 1"),
    ],
)
def test_what_a_network_cannot_take_is_refused_with_what_it_can(name, size, options, says):
    for refuse in (nets.build, nets.check):
        with pytest.raises(TrainingError, match=says):
            refuse(name, channels=3, size=size, classes=2, **options)


def test_names_that_do_not_exist_are_answered_with_near_ones():
    shape = {"channels": 1, "size": 8, "classes": 2}
    for wrong, says in {
        "convnt": "did you mean convnet",
        "resnet19": "did you mean resnet18",
        "timm:": "timm:MODEL",
        "keras:vgg": "torchvision:MODEL",
    }.items():
        with pytest.raises(UnknownNameError, match=says):
            nets.build(wrong, **shape)
    with pytest.raises(UnknownNameError, match="did you mean instance"):
        nets.build(norm="instanc", **shape)


def test_a_spec_is_frozen_json_and_builds_what_its_name_does():
    spec = nets.NetworkSpec(name="vgg11", width=8, norm="batch")
    assert nets.NetworkSpec.parse(json.loads(json.dumps(spec.dump())), where="here") == spec
    with pytest.raises(pydantic.ValidationError):
        spec.width = 16
    shape = {"channels": 1, "size": 16, "classes": 3, "seed": 0}
    by_spec = nets.build(spec, **shape)
    by_name = nets.build("vgg11", width=8, norm="batch", **shape)
    assert torch.equal(by_spec.classifier.weight, by_name.classifier.weight)
    assert nets.build(spec, width=4, **shape).classifier.in_features == 32
