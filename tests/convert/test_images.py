"""Distilled images of other methods: the same pixels afterwards."""

import json

import numpy as np
import pytest
import torch

import d3data
import pictures
import theirs
from d3data import convert as converting
from d3data.convert import whitening
from d3data.convert.normalization import renormalized
from d3data.errors import ArtifactError, DataError, FormatError
from d3data.evaluation import evaluate, protocols
from d3data.images.spec import Image
from d3data.images.tasks import TaskSpec, load_task
from d3data.nets import NetworkSpec

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # as DC and MTT have them
SHORT = protocols.protocols["quick"].model_copy(
    update={"name": "short", "steps": 2, "network": NetworkSpec(width=4)}
)


def colors(count=20, *, channels=3, size=32):
    """Pixels from 0 to 1, and a few outside, in float64."""
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, size, size, generator=rng, dtype=torch.float64) * 1.2 - 0.1


def normalized(pixels, mean=MEAN, std=STD):
    mean, std = torch.tensor([mean, std], dtype=torch.float64)[..., None, None]
    return ((pixels - mean) / std).float()


def pixels_of(values, mean=MEAN, std=STD):
    mean, std = torch.tensor([mean, std], dtype=torch.float64)[..., None, None]
    return values.double() * std + mean


@pytest.fixture
def saved(tmp_path):
    """Save things as `.pt` files; the path of each."""

    def save(**things):
        for name, thing in things.items():
            torch.save(thing, tmp_path / f"{name}.pt")
        return [tmp_path / f"{name}.pt" for name in things]

    return save


def convert(tmp_path, source, **more):
    return converting.images(
        source, **{"out": tmp_path / "made", "task": "cifar10", "mean": MEAN, "std": STD} | more
    )


LABELS = torch.arange(10).repeat(2)  # not in order of class


def test_normalized_values_become_those_of_the_task(tmp_path, saved):
    pixels = colors()
    x, y = saved(x=normalized(pixels), y=LABELS)
    found = convert(tmp_path, x, labels=y, method="mtt", license="MIT", step_size=0.25)
    image, about = found.manifest.content.image, found.manifest.about
    (source,) = found.sources()
    assert source.classes.tolist() == LABELS.sort().values.tolist()
    assert source.step_size.tolist() == [0.25]
    order = LABELS.argsort(stable=True)
    expected = normalized(pixels[order], image.mean, image.std)
    torch.testing.assert_close(source.pixels, expected, rtol=1e-5, atol=1e-5)
    data = d3data.load(tmp_path / "made", output="float")
    image, label = data.draw(0, 13)  # class 3, its second image
    assert label == 3
    torch.testing.assert_close(image, pixels[13].clamp(0, 1).float(), rtol=0, atol=1e-5)
    assert about.method.reference.endswith("arXiv:2203.11932")
    assert about.provenance.license == "MIT"
    assert json.loads(found.file("conversion.json"))["mean"] == list(MEAN)
    found.check_golden()


def test_values_that_are_normalized_as_here_stay_as_they_are(tmp_path, saved):
    preset = d3data.images.tasks.PRESETS["cifar10"]
    values = normalized(colors(), preset.mean, preset.std)
    x, y = saved(x=values, y=LABELS.int())
    found = convert(tmp_path, x, labels=y, mean=preset.mean, std=preset.std)
    assert torch.equal(found.sources()[0].pixels, values[LABELS.argsort(stable=True)])


@pytest.mark.parametrize("shape", ["dc", "list", "dict"])
def test_images_and_labels_in_one_file(tmp_path, saved, shape):
    values = [normalized(colors()) + shift for shift in (0.0, 0.5)]
    content = {
        "dc": {
            "data": [[each, LABELS] for each in values],
            "accs_all_exps": {"ConvNet": [np.float64(0.5)]},
        },
        "list": [values[1], LABELS],
        "dict": {"images": values[1], "labels": LABELS, "lr": 0.1},
    }[shape]
    (x,) = saved(x=content)
    found = convert(tmp_path, x, index=1)
    noted = json.loads(found.file("conversion.json"))
    assert (noted["index"], noted["files"][0]["name"]) == (1, "x.pt")
    first = convert(tmp_path, saved(x=[values[1], LABELS])[0], out=tmp_path / "first")
    assert torch.equal(found.sources()[0].pixels, first.sources()[0].pixels)


