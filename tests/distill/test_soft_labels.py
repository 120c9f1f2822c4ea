"""Soft labels against their formula, written out image by image."""

import pytest
import torch

import tiny_runs as runs
from d3data.distill import experts, soft_labels
from d3data.distill.experts import ExpertPlan, Experts
from d3data.distill.jobs import blank
from d3data.distill.recipe import SoftLabels
from d3data.nets.compute import AS_WRITTEN
from d3data.utils import rng

PLAN = ExpertPlan.parse({**runs.EXPERTS, "learning_rate": 0.5}, where="a plan")  # 2 of 2 epochs


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    task, device = runs.recipe().task.load(), torch.device("cpu")
    paths = [tmp_path_factory.mktemp("teachers") / str(index) for index in range(PLAN.count)]
    for index, path in enumerate(paths):
        experts.record(
            PLAN, task, seed=0, index=index, path=path, device=device, compute=AS_WRITTEN
        )
    return task, Experts(PLAN, task, paths, device=device)


def lively(task):
    """A source whose items and draws differ a lot."""
    source, random = blank(runs.recipe(), task), rng.generator(0, "values")
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=random)
    return source.requires_grad_(False)


def naive(teachers, images, *, epoch, temperature):
    """(K,): the mean over teachers of exp(f / T) / sum exp(f / T) for each of some images."""
    task, recorded = teachers
    total = torch.zeros(10, dtype=torch.float64)
    for index in range(len(recorded)):
        network = PLAN.network.build(task, 1)
        vector = recorded.snapshot(index, epoch)
        torch.nn.utils.vector_to_parameters(vector, network.parameters())
        for image in images:
            powers = (network(image[None])[0].detach().double() / temperature).exp()
            total += powers / powers.sum()
    return (total / (len(recorded) * len(images))).float()


@pytest.mark.parametrize("draws", [0, 3])
@pytest.mark.parametrize(("epoch", "temperature"), [(1, 2.0), (2, 0.5)])
def test_labels_are_what_teachers_say_on_average(teachers, monkeypatch, draws, epoch, temperature):
    monkeypatch.setattr(soft_labels, "CHUNK", 8)  # 20 items: two chunks and a rest
    source = lively(teachers[0])
    config = SoftLabels(teacher=PLAN, epoch=epoch, temperature=temperature, draws=draws)
    labels = soft_labels.relabel(source, teachers[1], config, seed=5)
    assert labels.shape == (20, 10)
    assert labels.std(0).max() > 1e-3, "all items look the same"
    for chunk, items in enumerate(torch.arange(20).split(8)):
        with torch.no_grad():
            drawn = [
                source.images(items, rng.generator(5, "labels", chunk, draw))
                for draw in range(draws)
            ] or [source.images(items, None)]
        for row, item in enumerate(items):
            images = [images[row] for images in drawn]
            expected = naive(teachers, images, epoch=epoch, temperature=temperature)
            torch.testing.assert_close(labels[item], expected, rtol=1e-4, atol=1e-6)
    flat = naive(teachers, [drawn[0][0]], epoch=epoch, temperature=1.0)
    assert not torch.allclose(labels[item], flat, atol=1e-3), "the temperature has no say here"
    more = config.model_copy(update={"draws": draws + 1})
    others = soft_labels.relabel(source, teachers[1], more, seed=5)
    assert (labels - others).abs().max() > 1e-4, "draws have no say here"


def test_teachers_with_batch_norms_are_tested_with_statistics_of_train_images(teachers):
    """Their snapshots have none, so that a teacher would answer with those of a fresh network."""
    task, recorded = teachers
    plan = PLAN.model_copy(update={"network": PLAN.network.model_copy(update={"norm": "batch"})})
    batches = Experts(plan, task, recorded.paths, device=torch.device("cpu"))
    teacher = batches.teacher(0, 2)
    images = task.train.read(torch.arange(len(task.train)))
    alone, together = teacher(images), teacher.train()(images)
    assert (alone - together).abs().mean() < 0.2 * together.std()
    assert (alone.argmax(1) == together.argmax(1)).float().mean() > 0.9
