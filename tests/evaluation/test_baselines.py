"""Baselines: what equal size means, and that each chooses as its paper says."""

import io
from dataclasses import replace
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
from d3data.evaluation.baselines import Photographs, Setting, coresets
from d3data.evaluation.baselines.compressed import Codec, codecs, stored
from d3data.evaluation.protocol_epochs import MeansAndDraws, trained_on
from d3data.evaluation.protocols import protocols
from d3data.evaluation.runner import Bench
from d3data.evaluation.setup import Ground
from d3data.utils.rng import generator

CPU = torch.device("cpu")


def setting(task, draws=None, *, values=None, size=None, judge=None):
    teacher = nets.build(channels=1, size=8, classes=len(task.classes), width=4, seed=0)
    return Setting(
        task=task,
        draws=draws or Photographs(torch.zeros(30, 1, 8, 8), torch.arange(30) % 10),
        values=values,
        bytes=size,
        teach=lambda: teacher,
        judge=judge or (lambda what, rival, part: 0.0),
        device=CPU,
    )


def make(name, where, seed=0):
    return baselines.named(name)(where, rng=generator(seed, "a"))


def keys(images):
    return {image.numpy().tobytes() for image in images}


CORES = ("random", "herding", "k-center", "k-means")


@pytest.mark.parametrize("name", CORES)
def test_cores_are_distinct_images_of_train_class_by_class(digits, name):
    found = make(name, setting(digits, values=7 * 640))
    assert found.draws.labels.bincount().tolist() == [7] * 10
    assert len(keys(found.draws.images)) == 70
    assert (found.images_per_class, found.values, found.bytes) == (7, 4480, 4480)
    train = digits.train.read(torch.arange(len(digits.train)))
    for label in range(10):
        mine = found.draws.images[found.draws.labels == label]
        assert keys(mine) <= keys(train[digits.train.labels == label])


@pytest.mark.parametrize("name", CORES)
def test_a_generator_repeats(digits, name):
    where = setting(digits, values=3200)
    one, same = (make(name, where) for _ in range(2))
    assert torch.equal(one.draws.images, same.draws.images)


def test_another_generator_draws_others(digits):
    one, other = (make("random", setting(digits, values=3200), seed) for seed in (0, 1))
    assert not torch.equal(one.draws.images, other.draws.images)


def test_a_class_with_fewer_images_gives_them_all(digits):
    few = replace(digits, train=digits.validation)
    found = make("random", setting(few, values=640 * 10_000))
    assert found.draws.labels.bincount().tolist() == digits.validation.counts()


@pytest.mark.parametrize(
    ("values", "count"), [(100, 1), (640, 1), (641, 2), (1280, 2), (2450, 4), (6400, 10)]
)
def test_real_images_take_as_many_values_as_the_set_or_a_few_more(digits, values, count):
    assert setting(digits, values=values).per_class == count


def test_a_set_that_tells_no_values_counts_its_images(digits):
    draws = Photographs(torch.zeros(39, 1, 8, 8), torch.arange(39) % 10)
    assert setting(digits, draws).per_class == 3


@pytest.mark.parametrize(("size", "count"), [(100, 1), (640, 1), (641, 2), (1280, 2), (6400, 10)])
def test_bytes_are_counted_as_uint8(digits, size, count):
    found = make("random-bytes", setting(digits, values=640, size=size))
    assert (found.images_per_class, found.bytes) == (count, count * 640)


@pytest.mark.parametrize("name", ["random-bytes", "compressed"])
def test_equal_bytes_need_bytes(digits, name):
    with pytest.raises(DataError, match="need a set that says its bytes"):
        make(name, setting(digits))


def test_herding_follows_the_mean_greedily():
    features = torch.randn(30, 5, generator=generator(0), dtype=torch.float64)
    rows = coresets.herd(features, 6).tolist()
    for count in range(1, 7):

        def apart(row, before=rows[: count - 1]):
            return (features[[*before, row]].mean(0) - features.mean(0)).norm()

        free = set(range(30)) - set(rows[: count - 1])
        assert rows[count - 1] == min(free, key=apart)


def test_centers_leave_nothing_far():
    features = torch.randn(40, 3, generator=generator(1), dtype=torch.float64)
    rows = coresets.centers(features, 8).tolist()
    assert rows[0] == int((features - features.mean(0)).norm(dim=1).argmin())
    for count in range(1, 8):
        nearest = torch.cdist(features, features[rows[:count]]).min(1).values
        assert rows[count] == int(nearest.argmax())


def test_medoids_are_nearest_to_centers():
    groups = torch.arange(4).repeat_interleave(10)
    features = 20 * torch.eye(4)[groups] + torch.randn(40, 4, generator=generator(2))
    rows = coresets.medoids(features, 4, seed=0)
    assert sorted(groups[rows].tolist()) == [0, 1, 2, 3]
    for row in rows.tolist():
        mine = features[groups == groups[row]]
        own = (mine - mine.mean(0)).norm(dim=1)
        assert (features[row] - mine.mean(0)).norm() == pytest.approx(own.min().item())
    assert coresets.medoids(features, 50, seed=0).tolist() == list(range(40))


