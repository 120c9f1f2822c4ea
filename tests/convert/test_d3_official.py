"""Checkpoints of D3's published code: the images are theirs."""

import json
import math

import pytest
import torch

import d3data
import pictures
import theirs
from d3data import convert as converting
from d3data.cards import Facts, card
from d3data.convert import checkpoint as checkpoints
from d3data.convert.checkpoint import read_checkpoint
from d3data.convert.classes import published_order
from d3data.convert.provenance import UNSEEN, origin, wordnet_order
from d3data.errors import ArtifactError, D3DataError, DataError, FormatError
from d3data.images.presets import PRESETS
from d3data.images.spec import Image
from d3data.sources import sampling

IMAGENET = PRESETS["imagenet"]
NEAR = {"rtol": 0, "atol": 1e-5}


def noise_of(items, latents):
    return torch.from_numpy(sampling.noise(0, 0, range(items), values=latents))


def latents_of(stored, noise):
    return stored[:, :, 0] + torch.exp(0.5 * stored[:, :, 1]) * noise


def convert(folder, kind, **more):
    """An artifact of two subtasks, and what is in the files."""
    paths, decoders, stored = theirs.subtasks(folder, kind)
    found = converting.d3_official(paths, out=folder / "made", task=theirs.KINDS[kind][0], **more)
    return found, decoders, stored


@pytest.mark.parametrize("kind", theirs.KINDS)
@torch.no_grad()
def test_images_are_those_of_the_published_layers_in_evaluation_mode(tmp_path, kind):
    found, decoders, stored = convert(tmp_path, kind)
    sources = found.sources()
    assert [s.classes.tolist() for s in sources] == [
        p.repeat_interleave(theirs.each(kind)).tolist()
        for p in torch.arange(theirs.KINDS[kind][2]).chunk(2)
    ]
    for source, decoder, each in zip(sources, decoders, stored, strict=True):
        items = torch.arange(len(each))
        noise = noise_of(*each.shape[:2])
        theirs_now = decoder(latents_of(each, noise))
        assert theirs_now.std() > 0.1
        torch.testing.assert_close(source(items, noise), theirs_now, **NEAR)
        torch.testing.assert_close(source(items, None), decoder(each[:, :, 0]), **NEAR)


@torch.no_grad()
def test_norms_are_folded_in_float64(tmp_path):
    found, decoders, _ = convert(tmp_path, "medium")
    for source, decoder in zip(found.sources(), decoders, strict=True):
        up, norm = (layer.double() for layer in decoder.decoder[0][:2])
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = (up.weight * scale[:, None, None]).float()
        bias = ((up.bias - norm.running_mean) * scale + norm.bias).float()
        torch.testing.assert_close(source.decoder.ups[0].weight, weight, rtol=6e-8, atol=0)
        torch.testing.assert_close(source.decoder.ups[0].bias, bias, rtol=1.2e-7, atol=0)


PUBLISHED = {
    "imagenet-ipc1": (64, 789_187, lambda: theirs.Small(256, 64, 64)),
    "imagenet-ipc2": (2048, 5_774_691, lambda: theirs.Wide(512, 64, linear=True)),
    "imagenet-ipc10": (4096, 6_308_547, lambda: theirs.Wide(1024, 64, linear=False)),
}


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_images_agree_at_the_published_sizes(tmp_path, name):
    latents, parameters, make = PUBLISHED[name]
    made, stored = theirs.with_statistics(make(), seed=0), theirs.priors(2, latents, seed=0)
    assert sum(parameter.numel() for parameter in made.parameters()) == parameters
    content = {"z_dim": latents, "kernel_num": 256, "im_size": (64, 64), "channel": 3}
    content |= {"syn_img": stored, "vae_state_dict": made.state_dict()}
    torch.save(content, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    image = Image(channels=3, size=64, mean=IMAGENET.mean, std=IMAGENET.std)
    ours = found.decoder(found.decoder_spec(image), image)(found.mean)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, made(stored[:, :, 0]), **NEAR)


