"""Baselines: what equal size means, and that each chooses as its paper says."""

import io
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PIL

import made
from d3data import nets
from d3data.data.dataset import DistilledDataset
from d3data.errors import DataError, RecipeError, TrainingError
from d3data.evaluation import baselines
from d3data.evaluation.baselines import BaselineContext, Photographs, compressed_images
from d3data.evaluation.baselines.choices import rows_of_classes
from d3data.evaluation.baselines.compressed_images import (
    Codec,
    best,
    codecs,
    filled,
    fitting,
    kept,
    neighbours,
    rounds,
    stored,
)
from d3data.images import selection
from d3data.utils.rng import generator

CPU = torch.device("cpu")


def context(task, data=None, *, values=None, size=None, validate=None):
    teacher = nets.build(channels=1, size=8, classes=len(task.classes), width=4, seed=0)
    return BaselineContext(
        task=task,
        data=data or Photographs(torch.zeros(39, 1, 8, 8), torch.arange(39) % 10),
        values=values,
        bytes=size,
        train_teacher=lambda: teacher,
        validate=validate or (lambda name, data, divisor: 0.0),
        device=CPU,
    )


def make(name, where, seed=0):
    return baselines.get_baseline(name)(where, rng=generator(seed, "a"))


def keys(images):
    return {image.numpy().tobytes() for image in images}


@pytest.mark.parametrize("name", ["random", "herding", "k-center", "k-means"])
def test_cores_are_distinct_images_of_train_class_by_class(digits, name):
    where = context(digits, values=7 * 640)
    made, same = make(name, where), make(name, where)
    assert torch.equal(made.data.images, same.data.images)
    assert made.data.labels.bincount().tolist() == [7] * 10
    assert len(keys(made.data.images)) == 70
    assert (made.images_per_class, made.values, made.bytes) == (7, 4480, 4480)
    train = digits.train.read(torch.arange(len(digits.train)))
    for label in range(10):
        mine = made.data.images[made.data.labels == label]
        assert keys(mine) <= keys(train[digits.train.labels == label])


def test_another_generator_draws_others_and_a_class_with_fewer_images_gives_them_all(digits):
    one, other = (make("random", context(digits, values=3200), seed) for seed in (0, 1))
    assert not torch.equal(one.data.images, other.data.images)
    few = replace(digits, train=digits.validation)
    made = make("random", context(few, values=640 * 10_000))
    assert made.data.labels.bincount().tolist() == digits.validation.counts()


@pytest.mark.parametrize(
    ("size", "count"),
    [(None, 3), (100, 1), (640, 1), (641, 2), (1280, 2), (2450, 4), (6400, 10)],
)
def test_equal_size_is_rounded_up(digits, size, count):
    """In values, where they are known, else in images; in bytes as uint8."""
    assert context(digits, values=size).per_class == count
    if size is not None:
        made = make("random-bytes", context(digits, size=size))
        assert (made.images_per_class, made.bytes) == (count, count * 640)


def test_herding_follows_the_mean_greedily():
    features = torch.randn(30, 5, generator=generator(0), dtype=torch.float64)
    rows = selection.herd(features, 6).tolist()
    for count in range(1, 7):

        def apart(row, before=rows[: count - 1]):
            return (features[[*before, row]].mean(0) - features.mean(0)).norm()

        free = set(range(30)) - set(rows[: count - 1])
        assert rows[count - 1] == min(free, key=apart)


def test_centers_leave_nothing_far():
    features = torch.randn(40, 3, generator=generator(1), dtype=torch.float64)
    rows = selection.centers(features, 8).tolist()
    assert rows[0] == int((features - features.mean(0)).norm(dim=1).argmin())
    for count in range(1, 8):
        nearest = torch.cdist(features, features[rows[:count]]).min(1).values
        assert rows[count] == int(nearest.argmax())


def test_medoids_are_nearest_to_centers():
    groups = torch.arange(4).repeat_interleave(10)
    features = 20 * torch.eye(4)[groups] + torch.randn(40, 4, generator=generator(2))
    rows = selection.medoids(features, 4, seed=0)
    assert sorted(groups[rows].tolist()) == [0, 1, 2, 3]
    for row in rows.tolist():
        mine = features[groups == groups[row]]
        own = (mine - mine.mean(0)).norm(dim=1)
        assert (features[row] - mine.mean(0)).norm() == pytest.approx(own.min().item())
    for choose in (selection.herd, selection.centers, partial(selection.medoids, seed=0)):
        assert sorted(choose(features, 50).tolist()) == list(range(40))  # as many as there are


def test_an_image_that_is_nearest_to_two_centers_is_taken_once(monkeypatch):
    centers = SimpleNamespace(cluster_centers_=np.array([[0.0], [0.1]]))
    fitted = SimpleNamespace(fit=lambda features: centers)
    monkeypatch.setattr("sklearn.cluster.KMeans", lambda count, **options: fitted)
    features = torch.tensor([[5.0], [0.0], [1.0]])
    assert selection.medoids(features, 2, seed=0).tolist() == [1, 2]