def test_an_image_that_is_nearest_to_two_centers_is_taken_once(monkeypatch):
    found = SimpleNamespace(cluster_centers_=np.array([[0.0], [0.1]]))
    fitted = SimpleNamespace(fit=lambda features: found)
    monkeypatch.setattr("sklearn.cluster.KMeans", lambda count, **options: fitted)
    features = torch.tensor([[5.0], [0.0], [1.0]])
    assert coresets.medoids(features, 2, seed=0).tolist() == [1, 2]


@pytest.mark.parametrize("choose", [coresets.herd, coresets.centers])
def test_no_more_than_there_are(choose):
    features = torch.randn(4, 3, generator=generator(0))
    assert sorted(choose(features, 9).tolist()) == [0, 1, 2, 3]


def test_soft_labels_are_the_teachers_and_are_counted(digits):
    where = setting(digits, values=2 * 10 * 74)
    found = make("soft", where)
    with torch.no_grad():
        expected = where.teacher(found.draws.images).softmax(1)
    torch.testing.assert_close(found.draws.labels, expected)
    assert (found.images_per_class, found.values) == (2, 20 * 74)
    assert found.bytes == 20 * (64 + 4 * 10)


def test_the_teacher_is_trained_once(digits):
    calls = []
    network = nets.build(channels=1, size=8, classes=10, width=4, seed=0)
    where = replace(setting(digits, values=640), teach=lambda: calls.append(1) or network)
    for name in ("herding", "k-means", "soft"):
        make(name, where)
    assert calls == [1]


def test_what_a_teacher_says_of_an_image_depends_on_no_other(digits):
    network = nets.build(channels=1, size=8, classes=10, width=4, norm="batch", seed=0)
    where = replace(setting(digits), teach=network.train)
    images = digits.train.read(range(9))
    torch.testing.assert_close(where.probabilities(images)[:2], where.probabilities(images[:2]))


def test_means_are_the_priors_without_noise(tmp_path, digits):
    data = DistilledDataset(made.write(tmp_path / "toys", "residual"))
    found = make("means", setting(digits, data, values=5, size=6))
    assert len(found.draws) == 9
    assert found.draws.labels.tolist() == data.drawer.item_classes.tolist()
    pixels = data.mean_images()[0]
    std, mean = (torch.tensor(m)[:, None, None] for m in (data.image.std, data.image.mean))
    shown = (255 * (found.draws.images * std + mean)).round().clamp(0, 255)
    assert (shown - pixels).abs().max() <= 1
    assert (found.values, found.bytes) == (5, 6)
    pixels = DistilledDataset(made.write(tmp_path / "pixels", "pixels"))
    with pytest.raises(DataError, match="needs Gaussian priors"):
        make("means", setting(digits, pixels))


def test_real_is_all_of_train(digits):
    found = make("real", setting(digits))
    assert len(found.draws) == len(digits.train)
    images, labels = found.draws.batch(3, torch.tensor([5, 0]), device=CPU)
    assert torch.equal(images, digits.train.read([5, 0]))
    assert torch.equal(labels, digits.train.labels[[5, 0]])


@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize("side", [8, 4])
def test_files_are_files_and_come_back(digits, format, side):
    codec, pixels = Codec(format, side, 90), digits.train.pixels([3])[0]
    file = codec.encode(pixels)
    with PIL.open(io.BytesIO(file)) as image:
        assert (image.format.lower(), image.size) == (format, (side, side))
    back = codec.decode(file, channels=1, size=8)
    assert back.shape == (1, 8, 8)
    if side == 8:
        assert (back.int() - pixels.int()).abs().float().mean() < 8


@pytest.mark.parametrize("size", [3_000, 12_671])
def test_compressed_photographs_fill_the_bytes_of_the_set(digits, size):
    codec = Codec("webp", 8, 30)
    found = stored(setting(digits, size=size), codec, generator(0))
    assert found.bytes <= size or found.draws.labels.bincount().min() == 1
    counts = found.draws.labels.bincount()
    assert counts.min() >= 1
    most = max(len(codec.encode(p)) for p in digits.train.pixels(range(200)))
    assert found.bytes > size - 10 * most
    assert found.note == "webp of 8 px at quality 30"


def test_compressed_photographs_are_of_train_class_by_class(task):
    codec = Codec("jpeg", 8, 30)
    found = stored(setting(task, size=3_000), codec, generator(0)).draws
    files = map(codec.encode, task.train.pixels(range(len(task.train))))
    back = torch.stack([codec.decode(file, channels=1, size=8) for file in files])
    for label in range(3):
        mine = task.normalized(back[task.train.labels == label])
        assert keys(found.images[found.labels == label]) <= keys(mine)


def test_the_codec_is_the_one_that_does_best_and_is_chosen_once(digits):
    judged = []

    def judge(what, rival, part):
        judged.append((what, part))
        return 1.0 if what == "webp of 8 px at quality 5" else 1 / len(what)

    where = setting(digits, size=5_000, judge=judge)
    notes = {make("compressed", where, seed).note for seed in (0, 1)}
    assert notes == {"webp of 8 px at quality 5"}
    assert len(judged) == len(set(judged)) == 12 + 4 + 2
    assert [part for _, part in judged] == [8] * 12 + [4] * 4 + [2] * 2