@pytest.mark.parametrize("kind", ["small", "medium", "large"])
@torch.no_grad()
def test_batch_norms_are_those_of_training_mode_on_all_priors(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHUNK", 4)
    found, decoders, stored = convert(tmp_path, kind, norms="batch")
    for source, decoder, each in zip(found.sources(), decoders, stored, strict=True):
        noise = noise_of(*each.shape[:2])
        frozen = decoder(latents_of(each, noise))
        theirs_now = decoder.train()(latents_of(each, noise))
        assert (theirs_now - frozen).abs().mean() > 0.01
        ours = source(torch.arange(len(each)), noise)
        torch.testing.assert_close(ours, theirs_now, **NEAR)


@torch.no_grad()
def test_a_converted_set_loads_like_any_other(tmp_path):
    more = {"draws_per_class": 7, "license": "MIT", "step_size": 0.25}
    found, decoders, stored = convert(tmp_path, "small", **more)
    assert [source.step_size.tolist() for source in found.sources()] == [[0.25], [0.25]]
    data = d3data.load(tmp_path / "made", output="normalized", seed=5)
    assert (len(data), data.classes) == (70, [*map(str, range(10))])
    image, label = data.draw(2, 38)  # class 8 and its draw 3: item (2 * 7 + 3) mod 3 = 2
    noise = torch.from_numpy(sampling.noise(5, 2, [38], values=6))
    row = 3 * 3 + 2
    theirs_now = decoders[1](latents_of(stored[1][row : row + 1], noise))[0]
    torch.testing.assert_close(image, theirs_now, **NEAR)
    assert label == 8
    made = found.manifest.about.provenance
    assert (made.recipe_sha256, made.fingerprint, made.images) == (None, UNSEEN, 50_000)
    assert (made.license, found.manifest.about.name) == ("MIT", "made")
    assert "arXiv:2403.00999" in found.manifest.about.method.reference
    assert found.manifest.content.image.std == (0.2023, 0.1994, 0.2010)
    noted = json.loads(found.file("conversion.json"))
    assert noted["norms"] == "running"
    assert [file["name"] for file in noted["files"]] == [f"small_{n}_final.pt" for n in (0, 1)]
    assert not {"data", "blocks", "class_order"} & noted.keys()
    found.check()
    found.check_golden()
    text = card(Facts.of(found, None))
    assert "30 Gaussian priors and 2 decoders" in text
    assert "license: mit" in text


def test_imagenet_has_the_classes_that_the_published_code_means(tmp_path):
    """Its labels are those of the downsampled ImageNet; a mean tells which class it is of."""
    paths, labels = [], []
    for number in range(5):
        stored = theirs.priors(200, 6, seed=number)
        stored[:, 0, 0] = torch.arange(200 * number, 200 * (number + 1))
        content = theirs.content("small-64", theirs.decoder("small-64", seed=0), stored)
        paths.append(tmp_path / f"{number}_final.pt")
        torch.save(content, paths[-1])
        labels.append(tmp_path / f"{number}_softlabel.pt")
        rows = torch.eye(1000)[200 * number : 200 * (number + 1)]
        torch.save(rows, labels[-1])
    found = converting.d3_official(
        paths, out=tmp_path / "imagenet-ipc1", soft_labels=labels, teacher="ConvNet, epoch 9"
    )
    content = found.manifest.content
    assert (content.image.mean, content.image.std) == (IMAGENET.mean, IMAGENET.std)
    assert content.classes == tuple(sorted(wordnet_order()))
    assert content.classes[0] == "n01440764"  # tench, which they number 448
    assert (content.labels.kind, content.labels.teacher) == ("soft", "ConvNet, epoch 9")
    seen = {}
    for source in found.sources():
        assert torch.equal(source.labels.argmax(1), source.classes)
        names = [content.classes[c] for c in source.classes.tolist()]
        seen |= dict(zip(source.mean[:, 0].int().tolist(), names, strict=True))
    assert [seen[number] for number in range(1000)] == list(wordnet_order())
    assert (seen[0], seen[8], seen[448], seen[500], seen[999]) == (
        "n02119789",  # kit fox
        "n02417914",  # ibex
        "n01440764",  # tench
        "n01644900",  # tailed frog
        "n03255030",  # dumbbell
    )


def test_soft_labels_go_with_their_items(tmp_path):
    paths, _, stored = theirs.subtasks(tmp_path, "small")
    blocks = [[9, 0, 2, 4, 6], [1, 3, 5, 7, 8]]
    rows = [theirs.soft(len(each), 10, seed=n, own=blocks[n]) for n, each in enumerate(stored)]
    files = [tmp_path / f"{n}_softlabel.pt" for n in range(2)]
    for file, each in zip(files, rows, strict=True):
        torch.save(each, file)
    found = converting.d3_official(
        paths, out=tmp_path / "made", task="cifar10", soft_labels=files, blocks=blocks
    )
    assert found.manifest.content.labels.temperature == 1
    assert json.loads(found.file("conversion.json"))["blocks"] == blocks
    for source, block, each, prior in zip(found.sources(), blocks, rows, stored, strict=True):
        for position, kind in enumerate(block):
            mine = source.classes == kind
            assert torch.equal(source.labels[mine], each[3 * position : 3 * position + 3])
            assert torch.equal(source.mean[mine], prior[3 * position : 3 * position + 3, :, 0])


def test_names_and_fingerprint_come_from_the_real_images(tmp_path):
    names = tuple("abcdefghij")
    real = pictures.image_folder(tmp_path / "real", classes=names, count=2)
    found, _, _ = convert(tmp_path, "small", data=real)
    made = found.manifest.about.provenance
    assert (found.manifest.content.classes, made.images) == (names, 20)
    assert made.fingerprint != UNSEEN


def changed(path, change):
    content = torch.load(path, weights_only=True)  # noqa: TID251  our own
    change(content)
    torch.save(content, path)


def drop(key):
    return lambda content: content["vae_state_dict"].pop(key)


def put(key, tensor):
    return lambda content: content["vae_state_dict"].__setitem__(key, tensor)


FAULTS = {
    "no priors": (lambda c: c.pop("syn_img"), "has syn_img"),
    "another key": (lambda c: c.update(more=1), "has syn_img"),
    "two numbers a latent": (lambda c: c.update(syn_img=torch.zeros(15, 6)), r"\(N, Z, 2\)"),
    "three numbers a latent": (lambda c: c.update(syn_img=torch.zeros(15, 6, 3)), r"\(15, 6, 3\)"),
    "no rows": (lambda c: c.update(syn_img=torch.zeros(0, 6, 2)), "no priors"),
    "other z_dim": (lambda c: c.update(z_dim=7), r"\(15, 7, 2\)"),
    "z_dim a word": (lambda c: c.update(z_dim="6"), "z_dim '6'"),
    "sizes in lists": (lambda c: c.update(im_size=([1], [1])), r"im_size \(list, list\)"),
    "a width of two": (lambda c: c.update(kernel_num=torch.ones(2)), "kernel_num is Tensor"),
    "a name that is none": (put(7, torch.ones(1)), "by name"),
    "a name for the terminal": (put("\x1b[2J" * 1000, torch.ones(1)), r"has also '\\x1b\[2J"),
    "no finite image": (lambda c: c["syn_img"].data[..., 0].fill_(3e38), "not finite"),
    "not square": (lambda c: c.update(im_size=(32, 64)), "must be squares"),
    "other size": (lambda c: c.update(im_size=(64, 64)), "different shapes"),
    "other width": (lambda c: c.update(kernel_num=17), "kernel_num is 17"),
    "log-variance": (
        lambda c: c["syn_img"].data.__setitem__((0, 0, 1), 1e4),
        "log-variances beyond",
    ),
    "not finite": (lambda c: c["syn_img"].data.__setitem__((0, 0, 0), torch.inf), "not finite"),
    "no deconvolution": (drop("decoder.0.0.weight"), r"no decoder\.0\.0\.weight"),
    "no statistics": (drop("decoder.1.1.running_mean"), r"lacks 'decoder\.1\.1\.running_mean'"),
    "no convolution": (drop("decoder.4.bias"), r"lacks 'decoder\.4\.bias'"),
    "another tensor": (put("encoder.weight", torch.ones(1)), "has also 'encoder.weight'"),
    "other shape": (
        put("decoder.1.0.bias", torch.ones(9)),
        r"decoder\.1\.0\.bias has shape \(9,\)",
    ),
    "no tensor": (put("decoder.1.0.bias", 3), "is a int"),
    "other type": (put("project.bias", torch.ones(64).double()), "float64"),
    "weight not finite": (put("project.bias", torch.full((64,), torch.nan)), "not finite"),
    "negative variance": (put("decoder.1.1.running_var", -torch.ones(4)), "negative"),
    "wider": (put("decoder.0.0.weight", torch.ones(5000, 8, 4, 4)), "width"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_checkpoints_that_are_none_are_refused(tmp_path, fault):
    change, message = FAULTS[fault]
    paths, _, _ = theirs.subtasks(tmp_path, "small")
    changed(paths[1], change)
    with pytest.raises((FormatError, ArtifactError), match=message) as refused:
        converting.d3_official(paths, out=tmp_path / "made", task="cifar10")
    assert str(refused.value).isprintable()
    assert fault == "other size" or str(refused.value).startswith(str(paths[1]))
    assert str(paths[0]) not in str(refused.value)
    assert not (tmp_path / "made").exists()


def refused(tmp_path, kind, match, **more):
    with pytest.raises(kind, match=match):
        converting.d3_official(**{"out": tmp_path / "made", "task": "cifar10"} | more)
    assert not (tmp_path / "made").exists()


def test_subtasks_that_make_no_set_are_refused(tmp_path):
    paths, _, _ = theirs.subtasks(tmp_path, "small")
    medium, _, _ = theirs.subtasks(tmp_path, "medium")
    refused(tmp_path, ArtifactError, "no checkpoints", checkpoints=[])
    refused(tmp_path, ArtifactError, "the same", checkpoints=[paths[0], paths[0]])
    content = torch.load(paths[0], weights_only=True)  # noqa: TID251  our own
    torch.save(dict(reversed(content.items())), tmp_path / "again.pt")
    refused(tmp_path, ArtifactError, "the same", checkpoints=[paths[0], tmp_path / "again.pt"])
    refused(tmp_path, ArtifactError, "do not give 10 classes", checkpoints=[*paths, *medium[:1]])
    refused(tmp_path, ArtifactError, "have the same", checkpoints=[paths[0], medium[1]])
    refused(tmp_path, D3DataError, "32x32", checkpoints=paths, task="tiny-imagenet")
    for blocks, fault in (
        ([range(5), range(4, 9)], "each class number from 0 to 9 once"),
        ([range(5), range(5)], "each class number from 0 to 9 once"),
        ([range(10)], "1 blocks of classes for 2"),
        ([range(7), range(7, 10)], "not the same number"),
    ):
        refused(tmp_path, ArtifactError, fault, checkpoints=paths, blocks=blocks)


def test_arguments_are_checked(tmp_path):
    paths, _, stored = theirs.subtasks(tmp_path, "small")
    refused(tmp_path, ArtifactError, "did you mean batch", checkpoints=paths, norms="batches")
    refused(tmp_path, ArtifactError, "give both", checkpoints=paths, mean=(0, 0, 0))
    refused(tmp_path, ArtifactError, "not known", checkpoints=paths, task="mine")
    moments = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    refused(tmp_path, DataError, "'mine' is not one of", checkpoints=paths, task="mine", **moments)
    refused(tmp_path, ArtifactError, "omit it", checkpoints=paths, class_order="wordnet")
    for draws_per_class in (0, 2):
        more = {"checkpoints": paths, "draws_per_class": draws_per_class}
        refused(tmp_path, ArtifactError, "draws_per_class", **more)
    for step_size in (0.0, -1.0, math.nan, math.inf):
        refused(tmp_path, ArtifactError, "above 0", checkpoints=paths, step_size=step_size)
    refused(tmp_path, DataError, "2 class names", checkpoints=paths, classes=["a", "b"])
    labels = tmp_path / "soft.pt"
    torch.save(theirs.soft(len(stored[0]), 10, seed=0), labels)
    more = {"checkpoints": paths, "soft_labels": [labels]}
    for teacher in ("", "x" * 1001):
        refused(tmp_path, ArtifactError, "teacher", teacher=teacher, **more)
    refused(tmp_path, ArtifactError, "1 files of soft labels for 2", **more)
    refused(tmp_path, FormatError, "soft labels go to", checkpoints=[*paths, labels])
    for rows, fault in (
        (theirs.soft(15, 11, seed=0), r"\(15, 11\)"),
        (theirs.soft(15, 10, seed=0) - 0.2, "probabilities"),
        (theirs.soft(15, 10, seed=0) * 1.003, "add up to 1"),
    ):
        torch.save(rows, labels)
        more = {"checkpoints": paths, "soft_labels": [labels, labels]}
        refused(tmp_path, FormatError, fault, **more)


def numbered(tmp_path, names):
    """Checkpoints of two subtasks and their soft labels under the names given; both lists."""
    paths, _, _ = theirs.subtasks(tmp_path, "small")
    checkpoints, labels = [], []
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        checkpoints.append(path.rename(tmp_path / f"{name}_final.pt"))
        labels.append(tmp_path / f"{name}_softlabel.pt")
        own = range(5 * number, 5 * number + 5)
        torch.save(theirs.soft(15, 10, seed=number, own=own), labels[-1])
    return checkpoints, labels


@pytest.mark.parametrize("name", ["imagebatch", "imagenethalf", "imageten", "tinybatch"])
def test_files_whose_names_count_are_given_in_that_order(tmp_path, name):
    names = [f"ImageNet64_{name}_{number}_ipc1" for number in (2, 10)]
    checkpoints, labels = numbered(tmp_path, names)
    backwards = {"checkpoints": checkpoints[::-1]}
    refused(tmp_path, ArtifactError, r"numbered \[10, 2\].*ascending", **backwards)
    labeled = {"checkpoints": checkpoints, "soft_labels": labels[::-1]}
    refused(
        tmp_path, ArtifactError, r"\[2, 10\] by their names, the soft labels \[10, 2\]", **labeled
    )
    found = converting.d3_official(
        checkpoints[::-1],
        out=tmp_path / "made",
        task="cifar10",
        soft_labels=labels[::-1],
        blocks=[range(5, 10), range(5)],
    )
    for source, checkpoint in zip(found.sources(), checkpoints, strict=True):
        assert torch.equal(source.mean, read_checkpoint(checkpoint).mean)


def test_soft_labels_tell_subtasks_that_are_exchanged(tmp_path):
    checkpoints, labels = numbered(tmp_path, ["a", "b"])
    lists = {"checkpoints": checkpoints, "soft_labels": labels[::-1]}
    refused(tmp_path, ArtifactError, "seem to be exchanged", **lists)
    lists = {"checkpoints": checkpoints[::-1], "soft_labels": labels[::-1]}
    refused(tmp_path, ArtifactError, "seem to be exchanged", **lists)
    lists = {"checkpoints": checkpoints, "soft_labels": [labels[0], labels[0]]}
    refused(tmp_path, ArtifactError, "are the same", **lists)


def test_a_teacher_that_likes_some_classes_everywhere_exchanges_nothing(tmp_path):
    checkpoints, labels = numbered(tmp_path, ["a", "b"])
    for number, path in enumerate(labels):
        scores = theirs.soft(15, 10, seed=number, own=range(5 * number, 5 * number + 5)).log()
        scores[:, :5] += 3
        torch.save(scores.softmax(1), path)
        assert scores.softmax(1)[:, :5].sum(1).mean() > 0.5
    lists = {"soft_labels": labels, "out": tmp_path / "made", "task": "cifar10"}
    assert converting.d3_official(checkpoints, **lists).manifest.content.labels.kind == "soft"


WORDNET = sorted(wordnet_order())
FOX = WORDNET.index("n02119789")
NAMES = [f"class {n}" for n in range(1000)]


def ids_of_imagenet(classes, order):
    """The id of each class of the published code, in a task with these classes."""
    real = origin("imagenet-64", channels=3, size=64, data=None, classes=classes)
    return published_order(real, order)


def test_names_or_an_order_tell_which_classes_of_imagenet_are_meant():
    for classes, order, fox in (
        (WORDNET, None, FOX),
        (WORDNET, "wordnet", FOX),
        (WORDNET[::-1], None, 999 - FOX),
        (NAMES, "wordnet", FOX),
        (NAMES, "downsampled", 0),
    ):
        ids = ids_of_imagenet(classes, order)
        assert ids[0] == fox  # their class 0 is the kit fox
        assert sorted(ids) == list(range(1000))


def test_an_order_of_imagenet_that_is_not_known_is_refused(tmp_path):
    for classes, order, fault in (
        (NAMES, None, "--class-order wordnet"),
        ([*WORDNET[:-1], "toilet"], None, "not WordNet ids"),
        (WORDNET[::-1], "wordnet", "in another order"),
        (WORDNET, "alphabetical", "unknown class order"),
    ):
        with pytest.raises(D3DataError, match=fault):
            ids_of_imagenet(classes, order)
    place = pictures.image_folder(tmp_path / "real")
    real = origin("imagenet-64", channels=3, size=64, data=place, classes=None)
    with pytest.raises(DataError, match="has 2 classes here"):
        published_order(real, None)
