"""Classifiers of torchvision and timm: their counts, grey images, image sizes, refusals."""

import sys

import pytest
import torch
import torchvision

from d3data import nets
from d3data.errors import TrainingError, UnknownNameError
from d3data.utils.rng import generator, seeded

SMALL = "torchvision:shufflenet_v2_x0_5"


def pictures(count, channels, size):
    return torch.randn(count, channels, size, size, generator=generator(0, "images"))


def build(name, *, channels=3, size=32, classes=5, **options):
    with torch.device("meta"):
        return nets.build(name, channels=channels, size=size, classes=classes, **options)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 11_689_512), ("vit_b_16", 86_567_656), ("mobilenet_v2", 3_504_872)],
)
def test_torchvisions_own_counts(name, count):
    assert parameters(build(f"torchvision:{name}", size=224, classes=1000)) == count


def test_a_classifier_of_torchvision_is_unchanged():
    network = nets.build(SMALL, channels=3, size=64, classes=5, seed=0).eval()
    with seeded(0, "network"):
        expected = torchvision.models.shufflenet_v2_x0_5(num_classes=5).eval()
    images = pictures(2, 3, 64)
    with torch.no_grad():
        assert torch.equal(network(images), expected(images))
        assert network.features(images).shape == (2, 1024)


def test_a_gray_image_is_three_equal_channels():
    gray, color = (nets.build(SMALL, channels=c, size=32, classes=5, seed=0) for c in (1, 3))
    images = pictures(2, 1, 32)
    shown = images.expand(-1, 3, -1, -1)
    stems = [network.body.conv1[0] for network in (gray, color)]
    torch.testing.assert_close(stems[0](images), stems[1](shown))
    torch.testing.assert_close(gray.eval()(images), color.eval()(shown), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "size"), [("vit_b_16", 48), ("maxvit_t", 448), ("googlenet", 64)]
)
def test_models_of_every_making_are_built_for_their_size(name, size):
    assert build(f"torchvision:{name}", channels=1, size=size).classifier.out_features == 5


def test_a_model_of_a_library_is_counted_like_any_other():
    flops = nets.count_flops(build("torchvision:vgg11", size=224, classes=1000), (3, 224, 224))
    assert flops.forward == 2 * 7_609_090_048
    assert flops.training == 3 * flops.forward - 2 * 224**2 * 9 * 3 * 64


def test_checking_leaves_the_global_generator():
    before = torch.get_rng_state()
    nets.check("torchvision:regnet_y_400mf", channels=3, size=32, classes=5)
    nets.build(SMALL, channels=1, size=32, classes=5, seed=0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "size", "options", "says"),
    [
        ("torchvision:inception_v3", 32, {}, "cannot take images of 32 px .*224 px for most"),
        ("torchvision:vit_b_16", 30, {}, "cannot take images of 30 px .*patch size"),
        ("torchvision:squeezenet1_1", 224, {}, "does not end in one linear layer"),
        (
            "torchvision:resnet18",
            32,
            {"norm": "group"},
            "torchvision:resnet18 has no choice of norm",
        ),
        ("torchvision:resnet18", 32, {"channels": 4}, "1 or 3 channels, not 4"),
    ],
)
def test_what_a_model_cannot_take_is_refused(name, size, options, says):
    with pytest.raises(TrainingError, match=says):
        build(name, size=size, **options)


def test_unknown_models_are_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="no classifier 'resnet19': did you mean resnet18"):
        build("torchvision:resnet19")
    with pytest.raises(UnknownNameError, match="see torchvision's list_models"):
        build("torchvision:fasterrcnn_zzz?")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_not_there_is_asked_for(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(TrainingError, match=f"pip install {library}"):
        build(f"{library}:resnet18")


class TestTimm:
    """What is asked of timm where it is installed."""

    @pytest.fixture(autouse=True)
    def timm(self):
        return pytest.importorskip("timm")

    def test_counts(self):
        network = build("timm:vit_tiny_patch16_224", size=224, classes=1000)
        assert parameters(network) == 5_717_416

    def test_a_model_is_unchanged(self, timm):
        network = nets.build("timm:test_vit", channels=1, size=32, classes=5, seed=0).eval()
        with seeded(0, "network"):
            expected = timm.create_model("test_vit", num_classes=5, in_chans=1, img_size=32)
        images = pictures(2, 1, 32)
        with torch.no_grad():
            assert torch.equal(network(images), expected.eval()(images))

    @pytest.mark.parametrize("name", ["timm:resnet18", "timm:swin_tiny_patch4_window7_224"])
    def test_sizes_and_channels_are_adapted(self, name):
        network = build(name, channels=1, size=64)
        assert nets.count_flops(network, (1, 64, 64)).forward > 0

    @pytest.mark.parametrize("name", ["hf-hub:somebody/something", "resnet18.a1_in1k"])
    def test_weights_are_never_fetched(self, name):
        with pytest.raises(UnknownNameError, match="no classifier"):
            build(f"timm:{name}")

    @pytest.mark.parametrize(
        ("name", "size", "says"),
        [
            ("vit_tiny_patch16_224", 28, "28 px .* leave 12 px out"),
            ("levit_128s", 224, "does not end in one linear layer"),
        ],
    )
    def test_what_a_model_cannot_take_is_refused(self, name, size, says):
        with pytest.raises(TrainingError, match=says):
            build(f"timm:{name}", size=size)
