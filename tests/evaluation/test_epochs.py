"""Epochs of a distilled set under a protocol."""

import pytest
import torch

from d3data.data.dataset import DistilledDataset
from d3data.evaluation import evaluate
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.protocol_epochs import MeansAndDraws, trained_on
from d3data.evaluation.protocols import protocols

CPU = torch.device("cpu")


@pytest.mark.parametrize("soft", [True, False])
def test_an_epoch_of_d3_is_every_mean_and_a_draw_of_every_prior(priors, soft):
    """18 priors, at most 4 of a class."""
    data = DistilledDataset(priors.artifact, soft_labels=soft)
    epochs, everything = trained_on(data, protocols["d3"]), torch.arange(18 + 40)
    assert len(epochs) == len(everything)
    images, labels = epochs.batch(4, everything, device=CPU)
    again, _ = epochs.batch(5, everything, device=CPU)
    means = data.drawer.decode(data.drawer.mean_latents(range(18)), residual=False)
    torch.testing.assert_close(images[:18], means)
    assert torch.equal(images[:18], again[:18])
    assert (images[18:] - again[18:]).abs().amax((1, 2, 3)).min() > 0
    drawn = DistilledDataset(data.artifact, draws_per_class=4, soft_labels=soft)
    expected, of = drawn.batch(4, range(40))
    torch.testing.assert_close(images[18:], expected)
    assert torch.equal(labels[18:], of)
    for some in (everything.flip(0), everything[:1], everything[-2:]):  # a mean, or draws, alone
        torch.testing.assert_close(epochs.batch(4, some, device=CPU)[0], images[some])


def test_a_set_with_a_residual_is_trained_on_as_d3_does(priors, digits, tiny):
    """A batch of one mean, which has no draw beside it, is read before anything is trained."""
    protocol = tiny.model_copy(update={"draws": "means", "steps": 1})
    row = evaluate(priors, digits, protocol=protocol, seeds=[0], baselines=()).rows[0]
    assert (row.draws, row.trials[0].images) == (18 + 40, 16)


@pytest.mark.parametrize(("name", "images"), [("dc", 40), ("d3", 18 + 40), ("quick", 90)])
def test_an_epoch_of_a_set_is_that_of_the_protocol(priors, name, images):
    """An epoch of its own has 9 draws of each class."""
    data = trained_on(DistilledDataset(priors.artifact, draws_per_class=9), protocols[name])
    assert len(data) == images
    assert isinstance(data, MeansAndDraws) == (name == "d3")


def test_a_protocol_may_say_how_many_draws_of_each_class_an_epoch_has(priors, tiny):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "draws": 7})
    data = trained_on(priors, protocol)
    assert protocol.length(len(data)) == 2 * 5
    own = DistilledDataset(priors.artifact, draws_per_class=7)
    images = data.batch(1, torch.arange(70), device=CPU)[0]
    assert torch.equal(images, own.batch(1, range(70))[0])


def test_what_is_not_distilled_keeps_its_epochs():
    still = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    assert trained_on(still, protocols["d3"]) is still