def test_soft_labels_stay_with_their_images(tmp_path, saved):
    rows = (theirs.soft(20, 10, seed=0) + 5 * torch.eye(10)[LABELS]).div(6)
    x, y = saved(x=normalized(colors()), y=rows)
    with pytest.raises(ArtifactError, match="teacher"):
        convert(tmp_path, x, labels=y, teacher="")
    found = convert(tmp_path, x, labels=y, teacher="ConvNet")
    assert found.manifest.content.labels.temperature == 1
    order = LABELS.argsort(stable=True)
    assert torch.equal(found.sources()[0].labels, rows[order])
    assert found.manifest.content.labels.teacher == "ConvNet"


@pytest.mark.parametrize(
    "stored",
    [LABELS.float(), LABELS[:, None], LABELS.double()[:, None], torch.eye(10).long()[LABELS],
     torch.eye(10).bool()[LABELS]],
)  # fmt: skip
def test_class_numbers_may_be_floats_columns_or_one_hot(tmp_path, saved, stored):
    x, y = saved(x=normalized(colors()), y=stored)
    found = convert(tmp_path, x, labels=y)
    assert found.sources()[0].classes.tolist() == LABELS.sort().values.tolist()
    assert found.manifest.content.labels.kind == "hard"


def test_logits_become_probabilities(tmp_path, saved):
    logits = 3 * torch.eye(10)[LABELS] + theirs.soft(20, 10, seed=0)
    x, y, sure = saved(x=normalized(colors()), y=logits, sure=logits.softmax(1))
    found = convert(tmp_path, x, labels=y, labels_are="logits")
    expected = logits.double().softmax(1)[LABELS.argsort(stable=True)]
    torch.testing.assert_close(found.sources()[0].labels.double(), expected, rtol=0, atol=1e-6)
    with pytest.raises(FormatError, match="probabilities already"):
        convert(tmp_path, x, labels=sure, labels_are="logits", out=tmp_path / "b")


def test_a_set_may_lie_in_several_files_and_its_step_size_in_another(tmp_path, saved):
    values = normalized(colors())
    whole, labels, lr = saved(whole=values, labels=LABELS, lr=torch.tensor(0.0625))
    pieces = saved(a=values[:7], b=values[7:])
    one = convert(tmp_path, whole, labels=labels, step_size=lr)
    found = convert(tmp_path, pieces, labels=labels, step_size="0.0625", out=tmp_path / "b")
    parts = saved(c=LABELS[:3], d=LABELS[3:])
    both = convert(tmp_path, pieces, labels=parts, step_size=lr, out=tmp_path / "c")
    assert one.manifest.content_sha256 == found.manifest.content_sha256
    assert one.manifest.content_sha256 == both.manifest.content_sha256
    assert one.sources()[0].step_size.tolist() == [0.0625]


