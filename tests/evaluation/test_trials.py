"""One trial: which draws it takes, that it repeats, learns, and looks at the test images once."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.errors import TrainingError
from d3data.evaluation import trial_cache, trial_training
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.baselines.choices import random_rows
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_cache import TrialEntry
from d3data.evaluation.trial_costs import flops_per_image
from d3data.evaluation.trial_training import TrialTraining, predictions, run_trial
from d3data.nets import NetworkSpec, checkpoint
from d3data.nets.statistics import RunningStatistics
from d3data.nets.training import ignore
from d3data.utils.rng import generator
from spies import Spy

CPU = torch.device("cpu")


def real(task, each):
    rows = random_rows(task.train, each, generator(0, "photographs"))
    return Photographs(task.train.read(rows), task.train.labels[rows])


@pytest.fixture(scope="module")
def photographs(task):
    return real(task, 10)


@pytest.fixture(scope="module")
def trial(task, tiny, photographs):
    """What a trial is that nothing disturbs."""
    return run(photographs, task, tiny)


def builder(task, protocol):
    shape = {"channels": task.channels, "size": task.size, "classes": len(task.classes)}
    return partial(nets.build, protocol.network, **shape)


def run(photographs, task, protocol, *, build=None, seed=0, tests=None, **options):
    setup = EvalSetup(task, tests or task.test, protocol, CPU)
    build = build or builder(task, protocol)
    return run_trial(photographs, build, setup, seed=seed, **options)


def forgetful():
    """A network with dropout, whose random numbers are torch's own."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(64, 3))


def timeless(trial):
    curve = tuple(point.model_copy(update={"seconds": 0.0}) for point in trial.curve)
    return trial.model_copy(update={"seconds": 0.0, "memory": None, "curve": curve})


def test_a_seed_repeats_bit_for_bit_and_another_does_not(task, tiny, photographs, trial):
    assert timeless(run(photographs, task, tiny)) == timeless(trial)
    assert run(photographs, task, tiny, seed=1).loss != trial.loss


def test_training_does_not_depend_on_the_global_generator(task, tiny, photographs):
    torch.manual_seed(1)
    first = run(photographs, task, tiny, build=forgetful)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert timeless(first) == timeless(run(photographs, task, tiny, build=forgetful))
    assert torch.equal(before, torch.random.get_rng_state())


def first_batch(data, task, protocol, seed):
    """The images that a network is given in its first step."""
    network, batches = builder(task, protocol)(), []
    network.register_forward_pre_hook(lambda module, inputs: batches.append(*inputs))
    setup = EvalSetup(task, task.test, protocol, CPU)
    TrialTraining(network, data, setup, seed=seed, rate=0.1, steps=1).run(None, ignore)
    return batches[0]


def test_each_seed_has_its_own_order_and_augmentation(task, tiny, photographs):
    plain = tiny.model_copy(update={"augment": "none"})
    one, other = (first_batch(photographs, task, plain, seed) for seed in (0, 1))
    assert not torch.equal(one, other)
    images, labels = photographs.images[:1].repeat(30, 1, 1, 1), photographs.labels[:1].repeat(30)
    alike = Photographs(images, labels)  # which have no order
    one, other = (first_batch(alike, task, tiny, seed) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_a_network_learns_three_digits(task, tiny, photographs):
    longer = tiny.model_copy(update={"network": NetworkSpec(width=8), "steps": 60})
    trial = run(photographs, task, longer)
    assert trial.accuracy > 0.9
    assert (trial.steps, trial.images) == (60, 60 * 16)
    assert trial.seconds > 0


def test_accuracies_of_classes_and_their_confusion(task, tiny, photographs, trial):
    counts, confusion = task.test.counts(), torch.tensor(trial.confusion)
    total = sum(c * share for c, share in zip(counts, trial.per_class, strict=True))
    assert total / sum(counts) == pytest.approx(trial.accuracy)
    assert len(set(trial.per_class)) > 1  # each class has its own
    assert confusion.sum(1).tolist() == counts
    assert confusion.diag().sum() / confusion.sum() == pytest.approx(trial.accuracy)

    class Fewer(Spy):
        def counts(self):
            return [0, *self.split.counts()[1:]]

    fewer = run(photographs, task, tiny, tests=Fewer(task.test))
    assert fewer.per_class[0] is None
    assert None not in fewer.per_class[1:]


def test_soft_labels_are_hard_ones_where_they_say_the_class_unless_mixed(
    task, tiny, photographs, trial
):
    soft = Photographs(photographs.images, one_hot(photographs.labels, 3).float())
    other = run(soft, task, tiny)
    assert other.loss == pytest.approx(trial.loss, rel=1e-4)
    assert other.accuracy == pytest.approx(trial.accuracy, abs=0.02)
    mixed = [tiny.model_copy(update={"mix": mix}) for mix in ("cutmix", "mixup")]
    losses = {run(photographs, task, protocol).loss for protocol in mixed}
    assert len(losses - {trial.loss}) == 2


def test_test_images_are_looked_at_once_and_last(task, tiny, photographs):
    spy, looked = Spy(task.test), []

    def watch(step, loss):
        looked.append(len(spy.seen))

    run(photographs, replace(task, test=None), tiny, tests=spy, watch=watch)
    assert looked == [0] * tiny.steps
    assert spy.seen == list(range(len(task.test)))


def test_testing_is_no_part_of_what_training_takes(task, tiny, photographs, monkeypatch):
    clock = [0.0]

    class Slow(Spy):
        def read(self, indices):
            clock[0] += 1000
            return super().read(indices)

    def step(step, loss):
        clock[0] += 1

    monkeypatch.setattr(trial_training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    slow = replace(task, validation=Slow(task.validation))
    assert run(photographs, slow, tiny, tests=Slow(task.test), watch=step).seconds == 12


def test_training_is_sgd_as_it_is_written(task):
    """Two steps on one full batch, against the update rule of momentum and weight decay."""
    protocol = Protocol(
        name="x", version=1, epochs=2, batch=6, learning_rates=(0.1,), momentum=0.5,
        weight_decay=0.01, augment="none",
    )  # fmt: skip
    data = real(task, 2)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3, bias=False)).double()
    data = Photographs(data.images.double(), data.labels)
    weight = network[1].weight.detach().clone()
    velocity = torch.zeros_like(weight)
    for step in range(2):
        logits = data.images.flatten(1) @ weight.T
        error = logits.softmax(1) - one_hot(data.labels, 3)
        gradient = error.T @ data.images.flatten(1) / 6 + 0.01 * weight
        velocity = 0.5 * velocity + gradient
        weight = weight - 0.1 * protocol.factor(step, 2) * velocity
    setup = EvalSetup(replace(task, validation=range(0)), task.test, protocol, CPU)
    TrialTraining(network, data, setup, seed=0, rate=0.1).run(None, ignore)
    torch.testing.assert_close(network[1].weight.detach(), weight)