def test_a_codec_that_is_not_in_the_best_third_is_not_trained_on_for_longer(digits):
    score = {str(codec): rank for rank, codec in enumerate(codecs(8))}
    judged = []

    def judge(what, rival, part):
        judged.append((what, part))
        return score[what]

    make("compressed", setting(digits, size=5_000, judge=judge), 0)
    longer = {what for what, part in judged if part < 8}
    assert longer == {what for what, rank in score.items() if rank >= 8}


def test_all_are_those_that_are_possible(tmp_path):
    priors = DistilledDataset(made.write(tmp_path / "toys"))
    pixels = DistilledDataset(made.write(tmp_path / "pixels", "pixels"))
    tensors = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    assert baselines.wanted("all", priors) == list(baselines.baselines)
    assert set(baselines.wanted("all", priors)) - {*baselines.wanted("all", pixels)} == {"means"}
    assert "compressed" not in baselines.wanted("all", tensors)
    with pytest.raises(RecipeError, match="did you mean herding"):
        baselines.wanted(["herdin"], tensors)


def test_they_are_the_same_in_every_epoch():
    images, labels = torch.randn(4, 1, 8, 8, generator=generator(0)), torch.arange(4)
    photographs = Photographs(images, labels)
    for epoch in (0, 7):
        got, of = photographs.batch(epoch, torch.tensor([2, 0]), device=CPU)
        assert torch.equal(got, images[[2, 0]])
        assert of.tolist() == [2, 0]


@pytest.mark.parametrize("kind", ["gaussian", "soft"])
def test_an_epoch_of_d3_is_every_mean_and_a_draw_of_every_prior(tmp_path, kind):
    write = made.rounded if kind == "soft" else made.write
    data = DistilledDataset(write(tmp_path / "toys"))
    epochs = trained_on(data, protocols["d3"])
    most = int(data.drawer.items_per_class.max())
    assert len(epochs) == 9 + 5 * most
    everything = torch.arange(len(epochs))
    images, labels = epochs.batch(4, everything, device=CPU)
    again, _ = epochs.batch(5, everything, device=CPU)
    means = data.drawer.decode(data.drawer.mean_latents(range(9)), residual=False)
    torch.testing.assert_close(images[:9], means)
    assert torch.equal(images[:9], again[:9])
    assert (images[9:] - again[9:]).abs().amax((1, 2, 3)).min() > 0
    drawn = DistilledDataset(data.artifact, draws_per_class=most)
    expected, of = drawn.batch(4, range(len(drawn)))
    torch.testing.assert_close(images[9:], expected)
    assert torch.equal(labels[9:], of)
    shuffled = everything.flip(0)
    torch.testing.assert_close(epochs.batch(4, shuffled, device=CPU)[0], images.flip(0))
    assert trained_on(Photographs(images, labels), protocols["d3"]).images is images


def bench(digits, protocol):
    return Bench(Ground(digits, digits.test, protocol, CPU), (0, 1), (0, 1))


@pytest.mark.parametrize(("name", "draws"), [("dc", 40), ("d3", 18 + 40), ("quick", 90)])
def test_an_epoch_of_a_set_is_that_of_the_protocol(priors, digits, name, draws):
    """18 priors, at most 4 of a class; an epoch of its own has 9 draws of each."""
    data = DistilledDataset(priors.artifact, draws_per_class=9)
    seen = bench(digits, protocols[name])._itself(data)(0).draws
    assert len(seen) == draws
    assert isinstance(seen, MeansAndDraws) == (name == "d3")


def test_a_protocol_may_say_how_many_draws_of_each_class_an_epoch_has(priors, digits, tiny):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "draws": 7})
    seen = bench(digits, protocol)._itself(priors)(0).draws
    assert len(seen) == 70
    assert torch.equal(
        seen.batch(1, torch.arange(70), device=CPU)[0],
        DistilledDataset(priors.artifact, draws_per_class=7).batch(1, range(70))[0],
    )
    assert protocol.length(len(seen)) == 2 * 5


def test_means_have_labels_of_the_kind_that_is_asked_for(priors, digits):
    for soft in (True, False):
        data = DistilledDataset(priors.artifact, soft_labels=soft)
        labels = make("means", setting(digits, data)).draws.labels
        assert labels.is_floating_point() == soft
        assert len(labels) == 18


def test_without_augmentation_nothing_is_mixed(digits, tiny):
    protocol = tiny.model_copy(update={"mix": "cutmix"})
    plain = bench(digits, protocol).unaugmented().ground.protocol
    assert (plain.augment, plain.mix) == ("none", "none")


@pytest.mark.parametrize("name", baselines.TAUGHT)
def test_what_needs_features_is_refused_where_there_are_none(name):
    tensors = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    with pytest.raises(TrainingError, match="tell their features"):
        baselines.wanted([name], tensors, features=False)
    assert baselines.wanted("all", tensors, features=False) == ["random", "real"]
