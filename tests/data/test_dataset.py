"""A distilled set: a pure function of (seed, epoch, index), fresh every epoch, whoever asks."""

import copy
import pickle  # noqa: TID251  of our own objects
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

import d3data
import made
from d3data.artifact import citations, drawing
from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import CHUNK, Latent
from d3data.data import dataset
from d3data.data.dataset import DistilledDataset
from d3data.data.options import SampleOptions
from d3data.errors import D3DataError, DeviceError, IntegrityError
from d3data.sources import sampling

LENGTH = 30  # five classes of six draws


def naive(artifact: Artifact, seed: int, epoch: int, draw: int, per_class: int = 6) -> Tensor:
    """One draw, straight from section 6 of the format: normalized values."""
    label, turn = draw % 5, draw // 5
    (number, part), *_ = (
        (n, p) for n, p in enumerate(artifact.manifest.content.parts) if label in p.classes
    )
    place = part.classes.index(label)
    item = (epoch * per_class + turn) % part.items_per_class[place]
    source = artifact.sources()[number]
    noise = None
    if source.noise_values:
        noise = torch.from_numpy(sampling.noise(seed, epoch, [draw], values=source.noise_values))
    return source(torch.tensor([sum(part.items_per_class[:place]) + item]), noise)[0]


def near(one: Tensor, other: Tensor) -> bool:
    """Whether pixels agree but for the rounding that a batch's size may change."""
    return one.shape == other.shape and bool((one.int() - other.int()).abs().max() <= 1)


def test_a_draw_is_what_the_format_says(every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, seed=2**63 + 5, output="normalized")
    assert len(data) == LENGTH
    for epoch, index in ((0, 0), (0, 29), (1, 7), (2, 12), (70_000, 3)):
        image, label = data.draw(epoch, index)
        assert label == index % 5
        torch.testing.assert_close(
            image, naive(every_kind, 2**63 + 5, epoch, index), rtol=0, atol=1e-5
        )


def test_outputs_are_one_image_in_three_spellings(every_kind: Artifact) -> None:
    values = naive(every_kind, 0, 1, 8)
    mean, std = (torch.tensor(m)[:, None, None] for m in (made.IMAGE.mean, made.IMAGE.std))
    unit = (values * std + mean).clamp(0, 1)
    image = DistilledDataset(every_kind).draw(1, 8)[0]
    assert isinstance(image, tv_tensors.Image)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 8, 8)
    assert (image.float() - 255 * unit).abs().max() <= 0.501
    floats = DistilledDataset(every_kind, output="float").draw(1, 8)[0]
    assert isinstance(floats, tv_tensors.Image)
    torch.testing.assert_close(floats.as_subclass(Tensor), unit, rtol=0, atol=1e-5)


@pytest.mark.parametrize("output", ["image", "float", "normalized"])
def test_images_are_ordinary_tensors(output: Any, every_kind: Artifact) -> None:
    image, label = DistilledDataset(every_kind, output=output)[3]
    assert type(label) is int
    assert image.is_contiguous()
    assert not image.is_inference()
    assert image.view(-1).shape == (192,)


@pytest.mark.parametrize("most", [2000, drawing.LARGEST_MAP])  # 7 images at a time, or a chunk
def test_batches_larger_than_a_chunk_are_the_same(
    most: int, every_kind: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "LARGEST_MAP", most)
    data = DistilledDataset(every_kind)
    epochs, indices = np.divmod(np.arange(2 * CHUNK + 3), LENGTH)
    images = data.drawer.images(epochs, indices)
    assert images.is_contiguous()
    for place in (0, CHUNK - 1, CHUNK, 2 * CHUNK + 2):
        expected = naive(every_kind, 0, int(epochs[place]), int(indices[place]))
        torch.testing.assert_close(images[place], expected, rtol=0, atol=1e-5)