def test_soft_labels_are_the_teachers_and_are_counted(digits):
    where = context(digits, values=2 * 10 * 74)
    made = make("soft", where)
    with torch.no_grad():
        expected = where.teacher(made.data.images).softmax(1)
    torch.testing.assert_close(made.data.labels, expected)
    assert (made.images_per_class, made.values) == (2, 20 * 74)
    assert made.bytes == 20 * (64 + 4 * 10)


def test_the_teacher_is_trained_once_and_says_of_an_image_what_depends_on_no_other(digits):
    network, calls = nets.build(channels=1, size=8, classes=10, width=4, norm="batch", seed=0), []

    def train():
        calls.append(1)
        return network.train()

    where = replace(context(digits, values=640), train_teacher=train)
    for name in ("herding", "k-means", "soft"):
        make(name, where)
    assert calls == [1]
    images = digits.train.read(range(9))
    torch.testing.assert_close(where.probabilities(images)[:2], where.probabilities(images[:2]))


@pytest.mark.parametrize("soft", [True, False])
def test_means_are_the_priors_without_noise(priors, digits, soft):
    """With labels of the kind that the set has."""
    data = DistilledDataset(priors.artifact, soft_labels=soft)
    row = make("means", context(digits, data, values=5, size=6))
    assert (row.values, row.bytes, len(row.data)) == (5, 6, 18)
    assert row.data.labels.is_floating_point() == soft
    pixels, classes = data.mean_images()
    assert soft or torch.equal(row.data.labels, classes)
    std, mean = (torch.tensor(m)[:, None, None] for m in (data.image.std, data.image.mean))
    shown = (255 * (row.data.images * std + mean)).round().clamp(0, 255)
    assert (shown - pixels).abs().max() <= 1


def test_real_is_all_of_train_the_same_in_every_epoch(digits):
    row = make("real", context(digits))
    assert len(row.data) == len(digits.train)
    for epoch in (0, 3):
        images, labels = row.data.batch(epoch, torch.tensor([5, 0]), device=CPU)
        assert torch.equal(images, digits.train.read([5, 0]))
        assert torch.equal(labels, digits.train.labels[[5, 0]])