def smooth(count, size):
    """Images like photographs: neighbouring pixels are alike."""
    rough = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(rough, size=size, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("factor", [2, 3])
def test_tiles_are_taken_apart_and_never_trained_on_unsaid(tmp_path, saved, factor):
    """IDC's decoding, tile by tile; where sizes do not divide, it pads."""
    side = -(-32 // factor)
    small = smooth(20 * factor**2, side).unflatten(0, (factor, factor, 20))
    rows = [torch.cat([*row], 3) for row in small]
    values = normalized(torch.cat(rows, 2)[..., :32, :32].double())
    x, y = saved(x=values, y=LABELS)
    with pytest.raises(ArtifactError, match=f"add --factor {factor}"):
        convert(tmp_path, x, labels=y)
    data = d3data.load(convert(tmp_path, x, labels=y, factor=factor).folder, output="normalized")
    assert data.artifact.manifest.content.parts[0].items_per_class == (2 * factor**2,) * 10
    assert json.loads(data.artifact.file("conversion.json"))["factor"] == factor
    padded = torch.nn.functional.pad(values, (0, side * factor - 32) * 2, value=0.5)
    tile = padded[3:4, :, side : 2 * side, :side]  # of class 3, the second from above
    enlarged = torch.nn.functional.interpolate(tile, size=32, mode="bilinear")
    (source,) = data.artifact.sources()
    image = data.artifact.manifest.content.image
    expected = normalized(pixels_of(enlarged), image.mean, image.std)
    of_class = source.pixels[source.classes == 3]
    assert (of_class - expected).abs().amax((1, 2, 3)).min() < 1e-5
    as_they_are = convert(tmp_path, x, labels=y, factor=1, out=tmp_path / "whole")
    assert as_they_are.manifest.content.parts[0].items_per_class == (2,) * 10


@pytest.mark.parametrize("moments", [((0.0,), (1.0,)), None])
def test_whitened_values_are_not_taken_for_pixels(tmp_path, saved, moments):
    task = load_task("digits")
    pixels = task.train.pixels(range(len(task.train))).double() / 255
    white = torch.from_numpy(naively_whitened(pixels.flatten(1).numpy(), 0.1)).view_as(pixels)
    x, y = saved(x=white[:100].float(), y=task.train.labels[:100])
    mean, std = moments or (task.mean, task.std)
    with pytest.raises(DataError, match="--zca with --data undoes it"):
        convert(tmp_path, x, labels=y, task="digits", mean=mean, std=std)
    assert convert(tmp_path, x, labels=y, task="digits", mean=mean, std=std, as_given=True)


def test_uint8_tensors_are_pixels(tmp_path, saved):
    pixels = (colors().clamp(0, 1) * 255).round().to(torch.uint8)
    x, y = saved(x=pixels, y=LABELS)
    convert(tmp_path, x, labels=y, mean=None, std=None)
    data = d3data.load(tmp_path / "made")
    assert torch.equal(data.draw(0, 13)[0], pixels[13])
    with pytest.raises(ArtifactError, match="neither normalized"):
        convert(tmp_path, x, labels=y, out=tmp_path / "again")


def naively_whitened(rows, regularization):
    """Kornia's ZCAWhitening in NumPy: by singular values of the unbiased covariance."""
    mean = rows.mean(0)
    u, s, _ = np.linalg.svd((rows - mean).T @ (rows - mean) / (len(rows) - 1))
    return (rows - mean) @ (u @ np.diag(1 / np.sqrt(s + regularization)) @ u.T)


def counted(monkeypatch, owner, name):
    """A list with an entry for each call of a method from now on."""
    calls, method = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **k: calls.append(name) or method(*a, **k))
    return calls


@pytest.mark.parametrize("moments", [None, ((0.3,), (0.4,))])
def test_whitening_is_undone(tmp_path, saved, monkeypatch, moments):
    monkeypatch.setattr(whitening, "CHUNK", 100)
    task = load_task("digits")
    splits = (task.train, task.validation)
    pixels = torch.cat([s.pixels(range(len(s))) for s in splits]).double() / 255
    labels = torch.cat([s.labels for s in splits])
    mean, std = moments or ((0.0,), (1.0,))
    rows = ((pixels - mean[0]) / std[0]).flatten(1).numpy()
    white = torch.from_numpy(naively_whitened(rows, 0.1)).float().view_as(pixels)
    x, y = saved(x=white[:100], y=labels[:100])
    more = {"mean": None, "std": None} if moments is None else {"mean": mean, "std": std}
    loaded = counted(monkeypatch, TaskSpec, "load")
    convert(tmp_path, x, labels=y, task="digits", zca=0.1, **more)
    assert len(loaded) == 1
    data = d3data.load(tmp_path / "made", output="float")
    order = labels[:100].argsort(stable=True)
    (source,) = data.artifact.sources()
    image = data.artifact.manifest.content.image
    again = source.pixels * image.std[0] + image.mean[0]
    torch.testing.assert_close(again.double(), pixels[:100][order], rtol=0, atol=1e-4)


def test_a_converted_set_is_evaluated_like_ours(tmp_path, saved):
    task = load_task("digits")
    drawn = [task.train.batch(2, of=kind, rng=torch.Generator()) for kind in range(10)]
    images, labels = (torch.cat(each) for each in zip(*drawn, strict=True))
    x, y = saved(x=images * 0.5, y=labels)
    convert(tmp_path, x, labels=y, task="digits", mean=task.mean, std=task.std)
    report = evaluate(tmp_path / "made", protocol=SHORT, seeds=[0], baselines=())
    assert report.rows[0].name == "distilled"


def test_folders_and_archives_are_read(tmp_path):
    names = ("ant", "bee", "cow")
    folder = pictures.image_folder(tmp_path / "folder", classes=names, count=1)
    arrays = np.stack([np.array(pictures.picture(100 * number)) for number in range(3)])
    np.savez(tmp_path / "x.npz", train_images=arrays, train_labels=np.arange(3))
    plain = {"task": "mine", "data": named_classes(tmp_path / "real.npz", names)}
    for number, source in enumerate((folder, tmp_path / "x.npz")):
        out = tmp_path / str(number)
        found = convert(tmp_path, source, out=out, mean=None, std=None, **plain)
        assert found.manifest.content.classes == names
        images = [d3data.load(out).draw(0, n)[0].permute(1, 2, 0) for n in range(3)]
        assert np.array_equal(torch.stack(images).numpy(), arrays)
    images = np.stack([np.array(pictures.picture(n, width=32, height=32)) for n in range(10)])
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(10))
    found = convert(tmp_path, tmp_path / "x.npz", mean=None, std=None)
    assert found.manifest.content.classes == tuple(map(str, range(10)))