def test_latents_hold_all_that_an_image_is_made_of(every_kind: Artifact) -> None:
    seed = 2**64 - 3
    plain = DistilledDataset(every_kind, seed=seed, output="normalized", as_dict=True)
    latent, label = DistilledDataset(every_kind, seed=seed, output="latent").draw(70_000, 13)
    sample = plain.draw(70_000, 13)
    assert (label, int(latent.item)) == (3, sample["item"])
    assert [int(key) for key in latent[2:]] == [-3, 70_000, 13]
    assert all(key.dtype == torch.int64 for key in latent[1:])
    source = every_kind.sources()[0]
    assert latent.latent.shape == source.latent_shape
    assert latent.latent.dtype == torch.float32
    if source.noise_values:
        (number,) = (n for n, p in enumerate(every_kind.manifest.content.parts) if 3 in p.classes)
        noise = torch.from_numpy(sampling.noise(seed, 70_000, [13], values=source.latent_noise))
        row = torch.tensor([every_kind.sources()[number].classes.tolist().index(3)])
        assert torch.equal(latent.latent, every_kind.sources()[number].latents(row, noise)[0])


def test_latents_survive_a_loader_and_another_set_decodes_them(every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, seed=2**64 - 1, output="latent")
    other = DistilledDataset(every_kind, seed=5, output="normalized")
    plain = DistilledDataset(every_kind, seed=2**64 - 1, output="normalized")
    loader: DataLoader[Any] = DataLoader(data, batch_size=8, num_workers=1)
    for number, (latent, labels) in enumerate(loader):
        assert isinstance(latent, Latent)
        images = other.decode(latent)
        for image, label, draw in zip(images, labels, latent.draw, strict=True):
            expected, of = plain.draw(0, int(draw))
            torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)
            assert int(label) == of
        assert latent.draw.tolist() == list(range(8 * number, min(8 * number + 8, LENGTH)))


def test_latents_may_be_dictionaries(toys: Artifact) -> None:
    data = DistilledDataset(toys, output="latent", as_dict=True)
    batch = default_collate([data[i] for i in (3, 3, 9)])
    assert list(batch) == ["latent", "item", "seed", "epoch", "draw", "label"]
    assert batch["latent"].shape == (3, 5)
    assert batch["epoch"].tolist() == [0, 1, 0]
    assert batch["label"].tolist() == [3, 3, 4]


def test_a_batch_of_latents_counts_as_requests_do(soft: Artifact) -> None:
    data = DistilledDataset(soft)
    latent, labels = data.latents([4, 4, (9, 2), -1])
    assert latent.epoch.tolist() == [0, 1, 9, 0]
    assert latent.draw.tolist() == [4, 4, 2, 29]
    assert labels.shape == (4, 5)
    pieces = latent.split(3)
    assert [len(piece.item) for piece in pieces] == [3, 1]
    assert torch.equal(torch.cat([piece.latent for piece in pieces]), latent.latent)


def test_batches_orders_and_copies_change_nothing(every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, output="normalized")
    pairs = [(epoch, index) for epoch in range(3) for index in range(LENGTH)]
    alone = [data.draw(*pair)[0] for pair in pairs]
    order = np.random.default_rng(0).permutation(len(pairs)).tolist()
    together = data.__getitems__([pairs[i] for i in order])
    for place, (image, label) in zip(order, together, strict=True):
        torch.testing.assert_close(image, alone[place], rtol=0, atol=1e-5)
        assert label == pairs[place][1] % 5
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert torch.equal(other.draw(1, 4)[0], data.draw(1, 4)[0])


def test_every_epoch_is_fresh_without_a_word(toys: Artifact) -> None:
    data = DistilledDataset(toys)
    for epoch in range(3):
        for index in (0, 17):
            assert torch.equal(data[index][0], data.draw(epoch, index)[0])
    assert not torch.equal(data.draw(0, 0)[0], data.draw(1, 0)[0])