@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize("side", [8, 5, 4])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_sheet_is_one_file_and_its_images_come_back(digits, format, side, count):
    codec, pixels = Codec(format, side, 95), digits.train.pixels(range(count))
    file = codec.encode(pixels)
    with PIL.open(io.BytesIO(file)) as image:
        columns = {1: 1, 5: 3, 9: 3}[count]
        assert image.format.lower() == format
        assert image.size == (8 * columns, 8 * -(-count // columns))
    back = codec.decode(file, count, channels=1, size=8)
    assert back.shape == pixels.shape
    alone = torch.cat(
        [codec.decode(codec.encode(one[None]), 1, channels=1, size=8) for one in pixels]
    )
    apart = (back[:, None].float() - alone[None].float()).abs().mean((2, 3, 4))  # (N, N)
    assert torch.equal(apart.argmin(1), torch.arange(count))
    assert (back.float() - pixels.float()).abs().mean() < {8: 8, 5: 60, 4: 70}[side]


@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize(("side", "most"), [(8, 5), (16, 5), (24, 2), (28, 2)])
def test_colours_of_a_sheet_stay_with_their_images(format, side, most):
    """But for the edges: codecs keep colours at half the side, and smooth them."""
    pixels = torch.zeros(4, 3, side, side, dtype=torch.uint8)
    for number in range(3):
        pixels[number, number] = 255
    codec = Codec(format, side, 75)
    back = codec.decode(codec.encode(pixels), 4, channels=3, size=side)
    assert (back.float() - pixels.float()).abs().mean() < most


@pytest.mark.parametrize("header", [0, 40])
@pytest.mark.parametrize("room", [30, 100, 1_000, 9_999])
def test_a_sheet_is_filled(header, room):
    """Where it has a header and an image has ten bytes more or less."""
    sheet = lambda count: bytes(header + 10 * count + count % 3)  # noqa: E731
    for guess in (1, 500):
        count, file = filled(sheet, room, most=400, guess=guess)
        assert (len(file), 1 <= count <= 400) == (len(sheet(count)), True)
        assert len(file) <= room or count == 1
        fuller = next((n for n in range(401, 0, -1) if n <= 400 and len(sheet(n)) <= room), 1)
        assert count >= 0.98 * fuller - 1


@pytest.mark.parametrize("size", [3_000, 12_671])
def test_compressed_photographs_fill_the_bytes_of_the_set(digits, size):
    row = stored(context(digits, size=size), Codec("webp", 8, 30), generator(0))
    assert 0.9 * size < row.bytes <= size
    assert row.data.labels.bincount().min() >= 1
    assert row.note == "webp sheets of 8 px at quality 30"


@pytest.mark.parametrize("few", [(), range(6), range(4, 10)])
def test_what_a_class_of_few_images_leaves_is_filled_by_the_others(digits, few, monkeypatch):
    """Whichever classes have four."""
    members = [
        rows[:4] if n in few else rows for n, rows in enumerate(rows_of_classes(digits.train))
    ]
    monkeypatch.setattr(compressed_images, "rows_of_classes", lambda train: members)
    row = stored(context(digits, size=9_000), Codec("webp", 8, 30), generator(0))
    counts = row.data.labels.bincount()
    assert 0.9 * 9_000 < row.bytes <= 9_000
    assert all(counts[n] == 4 for n in few)
    others = counts[[n for n in range(10) if n not in few]]
    assert others.max() < 1.5 * others.min()


def test_compressed_photographs_are_of_train_class_by_class(task):
    codec = Codec("jpeg", 8, 90)
    row = stored(context(task, size=3_000), codec, generator(0))
    train = task.train.read(range(len(task.train)))
    nearest = torch.cdist(row.data.images.flatten(1), train.flatten(1)).argmin(1)
    assert torch.equal(task.train.labels[nearest], row.data.labels)
    assert len({*nearest.tolist()}) == len(nearest)


def test_the_codec_is_the_one_that_does_best_and_is_chosen_once(digits):
    """By successive halving: of few, all are trained on once."""
    score = {str(codec): rank for rank, codec in enumerate(codecs(8))}
    calls = []

    def validate(name, data, divisor):
        calls.append((name, divisor))
        return score[name]

    where = context(digits, size=3_000, validate=validate)
    notes = {make("compressed", where, seed).note for seed in (0, 1)}
    assert [divisor for _, divisor in calls] == [16] * 3
    assert notes == {max((name for name, _ in calls), key=score.get)}


def test_of_each_size_the_nearest_codecs_that_fit_are_tried(monkeypatch):
    """And the best third of them for twice as long."""
    known = codecs(32)
    assert {codec.side for codec in known} == {8, 16, 32}
    near = {codec: (7 * number) % len(known) for number, codec in enumerate(known)}
    small = {codec for number, codec in enumerate(known) if number % 4}
    calls = []
    row = lambda _, codec, rng: SimpleNamespace(  # noqa: E731
        bytes=1 if codec in small else 99, data=codec
    )
    monkeypatch.setattr(compressed_images, "stored", row)
    monkeypatch.setattr(compressed_images, "neighbours", lambda _, data: near[data])

    def validate(name, data, divisor):
        calls.append((data, divisor))
        return near[data]

    found = best(
        SimpleNamespace(
            task=SimpleNamespace(size=32, validation=None), bytes=10, networks=1, validate=validate
        )
    )
    expected = [
        codec
        for side in (8, 16, 32)
        for codec in sorted((c for c in small if c.side == side), key=near.get)[-3:]
    ]
    longer = sorted(expected, key=near.get, reverse=True)[:3]
    assert sorted(map(str, (c for c, d in calls if d == 16))) == sorted(map(str, expected))
    assert [c for c, d in calls if d == 8] == longer
    assert found == longer[0]


@pytest.mark.parametrize("networks", range(1, 40))
def test_choosing_a_codec_takes_fewer_steps_than_the_networks_of_the_row(networks):
    for count in range(1, kept(512) + 1):
        assert sum(tried / part for tried, part in rounds(count, networks)) <= networks


def test_codecs_are_tried_whose_images_are_near_those_of_their_class(digits):
    """Real images are nearer to those of their class than the same ones of shuffled classes."""
    train, seen = digits.train, torch.arange(200)
    images, labels = train.read(seen), train.labels[seen]
    near = neighbours(digits.validation, Photographs(images, labels))
    assert near > 0.8
    assert neighbours(digits.validation, Photographs(images, labels.flip(0))) < 0.3


def test_all_are_those_that_are_possible(tmp_path, pixels):
    priors = DistilledDataset(made.write(tmp_path / "toys"))
    tensors = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    assert baselines.wanted("all", priors) == list(baselines.baselines)
    assert set(baselines.wanted("all", priors)) - {*baselines.wanted("all", pixels)} == {"means"}
    assert "compressed" not in baselines.wanted("all", tensors)
    assert baselines.wanted("all", tensors, features=False) == ["random", "real"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("herdin", RecipeError, "did you mean herding"),
        ("means", DataError, "needs Gaussian priors"),
        *((name, DataError, "whose bytes are known") for name in baselines.NEED_BYTES),
        *((name, TrainingError, "whose features it uses") for name in baselines.NEED_TEACHER),
    ],
)
def test_what_is_not_possible_is_refused(name, error, message):
    tensors = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    with pytest.raises(error, match=message):
        baselines.wanted(["random", name], tensors, features=False)


def test_codecs_whose_images_are_too_large_are_left_out():
    row = lambda size: SimpleNamespace(bytes=size)  # noqa: E731
    rows = {"small": row(90), "fits": row(100), "large": row(101)}
    assert fitting(rows, 100) == ["small", "fits"]
    assert fitting(rows, 10) == ["small"]
