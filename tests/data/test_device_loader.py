"""A loader whose main process decodes: the same images as the set's own, on a device."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import SubsetRandomSampler

import made
from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.device_loader import DecodingLoader
from d3data.data.epochs import EpochSampler
from d3data.errors import D3DataError, DeviceError
from d3data.sources.decoders import Decoder

LENGTH = 30  # five classes of six draws
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made.write(tmp_path_factory.mktemp("made") / "toys", "residual")


def samples(loader: DecodingLoader) -> Iterator[dict[str, Any]]:
    """One epoch, sample by sample."""
    for batch in loader:
        for fields in zip(*batch.values(), strict=True):
            yield dict(zip(batch, fields, strict=True))


def require_same(artifact: Artifact, loader: DecodingLoader, *, epoch: int, output: Any) -> None:
    """An epoch of the loader is that of the set itself, each draw once."""
    plain = DistilledDataset(artifact, as_dict=True, output=output)
    seen = []
    for sample in samples(loader):
        draw = int(sample["draw"])
        expected = plain.draw(epoch, draw)
        assert {name: int(sample[name]) for name in ("label", "item", "epoch")} == {
            name: expected[name] for name in ("label", "item", "epoch")
        }
        image, wanted = (s["image"].as_subclass(Tensor).cpu() for s in (sample, expected))
        assert image.dtype == wanted.dtype
        step = {"image": 1, "float": 1e-5, "normalized": 1e-5}[output]
        assert (image.double() - wanted.double()).abs().max() <= step
        seen.append(draw)
    assert sorted(seen) == list(range(LENGTH))


@pytest.mark.parametrize("output", ["image", "float", "normalized"])
def test_images_are_those_of_the_set(output: Any, every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, as_dict=True, output=output)
    loader = DecodingLoader(data, 7, device="cpu")
    assert len(loader) == 5
    for epoch in range(2):
        require_same(every_kind, loader, epoch=epoch, output=output)


@pytest.mark.parametrize(("method", "persistent"), [("fork", False), ("spawn", True)])
def test_workers_make_latents(method: str, persistent: bool, residual: Artifact) -> None:
    data = DistilledDataset(residual, as_dict=True)
    loader = DecodingLoader(
        data,
        4,
        device="cpu",
        num_workers=1 if method == "spawn" else 2,
        persistent_workers=persistent,
        multiprocessing_context=method,
    )
    for epoch in range(2):
        require_same(residual, loader, epoch=epoch, output="image")
    data.set_epoch(9)
    require_same(residual, loader, epoch=9, output="image")


def test_batches_are_pairs_on_the_device(residual: Artifact) -> None:
    images, labels = next(
        iter(DecodingLoader(DistilledDataset(residual), 8, device="cpu", shuffle=False))
    )
    assert (images.dtype, images.shape) == (torch.uint8, (8, 3, 8, 8))
    assert labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    values, labels = next(
        iter(DecodingLoader(DistilledDataset(residual, output="normalized"), 8, device="cpu"))
    )
    network = torch.nn.Conv2d(3, 1, 3)
    network(values).sum().backward()
    assert network.weight.grad is not None


def test_soft_labels_come_along(soft: Artifact) -> None:
    data = DistilledDataset(soft)
    _, labels = next(iter(DecodingLoader(data, 4, device="cpu", shuffle=False)))
    assert torch.equal(labels, torch.stack([data.draw(0, i)[1] for i in range(4)]))


def test_the_order_is_shuffled_anew_or_a_samplers(residual: Artifact) -> None:
    data = DistilledDataset(residual, as_dict=True)
    orders = [
        [int(s["draw"]) for s in samples(loader)]
        for seed in (1, 1, 2)
        for loader in [
            DecodingLoader(data, 30, device="cpu", generator=torch.Generator().manual_seed(seed))
        ]
    ]
    assert orders[0] == orders[1] != orders[2]
    some = DecodingLoader(
        data, 2, device="cpu", sampler=SubsetRandomSampler([3, 8, 9]), drop_last=True
    )
    assert len(some) == 1
    assert {int(s["draw"]) for s in samples(some)} < {3, 8, 9}
    told = DecodingLoader(data, 10, device="cpu", sampler=EpochSampler(data), num_workers=1)
    for epoch in range(2):
        require_same(residual, told, epoch=epoch, output="image")


def test_a_batch_may_be_transformed(residual: Artifact) -> None:
    data = DistilledDataset(residual, output="float")
    loader = DecodingLoader(
        data, 6, device="cpu", shuffle=False, batch_transform=lambda images: images[..., :4] + 1
    )
    images, _ = next(iter(loader))
    assert images.shape == (6, 3, 8, 4)
    expected = data.draw(0, 2)[0].as_subclass(Tensor)[..., :4] + 1
    torch.testing.assert_close(images[2], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"transform": abs}, "pass batch_transform= to the loader"),
        ({"target_transform": abs}, "pass batch_transform= to the loader"),
        ({"output": "latent"}, "a DecodingLoader returns batches of images as tensors"),
        ({"output": "pil"}, "a DecodingLoader returns batches of images as tensors"),
    ],
)
def test_what_it_cannot_do_is_refused(
    options: dict[str, Any], fault: str, residual: Artifact
) -> None:
    with pytest.raises(D3DataError, match=fault):
        DecodingLoader(DistilledDataset(residual, **options), 4, device="cpu")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"batch_size": 0}, r"batch_size must be .* got 0"),
        ({"autocast": "bf16"}, r"autocast='bf16': use torch\.bfloat16"),
        ({"data": [1, 2]}, "not a list"),
    ],
)
def test_impossible_arguments_are_refused(
    options: dict[str, Any], fault: str, residual: Artifact
) -> None:
    usual = {"data": DistilledDataset(residual), "batch_size": 4, "device": "cpu"}
    with pytest.raises(D3DataError, match=fault):
        DecodingLoader(**{**usual, **options})


def test_the_device_must_be_there(residual: Artifact) -> None:
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        DecodingLoader(DistilledDataset(residual), 4, device="tpu")


def test_autocast_decodes_in_another_type(residual: Artifact) -> None:
    data = DistilledDataset(residual, output="normalized")
    loader = DecodingLoader(data, 30, device="cpu", shuffle=False, autocast=torch.bfloat16)
    images, _ = next(iter(loader))
    exact, _ = data.batch(0, range(30))
    assert images.dtype == torch.float32
    assert 1e-4 < (images - exact).abs().mean() < 0.05


def test_a_compiled_decoder_is_the_loaders_alone(
    residual: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(Decoder, "compile", lambda self: compiled.append(self))
    data = DistilledDataset(residual, as_dict=True)
    loader = DecodingLoader(data, 7, device="cpu", compile=True)
    assert len(compiled) == 3
    own = {id(module) for source in data.drawer.sources for module in source.modules()}
    assert not own & {id(decoder) for decoder in compiled}
    require_same(residual, loader, epoch=0, output="image")


class Events:
    """Stands for a stream of CUDA, and notes what is asked of it."""

    noted: list[str] = []

    def __init__(self, *_: object) -> None:
        self.record_event = lambda: Events.noted.append("launched")
        self.wait_event = lambda event: Events.noted.append("handed out")
        self.wait_stream = lambda stream: None


def test_the_next_batch_is_launched_before_one_is_handed_out(
    residual: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", Events)
    monkeypatch.setattr(torch.cuda, "current_stream", Events)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    loader = DecodingLoader(DistilledDataset(residual), 10, device="cpu", shuffle=False)
    Events.noted.clear()
    batches = [labels.tolist() for _, labels in loader._prefetched()]
    assert batches == [[0, 1, 2, 3, 4] * 2] * 3
    assert Events.noted == [*["launched"] * 2, "handed out", "launched", *["handed out"] * 2]


@cuda
@pytest.mark.parametrize("output", ["image", "normalized"])
def test_cuda_decodes_the_same_images(output: Any, every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, as_dict=True, output=output)
    loader = DecodingLoader(data, 7, device="cuda", num_workers=2)
    plain = DistilledDataset(every_kind, as_dict=True, output=output)
    for epoch in range(2):
        seen = []
        for sample in samples(loader):
            assert sample["image"].is_cuda
            assert sample["label"].is_cuda
            expected = plain.draw(epoch, int(sample["draw"]))
            image, wanted = (s["image"].as_subclass(Tensor).cpu() for s in (sample, expected))
            step = 1 if output == "image" else 1 / 255 / min(made.IMAGE.std)
            assert (image.double() - wanted.double()).abs().max() <= step
            seen.append(int(sample["draw"]))
        assert sorted(seen) == list(range(LENGTH))


@cuda
def test_cuda_prefetches_without_mixing_batches(residual: Artifact) -> None:
    data = DistilledDataset(residual, draws_per_class=400, output="normalized", as_dict=True)
    kept = list(DecodingLoader(data, 64, device="cuda", shuffle=False))
    for batch in kept:
        expected, _ = data.batch(0, batch["draw"].cpu())
        assert (batch["image"].cpu() - expected).abs().max() < 1 / 255