def test_a_batch_that_has_an_index_twice_has_two_draws(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    assert [sample["epoch"] for sample in data.__getitems__([4, 4, 1, 4])] == [0, 1, 0, 2]


def test_requests_with_an_epoch_are_not_counted(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    data.draw(5, 3)
    data.batch(2, [3])
    samples = data.__getitems__([(9, 3), 3, (8, 3), 3])
    assert [sample["epoch"] for sample in samples] == [9, 0, 8, 1]
    assert data[7, 3]["epoch"] == 7


def test_a_set_epoch_holds_until_counting_resumes(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    assert [data[3]["epoch"] for _ in range(2)] == [0, 1]
    data.set_epoch(7)
    assert [data[3]["epoch"], data[3]["epoch"], data[(4, 3)]["epoch"]] == [7, 7, 4]
    data.set_epoch(None)
    assert data[3]["epoch"] == 2


def test_a_copy_counts_for_itself(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    assert len(data.targets) == LENGTH
    assert data[0]["epoch"] == 0
    for other in (copy.copy(data), copy.deepcopy(data)):
        assert [other[0]["epoch"] for _ in range(2)] == [1, 2]
        assert near(other.draw(3, 4)["image"], data.draw(3, 4)["image"])
        other.transform = abs
    assert data[0]["epoch"] == 1
    assert data.transform is None


def test_one_latent_is_decoded_as_a_batch_of_one_is(every_kind: Artifact) -> None:
    for as_dict in (False, True):
        data = DistilledDataset(every_kind, output="latent", as_dict=as_dict)
        sample = data.draw(2, 5) if as_dict else data.draw(2, 5)[0]
        expected = DistilledDataset(every_kind, output="normalized").draw(2, 5)[0]
        torch.testing.assert_close(data.decode(sample), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1), ("forkserver", 1)])
def test_workers_of_any_start_method_share_the_epochs(
    method: str, workers: int, toys: Artifact
) -> None:
    data = DistilledDataset(toys, output="normalized", as_dict=True)
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_size=7,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context=method,
    )
    for epoch in range(2):
        seen = {}
        for batch in loader:
            assert set(batch["epoch"].tolist()) == {epoch}
            seen.update(zip(batch["draw"].tolist(), batch["image"], strict=True))
        assert sorted(seen) == list(range(LENGTH))
        torch.testing.assert_close(seen[13], data.draw(epoch, 13)["image"], rtol=0, atol=1e-5)
    data.set_epoch(40)
    assert {e for batch in loader for e in batch["epoch"].tolist()} == {40}
    data.set_epoch(2)
    assert {e for batch in loader for e in batch["epoch"].tolist()} == {2}


def test_workers_that_are_started_anew_go_on_counting(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    loader: DataLoader[Any] = DataLoader(data, batch_size=10, num_workers=2)
    for epoch in range(2):
        batches = list(loader)
        assert {e for batch in batches for e in batch["epoch"].tolist()} == {epoch}
        assert batches[0]["image"].dtype == torch.uint8
        assert batches[0]["image"].shape == (10, 3, 8, 8)
    assert {data[i]["epoch"] for i in range(LENGTH)} == {2}


def test_a_subset_is_fresh_too(toys: Artifact) -> None:
    part = Subset(DistilledDataset(toys, as_dict=True), [3, 8])
    assert [sample["epoch"] for sample in part.__getitems__([0, 1])] == [0, 0]
    assert [part[0]["epoch"], part[1]["draw"]] == [1, 8]


def test_it_is_a_finite_sequence(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    assert [sample["draw"] for sample in data] == list(range(LENGTH))
    assert data[-1]["draw"] == LENGTH - 1
    assert data[torch.tensor(3)]["draw"] == 3
    assert data[np.int64(3)]["draw"] == 3
    for index in (LENGTH, -LENGTH - 1):
        with pytest.raises(IndexError, match="there are 30 draws"):
            data[index]


def test_classes_are_balanced_and_every_item_comes_up(toys: Artifact) -> None:
    data = DistilledDataset(toys, as_dict=True)
    samples = [data[i] for i in range(LENGTH)]
    assert Counter(sample["label"] for sample in samples) == dict.fromkeys(range(5), 6)
    assert {sample["item"] for sample in samples} == set(range(9))
    assert data.targets == [sample["label"] for sample in samples]


def test_the_length_of_an_epoch_may_be_chosen(toys: Artifact) -> None:
    data = DistilledDataset(toys, draws_per_class=2, output="normalized")
    assert len(data) == 10
    expected = naive(toys, 0, 1, 9, per_class=2)
    torch.testing.assert_close(data.draw(1, 9)[0], expected, rtol=0, atol=1e-5)


def test_seeds_repeat_and_differ(toys: Artifact) -> None:
    images = [DistilledDataset(toys, seed=seed).draw(0, 1)[0] for seed in (1, 1, 2)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_options_are_a_record_or_keywords(toys: Artifact) -> None:
    options = SampleOptions(seed=3, output="float")
    expected = DistilledDataset(toys, seed=3, output="float", as_dict=True).draw(0, 1)
    assert torch.equal(DistilledDataset(toys, options).draw(0, 1)[0], expected["image"])
    sample = DistilledDataset(toys, options, as_dict=True).draw(0, 1)
    assert torch.equal(sample["image"], expected["image"])
    with pytest.raises(TypeError, match="sed"):
        DistilledDataset(toys, sed=3)  # type: ignore[call-arg]


def test_the_old_spelling_of_an_output_is_accepted_with_one_warning(toys: Artifact) -> None:
    old: Any = "normalised"
    expected = DistilledDataset(toys, output="normalized").draw(0, 1)[0]
    for make in (
        lambda: DistilledDataset(toys, output=old),
        lambda: d3data.load(toys.folder, output=old),
    ):
        with pytest.warns(DeprecationWarning, match="spelled output='normalized'") as warned:
            data = make()
        assert [warning.filename for warning in warned] == [__file__]
        assert torch.equal(data.draw(0, 1)[0], expected)


def test_class_names_are_not_copied_at_every_draw(toys: Artifact) -> None:
    data = DistilledDataset(toys)
    assert data.classes is data.classes
    assert data.class_to_idx is data.class_to_idx


def test_transforms_see_one_sample_each(toys: Artifact) -> None:
    flip = v2.RandomHorizontalFlip(0.5)
    data = DistilledDataset(toys, transform=flip, target_transform=lambda label: label + 100)
    plain = DistilledDataset(toys)
    torch.manual_seed(0)
    flipped = 0
    for index, (image, label) in enumerate(data.__getitems__(list(range(LENGTH)))):
        original, _ = plain.draw(0, index)
        turned = near(image, original.flip(-1))
        assert turned or near(image, original)
        assert label == index % 5 + 100
        flipped += turned
    assert 5 < flipped < 25


def test_a_batch_is_what_networks_are_trained_on(every_kind: Artifact) -> None:
    data = DistilledDataset(every_kind, transform=lambda image: pytest.fail("no transforms"))
    images, labels = data.batch(3, torch.tensor([4, 0, 29]))
    assert labels.tolist() == [4, 0, 4]
    assert images.dtype == torch.float32
    for image, index in zip(images, (4, 0, 29), strict=True):
        torch.testing.assert_close(image, naive(every_kind, 0, 3, index), rtol=0, atol=1e-5)
    assert not images.is_inference()
    network = torch.nn.Conv2d(3, 1, 3)
    network(images).sum().backward()
    assert network.weight.grad is not None


def test_an_empty_batch_is_empty(toys: Artifact) -> None:
    images, labels = DistilledDataset(toys).batch(0, [])
    assert (images.shape, labels.shape) == ((0, 3, 8, 8), (0,))


def test_decoding_does_not_depend_on_how_the_caller_trains(toys: Artifact) -> None:
    data = DistilledDataset(toys, output="normalized")
    plain = data.draw(0, 3)[0]
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(data.draw(0, 3)[0], plain)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_soft_labels_are_those_of_the_item(soft: Artifact) -> None:
    data = DistilledDataset(soft, as_dict=True)
    table = {}
    for part in soft.manifest.content.parts:
        number = soft.manifest.content.parts.index(part)
        rows = iter(soft.part(number).tensors["labels"])
        for label, count in zip(part.classes, part.items_per_class, strict=True):
            table[label] = [next(rows) for _ in range(count)]
    flat = [row for label in range(5) for row in table[label]]
    for index in range(LENGTH):
        sample = data.draw(1, index)
        assert torch.equal(sample["label"], flat[sample["item"]])
    assert data.batch(0, [2, 3])[1].shape == (2, 5)
    assert DistilledDataset(soft, soft_labels=True).draw(0, 7)[1].shape == (5,)
    assert DistilledDataset(soft, soft_labels=False).draw(0, 7)[1] == 2


def test_soft_labels_that_are_not_there_cannot_be_asked_for(toys: Artifact) -> None:
    assert DistilledDataset(toys, soft_labels="auto").draw(0, 7)[1] == 2
    with pytest.raises(D3DataError, match="toys-ipc2 has no soft labels"):
        DistilledDataset(toys, soft_labels=True)


def test_samples_of_classes_do_not_depend_on_the_epoch(toys: Artifact) -> None:
    data = DistilledDataset(toys, seed=9)
    images, labels = data.sample(8, classes=["cat", 0], seed=4)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [2] * 8 + [0] * 8
    same = DistilledDataset(toys, seed=4)
    assert near(images[1], same.draw(0, 7)[0])
    assert near(images[8 + 7], same.draw(1, 5)[0])  # six draws of a class are an epoch
    assert data.sample()[1].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(D3DataError, match="no class is named 'cta': did you mean cat"):
        data.sample(classes=["cta"])


def test_mean_images_have_no_noise(every_kind: Artifact) -> None:
    images, labels = DistilledDataset(every_kind).mean_images()
    assert images.shape == (9, 3, 8, 8)
    assert labels.tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4]
    sources = every_kind.sources()
    values = sources[0].images(torch.tensor([4]), None)[0]  # the last item of class 2
    mean, std = (torch.tensor(m)[:, None, None] for m in (made.IMAGE.mean, made.IMAGE.std))
    assert (images[5].float() - 255 * (values * std + mean).clamp(0, 1)).abs().max() <= 0.501


@pytest.mark.parametrize("kind", ["gaussian", "residual"])
def test_a_line_of_latents_has_no_noise(kind: str, tmp_path: Path) -> None:
    artifact = made.write(tmp_path / "toys", kind)
    data = DistilledDataset(artifact)
    images = data.interpolate(3, 1, 5)  # of classes 2 and 0, whose part is the first
    assert images.dtype == torch.uint8
    means, _ = data.mean_images()
    assert near(images[0], means[3])
    assert near(images[4], means[1])
    source = artifact.sources()[0]
    quarter = 0.75 * source.mean[2] + 0.25 * source.mean[1]
    values = source.decode(quarter[None])[0]
    mean, std = (torch.tensor(m)[:, None, None] for m in (made.IMAGE.mean, made.IMAGE.std))
    assert (images[1].float() - 255 * (values * std + mean).clamp(0, 1)).abs().max() <= 0.501
    assert near(data.interpolate(-1, 2, 2)[0], means[8])


def test_a_line_needs_one_decoder(toys: Artifact, tmp_path: Path) -> None:
    with pytest.raises(D3DataError, match="items 0 and 8 have decoders of their own"):
        DistilledDataset(toys).interpolate(0, 8, 3)
    with pytest.raises(IndexError, match="there are 9 items"):
        DistilledDataset(toys).interpolate(0, 9, 3)
    with pytest.raises(D3DataError, match="stores images and no latents"):
        DistilledDataset(made.write(tmp_path / "pixels", "pixels")).interpolate(0, 1, 3)


def test_a_finite_copy_has_the_first_draws(toys: Artifact) -> None:
    data = DistilledDataset(toys)
    copied = data.materialize(8)
    assert len(copied) == 40
    for place, (epoch, index) in ((0, (0, 0)), (29, (0, 29)), (30, (1, 0)), (39, (1, 9))):
        image, label = copied[place]
        assert near(image, data.draw(epoch, index)[0])
        assert label == index % 5
    assert len(data.materialize()) == LENGTH
    assert len(data.materialize(0)) == 0


def test_finite_copies_are_made_in_blocks(toys: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DistilledDataset(toys)
    at_once = data.materialize(110).tensors[0]
    monkeypatch.setattr("d3data.data.materialize.AT_ONCE", 300 * 192)
    assert near(at_once, data.materialize(110).tensors[0])


@pytest.mark.parametrize("output", ["image", "float", "normalized"])
def test_real_images_are_brought_to_the_same_range(output: Any, toys: Artifact) -> None:
    data = DistilledDataset(toys, output=output)
    transform = pickle.loads(pickle.dumps(data.real_transform()))
    real = transform(torch.full((3, 20, 8), 51, dtype=torch.uint8))
    drawn = data[0][0]
    assert (type(real), real.dtype, real.shape) == (type(drawn), drawn.dtype, drawn.shape)
    expected = {"image": 51.0, "float": 0.2, "normalized": (0.2 - 0.5) / 0.25}[output]
    assert abs(float(real[1, 0, 0]) - expected) < 1e-6


def test_whitened_values_are_no_colors(whitened: Artifact) -> None:
    for output in ("image", "float"):
        with pytest.raises(D3DataError, match=f"output='{output}': the values of this set are wh"):
            DistilledDataset(whitened, output=output)
    data = DistilledDataset(whitened, output="normalized")
    expected = naive(whitened, 0, 0, 7)
    torch.testing.assert_close(data[7][0], expected, rtol=0, atol=1e-5)
    assert DistilledDataset(whitened, output="latent")[7][0].latent.shape == (5,)
    shown = (
        data.sample,
        data.mean_images,
        data.materialize,
        data.real_transform,
        lambda: data.interpolate(1, 3, 2),
    )
    for look in shown:
        with pytest.raises(D3DataError, match="are whitened"):
            look()


def test_images_for_pillow_are_those_of_torchvision(every_kind: Artifact) -> None:
    plain = DistilledDataset(every_kind)
    data = DistilledDataset(every_kind, output="pil", transform=v2.functional.pil_to_tensor)
    for index in (0, 7):
        assert torch.equal(data.draw(2, index)[0], plain.draw(2, index)[0])
    image, label = DistilledDataset(every_kind, output="pil", soft_labels=False)[3]
    assert image.mode == {1: "L", 3: "RGB"}[plain.image.channels]
    assert type(label) is int
    again = DistilledDataset(every_kind, output="pil").real_transform()(image)
    assert torch.equal(v2.functional.pil_to_tensor(again), plain.real_transform()(image))
    assert pickle.loads(pickle.dumps(data))[0][0].dtype == torch.uint8


def test_real_images_have_no_latents(toys: Artifact) -> None:
    with pytest.raises(D3DataError, match="real images have no latents"):
        DistilledDataset(toys, output="latent").real_transform()


def test_a_device_must_be_there(toys: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        DistilledDataset(toys, device="tpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="has no device 'cuda:1'"):
        DistilledDataset(toys, device="cuda:1")
    with pytest.raises(DeviceError, match="has no device 'cuda:1'"):
        DistilledDataset(toys).batch(0, [1], device="cuda:1")


def test_a_worker_decodes_on_the_cpu_alone(
    toys: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    data = DistilledDataset(toys, device="cuda")
    loader: DataLoader[Any] = DataLoader(data, num_workers=1)
    with pytest.raises(DeviceError, match=r"DecodingLoader\(data, batch_size, device=device\)"):
        next(iter(loader))
    latents = DistilledDataset(toys, device="cuda", output="latent")
    loader = DataLoader(latents, num_workers=1)
    assert next(iter(loader))[0].latent.shape == (1, 5)


def test_images_are_decoded_on_the_device(soft: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "as_device", torch.device)
    monkeypatch.setattr(drawing, "full_precision", lambda device: nullcontext())
    data = DistilledDataset(soft, device="meta")  # which knows shapes and no values
    image, label = data[0]
    assert (image.device.type, label.device.type) == ("meta", "meta")
    assert data.batch(0, [1, 2])[0].device.type == "meta"
    assert data.batch(0, [1, 2], device="cpu")[0].device.type == "cpu"


def test_it_says_what_it_is(toys: Artifact) -> None:
    data = DistilledDataset(toys, revision="0123abcd")
    assert data.fingerprint == toys.manifest.content_sha256
    assert (data.revision, DistilledDataset(toys).revision) == ("0123abcd", None)
    assert data.citation() == citations.bibtex(toys.manifest.about)
    assert data.classes == list(made.NAMES)
    assert data.class_to_idx["dog"] == 3
    assert data.normalization.mean == made.IMAGE.mean
    assert data.normalization.std == made.IMAGE.std
    assert data.version == "1.2.3"
    assert data.ledger == toys.ledger
    text = repr(data)
    for word in ("toys-ipc2 1.2.3", "CC0-1.0", "random", "5, 8x8 RGB, hard", "30 draws from 9"):
        assert word in text
    assert f"{toys.ledger.content_bytes:,}" in text


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"seed": -1}, r"seed must be .* got -1"),
        ({"seed": 1 << 64}, r"seed must be .* got 18446744073709551616"),
        ({"seed": "a"}, r"seed must be .* got 'a'"),
        ({"seed": True}, r"seed must be .* got True"),
        ({"draws_per_class": 0}, "must be an integer from 1 to 2,000,000"),
        ({"draws_per_class": 1.5}, r"draws_per_class must be .* got 1\.5"),
        ({"draws_per_class": 2_000_001}, r"draws_per_class must be .* got 2000001"),
        ({"output": "imgae"}, "did you mean image"),
        ({"soft_labels": "yes"}, "soft_labels='yes'"),
        ({"soft_labels": 1}, "soft_labels=1"),
        ({"soft_labels": None}, "soft_labels=None"),
        ({"output": None}, "output=None"),
        ({"seed": torch.tensor(1.5)}, r"seed must be .* got tensor"),
        ({"transform": 5}, "transform=5: pass a function"),
        ({"target_transform": "x"}, "target_transform='x'"),
        ({"output": "latent", "transform": abs}, "no images that a transform"),
    ],
)
def test_impossible_options_are_refused(
    options: dict[str, Any], fault: str, toys: Artifact
) -> None:
    with pytest.raises(D3DataError, match=fault):
        DistilledDataset(toys, **options)


def test_impossible_requests_are_refused(toys: Artifact) -> None:
    data: Any = DistilledDataset(toys)
    for request, fault in (
        (lambda: data.sample(-1), "n must be an integer >= 1, got -1"),
        (lambda: data.sample(seed=-1), r"seed must be .* got -1"),
        (lambda: data.sample(classes=3), r"such as \[3\]"),
        (lambda: data.sample(classes="cat"), r"such as \['cat'\]"),
        (lambda: data.interpolate(0, 1, 0), r"steps must be .* got 0"),
        (lambda: data.materialize(-1), r"draws_per_class must be .* got -1"),
        (lambda: data[0:3], r"got slice\(0, 3, None\); .*torch\.utils\.data\.Subset"),
        (lambda: data["0"], r"an integer, got '0'"),
        (lambda: data[1.0], r"an integer, got 1\.0"),
        (lambda: data[(0,)], r"index \(0,\): a tuple must be"),
        (lambda: data.draw(None, 0), r"epoch must be .* got None"),
        (lambda: data.draw(0, 0.5), r"an integer, got 0\.5"),
        (lambda: data.sample(classes=[1.5]), r"an integer, got 1\.5"),
        (lambda: data.batch(0, [0.5]), r"an integer, got 0\.5"),
        (lambda: data.decode([1]), "a list is not a latent"),
        (lambda: data.decode({"latent": 1}), "a dict is not a latent"),
        (lambda: data.materialize(2.5), r"draws_per_class must be .* got 2\.5"),
    ):
        with pytest.raises(D3DataError, match=fault):
            request()
    with pytest.raises(IndexError, match="there are 5 classes"):
        data.sample(classes=[5])


def test_features_are_those_of_datasets(toys: Artifact, soft: Artifact) -> None:
    features = DistilledDataset(toys).features
    assert list(features) == ["image", "label"]
    assert features["label"].names == list(made.NAMES)
    encoded = features.encode_example({"image": None, "label": "cat"})
    assert encoded["label"] == 2
    label = DistilledDataset(soft).features["soft_label"]
    assert (label.length, label.feature.dtype) == (5, "float32")
    assert DistilledDataset(soft, soft_labels=False).features == features


def test_the_card_is_read_within_bounds(tmp_path: Path) -> None:
    data = DistilledDataset(made.write(tmp_path / "toys"))
    assert data.card == "# toys\n"
    page = tmp_path / "toys" / "README.md"
    page.write_bytes(b"\xff" + bytes(2**20))
    with pytest.raises(IntegrityError, match="more than 1048576 bytes"):
        data.card  # noqa: B018
    page.write_bytes(b"caf\xe9")
    assert data.card == "caf\ufffd"
    page.unlink()
    assert data.card is None
    page.symlink_to("d3data.json")
    with pytest.raises(IntegrityError, match="reached by a link"):
        data.card  # noqa: B018


def test_the_callers_randomness_is_left_alone(toys: Artifact) -> None:
    before = torch.random.get_rng_state()
    data = DistilledDataset(toys)
    data[0], data.batch(0, [1]), data.sample(), data.mean_images()
    assert torch.equal(before, torch.random.get_rng_state())


def test_importing_the_library_imports_nothing_heavy() -> None:
    code = (
        "import sys, d3data, d3data.data.load; "
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    heavy = ["torchvision", "datasets", "webdataset", "huggingface_hub", "matplotlib", "PIL"]
    told = subprocess.run(
        [sys.executable, "-c", code, *heavy], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == "[]"


def test_nothing_is_left_of_the_folder_but_the_ledger(tmp_path: Path) -> None:
    data = DistilledDataset(made.write(tmp_path / "toys"))
    expected = data.draw(0, 0)[0]
    (tmp_path / "toys").rename(tmp_path / "moved")
    assert torch.equal(data.draw(0, 0)[0], expected)