def named_classes(path, classes):
    """An archive of twelve real images, whose classes are in the order given."""
    labels = np.arange(12) % len(classes)
    pixels = np.stack([np.array(pictures.picture(n)) for n in range(12)])
    np.savez(path, train_images=pixels, train_labels=labels, classes=np.array(classes))
    return path


SPELLINGS = {
    "as the classes": ("one", "Three", "two"),
    "as they are exported": ("0 one", "1 Three", "2 two"),
    "as numbers": ("0", "1", "2"),
    "as numbers of two digits": ("00", "01", "02"),
    "as SRe2L numbers them": ("new000", "new001", "new002"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("known", ["data", "classes"])
def test_folders_go_to_the_classes_that_they_are_called_after(tmp_path, known, spelling):
    """Sorted by name, capitals come first: positions among folders are no numbers of classes."""
    classes = ("one", "Three", "two")
    folder = pictures.image_folder(tmp_path / "folder", classes=SPELLINGS[spelling], count=1)
    real = named_classes(tmp_path / "real.npz", classes)
    more = {"data": real} if known == "data" else {"data": real, "classes": classes}
    found = convert(tmp_path, folder, task="mine", mean=None, std=None, **more)
    assert found.manifest.content.classes == classes
    data = d3data.load(found.folder)
    for number in range(3):
        picture = np.array(pictures.picture(100 * number))
        assert np.array_equal(data.draw(0, number)[0].permute(1, 2, 0).numpy(), picture)


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("one", "two", "four"), "not in the task: 'four'; lacks .* 'Three'"),
        (("one", "two"), "lacks .* 'Three'"),
        (("new000", "1", "2"), "not in the task: '1', '2', 'new000'"),
        (("1", "2", "3"), "not in the task: '1', '2', '3'.* number, 0 to 2"),
    ],
)
def test_folders_that_are_called_otherwise_are_refused(tmp_path, names, fault):
    folder = pictures.image_folder(tmp_path / "folder", classes=names, count=1)
    real = named_classes(tmp_path / "real.npz", ("one", "Three", "two"))
    plain = {"task": "mine", "data": real, "mean": None, "std": None}
    with pytest.raises(ArtifactError, match=fault):
        convert(tmp_path, folder, **plain)


def test_a_folder_is_noted_by_its_content(tmp_path):
    real = named_classes(tmp_path / "real.npz", ("0", "1", "2"))
    plain = {"task": "mine", "data": real, "mean": None, "std": None}

    def noted(name):
        found = convert(tmp_path, tmp_path / name, out=tmp_path / f"{name}-made", **plain)
        return json.loads(found.file("conversion.json"))

    for name in ("a", "b", "c"):
        pictures.image_folder(tmp_path / name, classes=("0", "1", "2"), count=1)
    pictures.picture(9, width=12, height=12).save(tmp_path / "c" / "0" / "0.png")
    a, b, c = map(noted, ("a", "b", "c"))
    assert (a["data"], a["files"][0]["name"], a["files"][0]["count"]) == ("real.npz", "a", 3)
    assert str(tmp_path) not in json.dumps(a)
    digests = [page["files"][0]["sha256"] for page in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]


def drawn(name, count, seed):
    task = load_task(name)
    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
    return task.train.pixels(order[:count].tolist()).double() / 255


