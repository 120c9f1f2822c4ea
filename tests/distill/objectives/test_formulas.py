"""Each objective against a naive reference in float64."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

import toys
from d3data.distill.objectives import (
    Alternate,
    ExpertAlignment,
    GradientMatching,
    KernelMatching,
    MeanMatching,
    TrajectoryMatching,
    WeightedSum,
)
from d3data.distill.objectives.base import choose_real, sample_items
from d3data.distill.objectives.kernel_matching import discrepancy
from d3data.errors import D3DataError, RecipeError
from d3data.images.augment import augmentation
from d3data.sources import registry
from d3data.sources.pixels import PixelsSpec


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return toys.experts(tmp_path_factory.mktemp("experts"))


def naive_mmd(x, y, widths):
    """Gretton et al. 2012, Eq. 3, pair by pair."""

    def k(a, b):
        distance = sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True))
        return sum(math.exp(-distance / (2 * s * s)) for s in widths)

    m, n = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_y = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(k(a, b) for a in x for b in y) / (m * n)
    return within_x + within_y - 2 * across


@pytest.mark.parametrize("bandwidth", ["published", "median", (0.5, 3.0)])
def test_the_discrepancy_is_the_unbiased_mmd(bandwidth):
    rng = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(3, 5, 4, generator=rng, dtype=torch.float64)
    y = 1 + torch.randn(3, 7, 4, generator=rng, dtype=torch.float64)
    expected = []
    for one, other in zip(x, y, strict=True):
        widths = [1.0, 2, 4, 8, 16] if bandwidth == "published" else bandwidth
        if bandwidth == "median":
            squared = sorted(((a - b) ** 2).sum().item() for a in one for b in other)
            median = squared[(len(squared) - 1) // 2]
            widths = [f * math.sqrt(median) for f in (0.25, 0.5, 1, 2, 4)]
        expected.append(naive_mmd(one, other, widths))
    torch.testing.assert_close(discrepancy(x, y, bandwidth), torch.tensor(expected).double())


def test_the_estimator_is_unbiased():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3000, 4, 3, generator=rng)
    values = discrepancy(x, y, "published")
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert (values < 0).any()


def test_the_discrepancy_keeps_its_gradient_at_large_distances():
    rng = torch.Generator().manual_seed(0)
    x, y = 100 * torch.randn(2, 1, 8, 16, generator=rng)
    x.requires_grad_()
    discrepancy(x, y + 50, "median").sum().backward()
    assert x.grad.abs().max() > 1e-6


def naive_student(source, vector, network, step_size, batches):
    """Plain gradient descent in float64, one parameter list at a time."""
    network = network.double()
    nn.utils.vector_to_parameters(vector.double().clone(), network.parameters())
    for items in batches:
        loss = F.cross_entropy(network(source.pixels[items].double()), source.classes[items])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.data.sub_(step_size * gradient)
    return nn.utils.parameters_to_vector(network.parameters())


@pytest.mark.parametrize("bandwidth", ["published", "median"])
def test_kernel_matching_looks_through_an_expert_after_its_last_epoch(bandwidth, experts):
    source = toys.source("pixels")
    objective = KernelMatching(experts=toys.PLAN, samples=3, bandwidth=bandwidth)
    context = toys.context(experts, steps=1)
    loss = next(objective.losses(source, context))
    rng = context.rng("mmd", 0)
    expert = int(torch.randint(len(experts), (), generator=rng))
    network = experts.network().requires_grad_(False).double()
    last = experts.snapshot(expert, toys.PLAN.epochs).double()
    nn.utils.vector_to_parameters(last, network.parameters())
    items = sample_items(source, 3, rng)
    expected = 0.0
    for label in range(3):
        y = network.features(toys.task().train.batch(3, of=label, rng=rng)[0].double())
        x = network.features(source.pixels[items[label]].double())
        median = torch.cdist(x, y).flatten().sort().values[4].item()
        widths = {
            "published": [1.0, 2, 4, 8, 16],
            "median": [f * median for f in (0.25, 0.5, 1, 2, 4)],
        }
        expected += naive_mmd(x, y, widths[bandwidth])
    assert loss.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("rate", "learned", "applied"),
    [
        ("leaky", 0.02, 0.0201),
        ("leaky", -0.5, -0.0049),
        ("plain", 0.02, 0.02),
        ("plain", -0.5, 1e-8),
    ],
)
def test_trajectory_matching_is_its_formula(rate, learned, applied, experts):
    source = toys.source("pixels")
    source.step_size.data.fill_(learned)
    objective = toys.MTT.model_copy(update={"rate": rate})
    context = toys.context(experts, steps=1)
    loss = next(objective.losses(source, context))
    rng = context.rng("mtt", 0)
    trajectory = int(torch.randint(len(experts), (), generator=rng))
    epoch = int(torch.randint(objective.max_start_epoch, (), generator=rng))
    start = experts.snapshot(trajectory, epoch).double()
    target = experts.snapshot(trajectory, epoch + objective.expert_epochs).double()
    batches = torch.randperm(len(source.classes), generator=rng).split(objective.batch)
    end = naive_student(source, start, experts.network(), applied, batches[:3])
    expected = (end - target).square().sum() / (start - target).square().sum()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["mtt", "dd"])
def test_rates_that_are_learned_never_become_negative(name, experts):
    source, objective = toys.source("pixels"), toys.OBJECTIVES[name]
    if name == "mtt":
        objective = objective.model_copy(update={"rate": "plain"})
    context = toys.context(experts, steps=3)
    for _ in objective.losses(source, context):
        assert source.step_size.min() > 0
        source.step_size.data.sub_(1.0)
    objective.finish(source, context)
    assert source.step_size.min() > 0


def test_trajectory_matching_differentiates_through_every_step(experts):
    source = toys.source("pixels")
    context = toys.context(experts, steps=1)
    next(toys.MTT.losses(source, context)).backward()
    rng = context.rng("mtt", 0)
    trajectory = int(torch.randint(len(experts), (), generator=rng))
    epoch = int(torch.randint(toys.MTT.max_start_epoch, (), generator=rng))
    start, target = (experts.snapshot(trajectory, epoch + e).double() for e in (0, 1))
    network = experts.network().double()
    names, shapes = zip(*((n, p.shape) for n, p in network.named_parameters()), strict=True)
    pieces = start.split([shape.numel() for shape in shapes])
    student = [p.view(s).requires_grad_() for p, s in zip(pieces, shapes, strict=True)]
    pixels = source.pixels.detach().double().requires_grad_()
    step_size = source.step_size.detach().double().requires_grad_()
    for items in torch.randperm(len(source.classes), generator=rng).split(4)[:3]:
        logits = functional_call(network, dict(zip(names, student, strict=True)), (pixels[items],))
        loss = F.cross_entropy(logits, source.classes[items])
        gradients = torch.autograd.grad(loss, student, create_graph=True)
        student = [p - (step_size + 1e-4) * g for p, g in zip(student, gradients, strict=True)]
    end = torch.cat([p.flatten() for p in student])
    ((end - target).square().sum() / (start - target).square().sum()).backward()
    for got, expected in (
        (source.pixels.grad, pixels.grad),
        (source.step_size.grad, step_size.grad),
    ):
        assert (got - expected).norm() < 1e-3 * expected.norm()


def test_items_are_used_up_before_they_are_shuffled_again():
    objective = TrajectoryMatching(student_steps=5, batch=4, max_start_epoch=1)
    batches = list(objective._batches(10, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))


def test_mean_matching_is_its_formula():
    source = toys.source("pixels")
    objective = MeanMatching(network=toys.NETWORK, samples=3, real=5, augment="none")
    context = toys.context(None, steps=1)
    loss = next(objective.losses(source, context))
    rng = context.rng("dm", 0)
    network = objective._networks(context)(0, rng).double()
    items = sample_items(source, 3, rng)
    expected = 0.0
    for label in range(3):
        real = toys.task().train.batch(5, of=label, rng=rng)[0]
        mean_real = sum(network.features(i[None].double()) for i in real) / 5
        drawn = [network.features(source.pixels[i][None].double()) for i in items[label]]
        expected += (sum(drawn) / 3 - mean_real).square().sum().item()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


class OneImage:
    """Training images of which all of a class are the same."""

    def __init__(self, images):
        self.images = images

    def on(self, device):
        return self

    def choose(self, size, *, of, rng):
        return torch.full((size,), of)

    def read(self, indices):
        return self.images[indices]


def test_mean_matching_augments_both_sides_with_the_same_numbers():
    source = toys.source("pixels")
    images = torch.cat([source.pixels.detach()[source.classes == label][:1] for label in range(3)])
    task = dataclasses.replace(toys.task(), train=OneImage(images))

    def losses(pixels, augment):
        source.pixels.data.copy_(pixels[source.classes])
        objective = MeanMatching(network=toys.NETWORK, samples=4, real=5, augment=augment)
        context = toys.ObjectiveContext(task, seed=7, steps=8)
        return torch.stack([loss.detach() for loss in objective.losses(source, context)])

    others = losses(images.roll(1, 0), "siamese-noflip")
    assert (losses(images, "siamese-noflip") < 1e-6 * others).all()
    assert not torch.isclose(others, losses(images.roll(1, 0), "none"), rtol=1e-3).all()


@pytest.mark.parametrize("start", [0, 1])
def test_children_take_turns(start, experts):
    source = toys.source("pixels")
    context = toys.context(experts, steps=5, start=start)
    losses = [loss.item() for loss in toys.OBJECTIVES["alternate"].losses(source, context)]
    trajectories = toys.MTT.losses(source, toys.context(experts, steps=3, path="0/"))
    kernels = toys.MMD.losses(source, toys.context(experts, steps=2, path="1/"))
    turns = (trajectories, kernels, trajectories, kernels, trajectories)
    assert losses == [next(stream).item() for stream in turns][start:]


def test_a_sum_weighs_its_children(experts):
    source = toys.source("pixels")
    objective = WeightedSum(children=(toys.MTT, toys.MMD), weights=(0.25, -3.0))
    losses = [loss.item() for loss in objective.losses(source, toys.context(experts, steps=2))]
    first, second = (toys.context(experts, steps=2).child(n, together=True) for n in (0, 1))
    pairs = zip(toys.MTT.losses(source, first), toys.MMD.losses(source, second), strict=True)
    expected = [0.25 * a.item() - 3 * b.item() for a, b in pairs]
    assert losses == pytest.approx(expected, rel=1e-5)


class Watched:
    """Experts that tell which of them, after which epochs, were looked through."""

    def __init__(self, experts):
        self.experts, self.chosen = experts, []

    def __len__(self):
        return len(self.experts)

    def network(self):
        return self.experts.network()

    def snapshot(self, expert, epoch):
        self.chosen.append((expert, epoch))
        return self.experts.snapshot(expert, epoch)

    def viewer(self):
        view = self.experts.viewer()

        def seen(expert, epoch):
            self.chosen.append((expert, epoch))
            return view(expert, epoch)

        return seen


def test_children_of_a_sum_look_through_one_expert_some_epochs_apart(experts):
    match = toys.MMD.model_copy(update={"epochs": (1, 3)})
    align = ExpertAlignment(experts=toys.PLAN, epochs=(1, 3), ahead=1, samples=2, augment="none")
    watched = Watched(experts)
    context = toys.context(watched, steps=24)
    source = toys.source("pixels")
    assert len([*WeightedSum(children=(match, align), weights=(1, 1)).losses(source, context)])
    pairs = [*zip(watched.chosen[::2], watched.chosen[1::2], strict=True)]
    assert all(one[0] == other[0] for one, other in pairs)
    assert {(one[1], other[1]) for one, other in pairs} == {(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)}
    assert {one[0] for one, _ in pairs} == {0, 1}


def test_trajectories_are_matched_through_the_expert_of_their_sum(experts):
    watched = Watched(experts)
    match = toys.MMD.model_copy(update={"epochs": (0, 1)})  # the window of mtt
    whole = WeightedSum(children=(toys.MTT, match), weights=(1, 1))
    assert len([*whole.losses(toys.source("pixels"), toys.context(watched, steps=24))])
    starts, ends, matched = (watched.chosen[first::3] for first in range(3))
    assert starts == matched
    assert ends == [(expert, epoch + 1) for expert, epoch in starts]
    assert set(starts) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_all_within_a_sum_look_through_one_expert_a_step(experts):
    """At its own step, whatever steps those within count, from wherever it begins."""
    one = toys.MMD.model_copy(update={"epochs": (0, 3), "samples": 2})
    turns = Alternate(children=(one, Alternate(children=(one, one))))
    inner = WeightedSum(children=(one, turns), weights=(1, 1))
    whole = Alternate(children=(one, WeightedSum(children=(one, turns, inner), weights=(1,) * 3)))
    found = []
    for start in (0, 3):
        watched, source = Watched(experts), toys.source("pixels")
        context = toys.context(watched, steps=24, start=start)
        assert len([*whole.losses(source, context)]) == 24 - start
        chosen = iter(watched.chosen)
        steps = [[next(chosen) for _ in range(1 + 3 * (n % 2))] for n in range(start, 24)]
        assert all(len(set(step)) == 1 for step in steps)
        found.append(steps)
    assert found[0][3:] == found[1]
    assert {step[0][0] for step in found[0][1::2]} == {0, 1}


@pytest.mark.parametrize(
    ("objective", "epochs"),
    [(toys.ALIGN, {0, 1, 2, 3}), (toys.MMD, {3}), (MeanMatching(experts=toys.PLAN), {1, 2, 3})],
)
def test_experts_are_looked_through_within_a_window(objective, epochs, experts):
    context, chosen = toys.context(experts, steps=1), set()
    for step in range(64):
        chosen.add(objective.choose(context, step, context.rng("choice", step)))
    assert chosen == {(expert, epoch) for expert in (0, 1) for epoch in epochs}


@pytest.mark.parametrize("epochs", [(0, 4), (2, 1), (-1, 2)])
@pytest.mark.parametrize("kind", [KernelMatching, MeanMatching, ExpertAlignment])
def test_a_window_is_within_what_is_recorded(kind, epochs):
    with pytest.raises(D3DataError, match="epochs"):
        kind.parse({"experts": toys.PLAN.dump(), "epochs": epochs}, where="recipe")
    with pytest.raises(D3DataError, match="give experts"):
        MeanMatching.parse({"epochs": (0, 1)}, where="recipe")


@pytest.mark.parametrize("augment", ["none", "siamese-noflip"])
def test_alignment_is_the_cross_entropy_of_an_expert_a_little_later(augment, experts):
    source = toys.source("pixels")
    chosen = {"epochs": (1, 1), "ahead": 0, "samples": 3, "augment": augment}
    objective = toys.ALIGN.model_copy(update=chosen)
    context = toys.context(experts, steps=1)
    loss = next(objective.losses(source, context))
    rng = context.rng("align", 0)
    expert, epoch = objective.choose(context, 0, rng)
    torch.randint(1, (), generator=rng)
    network = experts.network().requires_grad_(False).double()
    nn.utils.vector_to_parameters(experts.snapshot(expert, 1).double(), network.parameters())
    expected = 0.0
    items = sample_items(source, 3, rng).flatten()
    images = augmentation(augment)(source.pixels.detach()[items], rng)
    for image, label in zip(images, source.classes[items], strict=True):
        (logits,) = network(image[None].double())
        expected += (logits.exp().sum().log() - logits[label]).item() / 9
    assert epoch == 1
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_draws_of_a_class_are_spread_over_its_items():
    classes = torch.tensor([0, 0, 0, 1, 1])
    image = toys.image_of(toys.task())
    source = registry.blank(PixelsSpec(), image, classes=classes, step_size=0.1)
    items = sample_items(source, 7, torch.Generator().manual_seed(0))
    assert items.shape == (2, 7)
    assert (classes[items] == torch.tensor([[0], [1]])).all()
    assert torch.bincount(items[0], minlength=3)[:3].tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])


@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 1, 7), (1,)])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_items_are_whole_turns_of_a_class_in_random_order(sizes, count):
    classes = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    classes = classes[torch.randperm(len(classes), generator=torch.Generator().manual_seed(1))]
    source = registry.blank(PixelsSpec(), toys.image_of(toys.task()), classes=classes, step_size=1)
    rng, same = (torch.Generator().manual_seed(0) for _ in range(2))
    for row, members in zip(sample_items(source, count, rng), source.members, strict=True):
        turns = -(-count // len(members))
        orders = [torch.randperm(len(members), generator=same) for _ in range(turns)]
        assert torch.equal(row, members[torch.cat(orders)][:count])
    assert torch.equal(rng.get_state(), same.get_state())


@pytest.mark.parametrize("name", ["mtt", "dd", "dsa-looped", "kip", "frepo", "sum"])
def test_a_subtask_of_one_class_is_refused_where_it_has_nothing_to_teach(name):
    fits = toys.OBJECTIVES[name].require_fit
    fits(classes=2, items=[3, 3], step_sizes=1)
    with pytest.raises(RecipeError, match="a subtask of one class has no"):
        fits(classes=1, items=[3], step_sizes=1)


def test_step_sizes_are_one_for_all_steps_or_one_for_each():
    for objective, steps in ((toys.MTT, 3), (toys.OBJECTIVES["dd"], 8)):
        for fine in (1, steps):
            objective.require_fit(classes=2, items=[3, 3], step_sizes=fine)
        with pytest.raises(RecipeError, match=f"step_sizes is 2, .* takes {steps} steps"):
            objective.require_fit(classes=2, items=[3, 3], step_sizes=2)


def test_groups_that_no_class_can_fill_are_refused():
    with pytest.raises(RecipeError, match=r"objective\.groups is 2, and no class has so many"):
        toys.OBJECTIVES["dd"].require_fit(classes=2, items=[1, 1], step_sizes=1)


def test_unrolled_training_is_its_formula():
    """Wang et al. 2018, Algorithm 1, with momentum; items take turns in two groups."""
    source, objective = toys.source("pixels"), toys.OBJECTIVES["dd"]
    rates = torch.linspace(0.02, 0.3, 8)
    source.step_size = nn.Parameter(rates)
    context = toys.context(None, steps=1)
    loss = next(objective.losses(source, context))
    rng = context.rng("dd", 0)
    network = toys.NETWORK.build(toys.task(), int(torch.randint(2**62, (), generator=rng)))
    network = network.double()
    members = [(source.classes == label).nonzero().flatten() for label in range(3)]
    speeds = [torch.zeros_like(one) for one in network.parameters()]
    for step in range(8):
        items = torch.cat([mine[step % 2 :: 2] for mine in members])
        outputs = network(source.pixels.detach()[items].double())
        given = F.cross_entropy(outputs, source.classes[items])
        slopes = torch.autograd.grad(given, list(network.parameters()))
        for one, speed, slope in zip(network.parameters(), speeds, slopes, strict=True):
            speed.mul_(objective.momentum).add_(slope)
            one.data.sub_(rates[step].item() * speed)
    images, labels = toys.task().train.batch(objective.real, rng=rng)
    expected = F.cross_entropy(network(images.double()), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_trajectories_that_are_too_short_are_refused():
    with pytest.raises(D3DataError, match=r"reach epoch 28, but experts\.epochs is 10"):
        TrajectoryMatching.parse({"experts": {"epochs": 10}}, where="recipe")


def test_the_gradient_of_a_sum_is_the_sum_of_gradients(experts):
    """Each child looks through a network of its own until all have their gradients."""
    children = (toys.MMD, toys.OBJECTIVES["dm-experts"], toys.ALIGN)
    moved = []
    for weights in [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)]:
        source = toys.source("pixels")
        whole = WeightedSum(children=children, weights=weights)
        next(whole.losses(source, toys.context(experts, steps=1))).backward()
        moved.append(source.pixels.grad)
    torch.testing.assert_close(sum(moved[:3]), moved[3], rtol=1e-4, atol=1e-6)


def test_every_image_of_classes_of_different_sizes_is_matched():
    """Also where one class has fewer images than the others."""
    source, sizes = toys.source("pixels"), {len(items) for items in toys.source("pixels").members}
    assert len(sizes) > 1
    objective = MeanMatching(network=toys.NETWORK, real=8, by_class=True)
    next(objective.losses(source, toys.context(None, steps=1))).backward()
    assert (source.pixels.grad.flatten(1).abs().amax(1) > 0).all()


def test_a_period_is_over_once_every_method_within_had_its_turn():
    outer = GradientMatching(network=toys.NETWORK, outer=4)
    assert Alternate(children=(outer, toys.MMD)).period == 8
    assert WeightedSum(children=(outer, toys.MMD), weights=(1.0, 1.0)).period == 4
    nested = Alternate(children=(toys.MMD, WeightedSum(children=(outer,), weights=(1.0,))))
    assert nested.period == 8


def test_means_by_class_are_matched_under_an_augmentation_of_each_class():
    objective = toys.OBJECTIVES["dm-by-class"]
    source, context = toys.source("pixels"), toys.context(None, steps=1)
    loss = next(objective.losses(source, context))
    rng, change = context.rng("dm", 0), augmentation(objective.augment)
    seed = int(torch.randint(2**62, (), generator=rng))
    network = toys.NETWORK.build(toys.task(), seed).double()
    items = sample_items(source, max(map(len, source.members)), rng)
    chosen = choose_real(context, objective.real, rng)
    expected = 0.0
    for mine, real, own in zip(items, chosen, source.members, strict=True):
        mine = mine[: len(own)]  # each once
        drawn = change.draw(1, rng, shared=True)
        x = network.features(change.apply(source.pixels.detach()[mine].double(), drawn))
        y = network.features(change.apply(toys.task().train.read(real).double(), drawn))
        expected += (x.mean(0) - y.mean(0)).square().sum().item()
    assert loss.item() == pytest.approx(expected, rel=1e-3)
