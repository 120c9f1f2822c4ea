"""What holds for every objective on every source."""

from collections import Counter

import pytest
import safetensors.torch
import torch

import tiny_runs as runs
import toys
from d3data.distill import get_recipe, list_recipes
from d3data.distill.objectives import Objective
from d3data.errors import TrainingError
from d3data.sources import registry
from d3data.sources.base import purpose

SHIPPED = {
    (one.kind, recipe.source.kind)
    for recipe in map(get_recipe, list_recipes())
    if recipe.objective is not None
    for one in (recipe.objective, *recipe.objective.leaves)
}
# every pair of a recipe; every objective meets every fourth source, and the other way round
PAIRS = [
    (objective, kind)
    for row, objective in enumerate(toys.OBJECTIVES)
    for column, kind in enumerate(toys.SPECS)
    if runs.soaking()
    or (row + column) % 4 == 0
    or (toys.OBJECTIVES[objective].kind, kind) in SHIPPED
]
every_pair = pytest.mark.parametrize(("objective", "kind"), PAIRS)
STOPS = [(4,), (1, 2, 4), (3, 4)] if runs.soaking() else [(1, 2, 4)]


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return toys.experts(tmp_path_factory.mktemp("experts"))


def run(objective, kind, experts, *, steps, haste=1):
    """Distil from a fresh toy source, and return it."""
    source = toys.source(kind)
    optimizers = toys.optimizers(source, kind, haste=haste)
    context = toys.context(experts, steps=steps)
    toys.distill(source, toys.OBJECTIVES[objective], context, optimizers)
    return source


def same(one, other):
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def mean_loss(objective, source, experts, *, steps=4):
    """The objective's mean value at a source that stands still."""
    context = toys.context(experts, steps=steps)
    stream = toys.OBJECTIVES[objective].losses(source, context)
    return sum(next(stream).item() for _ in range(steps)) / steps


@every_pair
def test_the_loss_falls(objective, kind, experts):
    before = mean_loss(objective, toys.source(kind), experts)
    haste = 1 if objective == "frepo" else 3  # a small ridge makes it stiff
    source = run(objective, kind, experts, steps=12, haste=haste)
    assert mean_loss(objective, source, experts) < before


@every_pair
def test_a_stream_ends_where_it_shall_and_gives_gradients_to_what_is_trained(
    objective, kind, experts
):
    source = toys.source(kind)
    declared = source.train_only(toys.TRAINED[kind])
    touched, steps = set(), 0
    for loss in toys.OBJECTIVES[objective].losses(source, toys.context(experts, steps=2)):
        steps += 1
        source.zero_grad(set_to_none=True)
        loss.backward()
        for name, parameter in source.named_parameters():
            if parameter.grad is not None:
                assert torch.isfinite(parameter.grad).all(), name
                touched.add(name)
    assert steps == 2
    trained = {name for name, p in source.named_parameters() if p.requires_grad}
    moves = toys.OBJECTIVES[objective].moves
    assert touched == {name for name in trained if moves(purpose(name))}
    assert {id(p) for group in declared.values() for p in group} == {
        id(p) for p in source.parameters() if p.requires_grad
    }


@every_pair
def test_a_seed_repeats_and_restarts_at_any_steps_change_nothing(objective, kind, experts):
    whole = run(objective, kind, experts, steps=4)
    for stops in STOPS:
        source, states, kept, start = toys.source(kind), None, {}, 0
        for stop in stops:
            fresh = toys.source(kind)
            fresh.load_state_dict(source.state_dict())
            optimizers = toys.optimizers(fresh, kind)
            for optimizer, state in zip(optimizers, states or (), strict=states is not None):
                optimizer.load_state_dict(state)
            context = toys.context(experts, steps=stop, start=start, restored=kept)
            toys.distill(fresh, toys.OBJECTIVES[objective], context, optimizers)
            source, start = fresh, stop
            states = [optimizer.state_dict() for optimizer in optimizers]
            kept = {name: value.state_dict() for name, value in context.kept.items()}
        assert same(whole, source), stops


@pytest.mark.parametrize("objective", ["mtt", "dd"])
def test_students_are_computed_as_the_context_says(objective, experts):
    class Seen:
        def __init__(self):
            self.passes, self.unrounded = Counter(), self

        def __call__(self, function, *given):
            self.passes[function.__name__] += 1
            return function(*given)

    context = toys.context(experts, steps=1)
    context.compute = seen = Seen()
    source = toys.source("pixels")
    toys.distill(source, toys.OBJECTIVES[objective], context, toys.optimizers(source, "pixels"))
    assert seen.passes["_slope"] == seen.passes["_pulled"] > 1  # each step of the student


def test_a_stream_that_ends_early_is_an_error(experts):
    source = toys.source("pixels")
    short = toys.OBJECTIVES["dm"].losses(source, toys.context(experts, steps=2))

    class Short(Objective):
        def losses(self, source, context):
            return short

    with pytest.raises(TrainingError, match="ended at step 2 of 3"):
        toys.distill(source, Short(kind="short"), toys.context(experts, steps=3), [])


@pytest.mark.parametrize("kind", toys.SPECS)
def test_writing_and_reading_gives_the_same_images(kind, tmp_path):
    source = toys.source(kind)
    for name, parameter in source.named_parameters():
        if name == "std":
            parameter.data[..., ::2] *= -1  # the sign of a standard deviation has no meaning
    safetensors.torch.save_file(source.stored(), tmp_path / "part.safetensors")
    tensors = safetensors.torch.load_file(tmp_path / "part.safetensors")
    image = toys.image_of(toys.task())
    again = registry.build(toys.SPECS[kind], image, tensors, classes=source.classes)
    items = torch.arange(len(source.classes))
    one = source.images(items, torch.Generator().manual_seed(1))
    other = again.images(items, torch.Generator().manual_seed(1))
    assert torch.equal(one, other)
    assert torch.equal(source.images(items, None), again.images(items, None))


@pytest.mark.parametrize("kind", toys.SPECS)
def test_a_layout_is_what_is_stored(kind):
    source = toys.source(kind)
    stored = {name: tuple(tensor.shape) for name, tensor in source.stored().items()}
    image = toys.image_of(toys.task())
    assert stored == registry.layout(
        toys.SPECS[kind], image, items=len(source.classes), classes=3, labels=None
    )


@pytest.mark.parametrize("kind", toys.SPECS)
def test_an_image_depends_on_its_own_noise_and_nothing_else(kind):
    source = toys.source(kind).eval()
    items = torch.tensor([5, 0, 3])
    noise = torch.randn(3, source.noise_values, generator=torch.Generator().manual_seed(2))
    together = source(items, noise)
    alone = torch.cat([source(items[i : i + 1], noise[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