def test_adamw_is_adamw(task, tiny, photographs):
    protocol = tiny.model_copy(update={"optimizer": "adamw", "steps": 1})
    network = builder(task, protocol)()
    before = [p.detach().clone() for p in network.parameters()]
    setup = EvalSetup(task, task.test, protocol, CPU)
    TrialTraining(network, photographs, setup, seed=0, rate=0.1).run(None, ignore)
    for old, new in zip(before, network.parameters(), strict=True):
        moved = (new - old * (1 - 0.1 * protocol.weight_decay)).abs()
        assert moved.max() < 0.1001  # the first step of Adam is at most the rate
    assert moved.max() > 0.099


@pytest.mark.parametrize("share", [1, 0, 0.5, 0.99])
def test_what_is_interrupted_goes_on_unless_its_checkpoint_was_cut_short(
    task, tiny, photographs, trial, tmp_path, share
):
    """Ctrl-C was typed in its sixth step."""

    def interrupt(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    entry, path, steps = TrialEntry(tmp_path / "trial"), tmp_path / "trial.safetensors", []
    with pytest.raises(KeyboardInterrupt):
        run(photographs, task, tiny, entry=entry, watch=interrupt)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    finished = run(photographs, task, tiny, entry=entry, watch=lambda step, _: steps.append(step))
    assert steps == [*range(6 if share == 1 else 0, 12)]
    assert timeless(finished) == timeless(trial)


@pytest.mark.parametrize("stop", [0, 5, 10])
def test_a_trial_goes_on_where_it_was_stopped(
    task, tiny, photographs, tmp_path, monkeypatch, stop
):
    """With dropout, and with momentum."""
    monkeypatch.setattr(trial_cache, "EVERY", 0.0)
    train = partial(run, photographs, task, tiny, build=forgetful)
    undisturbed, entry, steps = train(), TrialEntry(tmp_path / "trial"), []

    def watch(step, loss):
        if step == stop + 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(entry=entry, watch=watch)
    again = TrialEntry(tmp_path / "trial")
    finished = train(entry=again, watch=lambda step, loss: steps.append(step))
    assert steps == [*range(stop + 1, 12)]
    assert timeless(finished) == timeless(undisturbed)
    assert train(entry=again, watch=watch) == finished


def test_a_checkpoint_is_due_every_minute(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    entry = TrialEntry(tmp_path / "trial")
    for start in (0.0, 60.0):
        clock[0] = start + 59.9
        assert not entry.due
        clock[0] = start + 60
        assert entry.due
        entry.save(1, {})


def test_a_curve_is_that_of_validation_and_changes_nothing(task, tiny, photographs):
    batch = tiny.model_copy(update={"network": NetworkSpec(width=4, norm="batch"), "steps": 30})
    trial = run(photographs, task, batch)
    assert [point.step for point in trial.curve] == [3 * n for n in range(1, 11)]
    assert [p.seconds for p in trial.curve] == sorted(p.seconds for p in trial.curve)
    blind = run(photographs, replace(task, validation=range(0)), batch)
    assert (blind.accuracy, blind.loss, blind.curve) == (trial.accuracy, trial.loss, ())
    same = run(photographs, task, batch, tests=task.validation)
    assert same.accuracy == trial.curve[-1].accuracy


def with_momentum(task, momentum):
    def build():
        spec = NetworkSpec(width=4, norm="batch")
        network = builder(task, SimpleNamespace(network=spec))()
        for norm in RunningStatistics(network).norms:
            norm.momentum = momentum
        return network

    return build


def test_statistics_that_have_not_arrived_are_estimated_from_draws(task, tiny, photographs):
    long = tiny.model_copy(update={"steps": 30})
    slow, never, settled = (
        run(photographs, task, long, build=with_momentum(task, one)) for one in (0.001, 0.0, 0.5)
    )
    assert (slow.reestimated, settled.reestimated) == (2048, 0)
    assert slow.accuracy > settled.accuracy - 0.05
    assert timeless(slow) == timeless(never)  # a momentum changes no training


def test_one_batch_is_enough_for_statistics_where_all_have_the_same_images(
    task, tiny, photographs, monkeypatch
):
    whole = tiny.model_copy(update={"batch": 2 * len(photographs)})
    build = with_momentum(task, 0.001)
    one = run(photographs, task, whole, build=build)
    assert one.reestimated == whole.batch
    monkeypatch.setattr(trial_training, "is_fixed", lambda data: False)
    many = run(photographs, task, whole, build=build)
    assert many.reestimated >= 2048
    assert one.confusion == many.confusion


def test_statistics_of_ones_own_loop_are_estimated_unless_norms_were_frozen(
    task, tiny, photographs
):
    def train(network, data, *, seed, device, frozen):
        for norm in RunningStatistics(network).norms:
            norm.train(not frozen)
        network(data.batch(0, torch.arange(9), device=device)[0])

    for frozen in (False, True):
        setup = EvalSetup(task, task.test, tiny, CPU, partial(train, frozen=frozen))
        trial = run_trial(photographs, with_momentum(task, 0.01), setup, seed=0)
        assert (trial.reestimated > 0) is not frozen
        assert trial.images == 9


@pytest.mark.parametrize(("classes", "counted"), [(100, True), (101, False)])
def test_confusion_is_kept_of_up_to_100_classes(task, tiny, photographs, classes, counted):
    labels = torch.arange(classes)
    tests = SimpleNamespace(labels=labels, counts=lambda: [1] * classes)
    large = replace(task, classes=tuple(map(str, range(classes))))
    training = TrialTraining(forgetful(), photographs, EvalSetup(large, tests, tiny, CPU), seed=0)
    trial = training.record(labels.roll(1), flops=None, memory=None, seconds=1.0)
    assert (trial.accuracy, trial.confusion is not None) == (0, counted)


def test_logits_must_be_finite(task):
    """Even those of one class alone, where the largest is a class like any other."""
    network = forgetful()
    assert len(predictions(network, task.test, CPU)) == len(task.test)
    for bias in (torch.nan, torch.inf, -torch.inf):
        network[2].bias.data[1] = bias
        with pytest.raises(TrainingError, match="logits are not finite"):
            predictions(network, task.test, CPU)


def test_what_a_trial_costs(task, tiny, priors, photographs, trial):
    """Training, and decoding what is trained on."""
    network = builder(task, tiny)()
    each = nets.count_flops(network, (task.channels, task.size, task.size)).training
    assert trial.flops == 12 * 16 * each
    assert trial.memory is None  # of a CPU, where it depends on what was freed before
    with FlopCounterMode(display=False) as counter:
        priors.batch(0, [0])
    assert counter.get_total_flops() > 0
    assert flops_per_image(network, priors, task) == each + counter.get_total_flops()
    assert flops_per_image(network, photographs, task) == each


class Uncountable(torch.nn.Linear):
    """A network that looks at values, which shapes alone do not have."""

    def forward(self, images):
        return super().forward(images.flatten(1)) * (1 if images.mean().item() > -9 else 0)


class Weighing(torch.nn.BatchNorm1d):
    """A network without convolutions or matrix products, which is all that is counted."""

    def forward(self, images):
        return super().forward(images.flatten(1)[:, 30:33])


@pytest.mark.parametrize("build", [lambda: Uncountable(64, 3), lambda: Weighing(3)])
def test_operations_that_cannot_be_counted_are_none(task, tiny, photographs, build):
    trial = run(photographs, task, tiny, build=build)
    assert trial.flops is None
    assert trial.accuracy > 0


def test_a_loop_of_the_users_own(task, tiny, photographs, trial):
    def train(network, data, *, seed, device):
        images, labels = data.batch(0, torch.arange(9), device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        cross_entropy(network(images), labels).backward()
        optimizer.step()

    setup = EvalSetup(task, task.test, tiny, CPU, train)
    own = run_trial(photographs, builder(task, tiny), setup, seed=0)
    assert (own.images, own.steps, own.curve) == (9, 0, ())
    assert (own.loss, own.learning_rate) == (None, None)
    assert own.accuracy != trial.accuracy