@pictures.needs_real
@pytest.mark.parametrize(("name", "seed"), [("cifar10", 0), ("fashion-mnist", 1)])
def test_moments_that_are_wrong_are_refused_and_plausible_ones_are_not(name, seed):
    """Of ten real images; noise and more contrast stand for what distillation does."""
    preset = d3data.images.tasks.PRESETS[name]
    image = Image(channels=preset.channels, size=preset.native, mean=preset.mean, std=preset.std)
    pixels = drawn(name, 10, seed)
    plain = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, preset.channels)
    moments = torch.tensor([preset.mean, preset.std], dtype=torch.float64)
    mean, std = moments[..., None, None]
    values = (pixels - mean) / std
    for wrong, said in ((values, plain), (pixels, moments), (pixels * 255, plain)):
        with pytest.raises(DataError, match="--mean"):
            renormalized(wrong, said, image)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed)).double()
    contrast = 2 if name == "cifar10" else 1.2
    for right in (values, values + noise / 2, values * contrast, values.mean(0, keepdim=True)):
        assert renormalized(right, moments, image).isfinite().all()
        renormalized(right * std + mean, plain, image)


def test_backgrounds_a_little_below_black_are_pixels():
    pixels = torch.full((10, 1, 28, 28), -0.02, dtype=torch.float64)
    pixels[..., 10:18, 10:18] = 1
    plain = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    image = Image(channels=1, size=28, mean=(0.1307,), std=(0.3081,))
    assert renormalized(pixels, plain, image).isfinite().all()


def test_labels_go_with_tensors_however_their_file_is_called(tmp_path, saved):
    (y,) = saved(y=LABELS)
    torch.save(normalized(colors()), tmp_path / "x.PT")
    assert convert(tmp_path, tmp_path / "x.PT", labels=y).manifest.content.classes
    with pytest.raises(ArtifactError, match=r"end in \.pt or \.pth"):
        convert(tmp_path, tmp_path / "x.tar", labels=y, out=tmp_path / "other")


def test_what_does_not_go_together_is_refused(tmp_path, saved):
    values = normalized(colors())
    x, y, pair, strange = saved(x=values, y=LABELS, pair=[values, LABELS], strange={"z": 1})
    values[0, 0, 0, 0] = 3e38
    (huge,) = saved(huge=values)
    for source, more, kind, fault in (
        (huge, {"labels": y}, DataError, "mean absolute value"),
        (x, {}, ArtifactError, "has no labels"),
        (pair, {"labels": y}, ArtifactError, "omit --labels"),
        (strange, {}, FormatError, "but no 'images' or 'x'"),
        (x, {"labels": y, "std": None}, ArtifactError, "give the --mean and --std"),
        (x, {"labels": y, "std": (0.0, 1.0, 1.0)}, ArtifactError, "std above 0"),
        (x, {"labels": y, "mean": (0.0, 0.0)}, ArtifactError, "3 numbers each, or one"),
        (x, {"labels": y, "std": (float("nan"),)}, ArtifactError, "std above 0"),
        (x, {"labels": y, "mean": (0.0,)}, DataError, "a mean 2.0 of their standard deviations"),
        ([x, x], {"labels": y}, ArtifactError, "the same file: give each once"),
        (x, {"labels": x}, ArtifactError, "the same file"),
        ([], {"labels": y}, ArtifactError, "at least one"),
        ([x, pair], {"labels": y}, ArtifactError, "omit --labels"),
        ([x, "folder"], {}, ArtifactError, "must all hold tensors"),
        (x, {"labels": y, "labels_are": "logit"}, ArtifactError, "did you mean logits"),
        (x, {"labels": y, "labels_are": "logits"}, FormatError, "no logits"),
        (x, {"labels": y, "step_size": "soon"}, ArtifactError, "a number, or the .pt file"),
        (x, {"labels": y, "step_size": x}, FormatError, r"\(20, 3, 32, 32\), where one number"),
        (x, {"labels": y, "method": "idc"}, ArtifactError, "--factor"),
        (x, {"labels": y, "factor": 33}, ArtifactError, "factor"),
        (x, {"labels": y, "mean": (5.0,) * 3}, DataError, "100% above 1.1"),
        (x, {"labels": y, "step_size": 0.0}, ArtifactError, "above 0"),
        (x, {"labels": y, "draws_per_class": 0}, ArtifactError, "draws_per_class"),
        (x, {"labels": y, "std": (1e38,) * 3}, DataError, "pixels would be"),
        (x, {"labels": y, "zca": 0.1}, ArtifactError, "give --data"),
        (x, {"labels": y, "zca": -1.0}, ArtifactError, "above 0"),
        (x, {"labels": y, "task": "mnist"}, DataError, "3x32x32"),
        (x, {"labels": y, "task": "cifar100"}, ArtifactError, "without an image: 10, 11, .* more"),
        (x, {"labels": y, "name": "No Name"}, ArtifactError, "name"),
    ):
        with pytest.raises(kind, match=fault):
            convert(tmp_path, source, **more)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (LABELS[:19], r"\(19,\) for 20"),
        (LABELS + 1, "labels go from 1 to 10"),
        (LABELS - 1, "labels go from -1 to 8"),
        (torch.eye(10)[LABELS][:, :9], "add up to 1"),
        (theirs.soft(20, 11, seed=0), "have 11 classes"),
        (torch.randn(20, 10, generator=torch.Generator().manual_seed(0)), "--labels-are"),
        (LABELS + 0.5, "no class numbers"),
        (LABELS > 4, "no class numbers"),
        (torch.ones(20, 10).long(), "a single 1"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, saved, labels, fault):
    x, y = saved(x=normalized(colors()), y=labels)
    with pytest.raises(FormatError, match=fault):
        convert(tmp_path, x, labels=y)


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        (torch.zeros(20, 32, 32), r"not a tensor \(N, C, H, W\)"),
        (torch.zeros(20, 3, 32, 31), "squares"),
        (torch.zeros(20, 2, 32, 32), "one or three"),
        (torch.zeros(20, 3, 32, 32).long(), "uint8 or floats"),
        (torch.full((20, 3, 32, 32), torch.nan), "not finite"),
        ([1, 2, 3], "a list of 3"),
    ],
)
def test_images_that_are_none_are_refused(tmp_path, saved, images, fault):
    x, y = saved(x=images, y=LABELS)
    with pytest.raises(FormatError, match=fault):
        convert(tmp_path, x, labels=y)


def two_colors(tmp_path, *, modes=("L", "RGB"), widths=(32, 32)):
    """A folder of two classes, each with an image of a mode and a width."""
    for name, mode, width in zip(("ant", "bee"), modes, widths, strict=True):
        (tmp_path / "own" / name).mkdir(parents=True)
        image = pictures.picture(len(name), width=width, height=width, mode=mode)
        image.save(tmp_path / "own" / name / "0.png")
    return tmp_path / "own"


def test_a_folder_is_grey_only_if_all_of_its_images_are(tmp_path):
    own = two_colors(tmp_path)
    real = pictures.image_folder(tmp_path / "real", side=32)
    found = converting.images(own, out=tmp_path / "My Set", task="own", data=real)
    assert found.manifest.content.image.channels == 3
    assert found.manifest.about.name == "my-set"


def test_a_folder_of_several_splits_is_refused(tmp_path):
    for part in ("train", "test"):
        pictures.image_folder(tmp_path / "own" / part, side=32)
    place = tmp_path / "own"
    with pytest.raises(FormatError, match=r"has (test and train|train and test): a distilled"):
        converting.images(place, out=tmp_path / "made", task="own", data=place)
    alone = converting.images(place / "train", out=tmp_path / "made", task="own", data=place)
    assert alone.manifest.content.classes == ("ant", "bee")


def test_images_of_two_sizes_are_named(tmp_path):
    own = two_colors(tmp_path, widths=(32, 16))
    with pytest.raises(FormatError, match=r"ant/0\.png has 32x32 .* bee/0\.png has 16x16"):
        converting.images(own, out=tmp_path / "made", task="own", data=own)


@pytest.mark.parametrize(
    "labels", [LABELS[:, None], LABELS[:, None].float(), torch.eye(10, dtype=torch.int64)[LABELS]]
)
def test_labels_in_a_column_and_one_hot_numbers_are_classes(labels, tmp_path, saved):
    x, y = saved(x=normalized(colors()), y=labels)
    found = convert(tmp_path, x, labels=y)
    assert found.manifest.content.labels.kind == "hard"
    assert found.sources()[0].classes.tolist() == LABELS.sort().values.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((20, 10), 2), "not each row has a single 1.*one-hot rows"),
        (torch.full((20, 1), 0.5), "no class numbers: whole numbers"),
        (torch.full((20, 10), 2.0), "if they are logits, add --labels-are logits"),
    ],
)
def test_labels_that_are_neither_say_what_to_store(labels, message, tmp_path, saved):
    x, y = saved(x=normalized(colors()), y=labels)
    with pytest.raises(FormatError, match=message):
        convert(tmp_path, x, labels=y)
