"""Everything that computes, whole on a pretended accelerator: the CPU's bits, and no waiting."""

import itertools
import math
from types import SimpleNamespace

import pretended
import pytest
import torch
from pretended import GPU, MismatchError, card

import d3data
import tiny_runs as runs
import toys
from d3data import distill
from d3data.data.device_loader import DecodingLoader
from d3data.distill.engine import Stage
from d3data.distill.experts import Course, Experts, UnrecordedExperts
from d3data.distill.objectives import KernelMatching, MeanMatching, objectives
from d3data.distill.tracing import traced
from d3data.errors import DeviceError
from d3data.evaluation import audit, evaluate, trial_training
from d3data.evaluation.protocols import Protocol
from d3data.nets import NetworkSpec, training
from d3data.nets.training import descend
from d3data.utils import rng

WARM_UP, COUNTED = 3, 10 if runs.soaking() else 4  # steps
WAITS = 2  # a step
LAUNCHES = {  # a step
    "mtt": 1300, "mmd": 220, "mmd-published": 220, "dm": 130, "dm-experts": 120,
    "companion": 150, "alternate": 760, "sum": 1500, "mmd-window": 220, "align": 130,
    "matching and alignment": 220, "dm-by-class": 400, "kip": 350, "frepo": 300, "dd": 3500,
    "dsa-looped": 1700,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch):
    """One thread, losses that are read once, as no clock says when, and few draws of a norm."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(trial_training, "DRAWS", 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    toys.experts(folder)
    return folder


def trained(kind, objective, folder, device, seen=lambda step: None):
    """A toy source after some steps on a device, and their losses."""
    recorded = Experts(toys.PLAN, toys.task(), toys.experts(folder).paths, device=device)
    source, losses = toys.source(kind).to(device), []
    descend(
        toys.OBJECTIVES[objective].losses(
            source, toys.context(recorded, steps=WARM_UP + COUNTED, device=device)
        ),
        toys.optimizers(source, kind),
        steps=WARM_UP + COUNTED,
        watch=lambda step, loss: losses.append(loss),
        after=lambda step, unread: seen(step + 1),
    )
    return source.stored(), losses


PAIRS = [
    (objective, kind)
    for objective in toys.OBJECTIVES
    for kind in ("gaussian-residual", "pixels", "spatial")
    if kind == "gaussian-residual" or objective == "dm" or runs.soaking()
]


@pytest.mark.parametrize(("objective", "kind"), PAIRS)
def test_a_step_has_the_bits_of_the_cpu_and_hardly_waits(objective, kind, folder):
    tensors, losses = trained(kind, objective, folder, torch.device("cpu"))
    with card() as found:
        state = pretended.CARD.state
        after, seen = trained(
            kind, objective, folder, GPU, lambda step: found.reset() if step == WARM_UP else None
        )
        assert pretended.CARD.state == state, "the device's own generator was moved"
        assert found.waits - len(after) <= WAITS, found.places  # for one reading of all losses
        assert found.launches <= COUNTED * LAUNCHES[objective], found.kernels.most_common()
    assert seen == losses
    assert all(torch.equal(after[name], tensors[name]) for name in tensors)


def test_the_budgets_name_every_objective():
    assert {*LAUNCHES} == {*toys.OBJECTIVES}
    named = {objective.kind for objective in toys.OBJECTIVES.values()}
    assert named >= {*objectives}


def test_a_step_of_an_expert_hardly_waits():
    plan, task = toys.PLAN, toys.task()
    with card() as found:
        network = plan.network.build(task, 0).to(GPU)
        losses = Course(plan, task, network, seed=0, index=0, device=GPU).losses()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

        def after(step, unread):
            if step == WARM_UP:
                found.reset()

        descend(losses, [optimizer], steps=WARM_UP + 6, after=after)
    assert found.waits <= WAITS, found.places
    assert found.launches <= 6 * 60, found.kernels.most_common()


EXPERTS = runs.EXPERTS
MMD = {"kind": "mmd", "samples": 3, "bandwidth": "median", "experts": EXPERTS}
RUNS = {
    "every stage": {
        "objective": {"kind": "alternate", "children": [runs.MTT, MMD]},
        "source": {**runs.GAUSSIAN, "residual": True},
        "subtasks": {"count": 2},
        "labels": {"epoch": 1, "draws": 2, "teacher": EXPERTS},
        "quantize": {"steps": 2, "decoder": "int8", "priors": "int4"},
    },
    "from noise": {"warm_start": {"steps": 0}, "objective": MMD, "compute": {"at_once": 7}},
    "pixels": {
        "source": {"kind": "pixels"},
        "warm_start": {"steps": 0},
        "objective": {"kind": "sum", "weights": [1.0, 0.1], "children": [runs.MTT, runs.DM]},
        "optimizers": {"pixels": {"kind": "sgd", "momentum": 0.5, "learning_rate": 0.01}},
        "quantize": {"steps": 2, "pixels": "int8"},
    },
    "small maps": {
        "source": {"kind": "spatial", "channels": 2, "stages": 1, "width": 4},
        "objective": {"kind": "align", "samples": 3, "experts": EXPERTS},
        "quantize": {"priors": "int3", "decoder": "int4"},
    },
    "augmented, one deviation a class": {
        "source": {**runs.GAUSSIAN, "std": "class", "values": "normalised"},
        "objective": {**runs.DM, "augment": "siamese"},
        "compute": {"precision": "tf32"},
    },
}


def run(recipe, out, device, **more):
    options = {"executor": "inline", "save_every": 0.0, "device": device} | more
    distill.run(recipe, out=out, **options)
    return runs.outcome(out)


@pytest.mark.parametrize("kind", RUNS)
def test_an_artifact_is_that_of_the_cpu(kind, tmp_path):
    recipe = runs.recipe(**RUNS[kind])
    expected = run(recipe, tmp_path / "cpu", "cpu")
    with card() as found:
        state = found.state
        assert run(recipe, tmp_path / "gpu", "gpu") == expected
        assert found.state == state


def test_a_device_without_float64_is_enough(tmp_path):
    with card(float64=False):
        run(runs.recipe(**RUNS["every stage"]), tmp_path / "gpu", "gpu")


@pytest.mark.parametrize("last", range(1, 14, 1 if runs.soaking() else 6))
def test_a_run_goes_on_from_any_checkpoint(last, tmp_path, monkeypatch):
    recipe = runs.recipe(**RUNS["every stage"] | {"subtasks": {"count": 1}})
    expected = run(recipe, tmp_path / "cpu", "cpu")
    saves, save = itertools.count(1), Stage.save

    def stopping(stage, *what):
        save(stage, *what)
        if next(saves) == last:
            raise KeyboardInterrupt

    with card():
        monkeypatch.setattr(Stage, "save", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "gpu", "gpu")
        monkeypatch.setattr(Stage, "save", save)
        assert run(recipe, tmp_path / "gpu", "gpu") == expected


def test_too_little_memory_is_said_once_with_what_to_lower(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 ...")

    monkeypatch.setattr(MeanMatching, "losses", full)
    events = []
    with card(), pytest.raises(DeviceError, match=r"CUDA out of memory.*at_once.*--workers"):
        run(runs.recipe(), tmp_path / "run", "gpu", progress=events.append)
    assert not [event for event in events if event.event == "failed"]


PROTOCOLS = {
    "sgd, cutmix": {"augment": "siamese", "mix": "cutmix"},
    "adamw, mixup": {"augment": "flip-crop", "mix": "mixup", "optimizer": "adamw"},
    "means": {"augment": "none", "draws": "means", "epochs": 1, "steps": None},
    "move, batch norm": {"augment": "move", "network": NetworkSpec(width=4, norm="batch")},
    "nudge": {"augment": "nudge"},
    "items, rates": {"augment": "siamese-noflip", "draws": "items", "learning_rates": (0.1, 0.01)},
}


def protocol(**changed):
    usual = {"network": NetworkSpec(width=4), "networks": 1, "steps": 6, "batch": 16}
    return Protocol(name="own", version=1, **usual | {"learning_rates": (0.05,)} | changed)


def scored(device, **options):
    report = evaluate("digits-ipc4", date="2026-01-02", resume=False, device=device, **options)

    return [
        (row.name, trial.accuracy, trial.loss, trial.confusion)
        for row in report.rows
        for trial in row.trials
    ]


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_an_evaluation_is_that_of_the_cpu(kind):
    options = {"protocol": protocol(**PROTOCOLS[kind]), "seeds": [0]}
    if kind == "sgd, cutmix":
        options["baselines"] = "all" if runs.soaking() else ("random", "herding", "soft")
    expected = scored("cpu", **options)
    with card() as found:
        state = found.state
        assert scored("gpu", **options) == expected
        assert found.state == state


NETWORKS = ["mlp", "vit-tiny", "lenet", "alexnet", "resnet18", "vgg11"]


@pytest.mark.parametrize("name", NETWORKS if runs.soaking() else NETWORKS[:2])
def test_a_network_is_trained_as_on_the_cpu(name):
    options = {"protocol": protocol(augment="none", steps=2), "seeds": [0], "baselines": "none"}
    expected = scored("cpu", nets=name, **options)
    with card():
        found = scored("gpu", nets=name, **options)
    if name in ("alexnet", "vit-tiny"):  # dropout draws from the device's own generator
        (_, _, loss, confusion), (_, _, _, other) = *found, *expected
        assert math.isfinite(loss)
        assert [sum(row) for row in confusion] == [sum(row) for row in other]
    else:
        assert found == expected


def test_a_step_of_an_evaluation_hardly_waits(monkeypatch):
    counts = {}
    with card() as found:

        def report(progress):
            counts[progress.step] = found.waits

        monkeypatch.setattr(training, "SECONDS", -1.0)  # losses are read each step
        evaluate(
            "digits-ipc4",
            protocol=protocol(augment="siamese", steps=29),
            seeds=[0],
            baselines="none",
            device="gpu",
            resume=False,
            progress=report,
        )
    assert counts[26] - counts[24] <= 2 * WAITS, found.places.most_common(9)


def test_an_audit_is_that_of_the_cpu():
    def found_on(device):
        options = {"protocol": protocol(augment="none", steps=3), "draws": 4, "date": "2026-01-02"}
        record = audit("digits-ipc4", device=device, **options).dump()
        return {key: value for key, value in record.items() if key != "device"}

    expected = found_on("cpu")
    with card():
        assert found_on("gpu") == expected


@pytest.mark.parametrize("output", ["image", "float", "normalized"])
def test_images_are_those_of_the_cpu(output):
    def batches(device):
        data = d3data.load("digits-ipc4", output=output)
        return iter(DecodingLoader(data, 40, device=device, shuffle=False))

    expected, _ = next(batches("cpu"))
    with card() as found:
        loader = batches("gpu")
        images, _ = next(loader)
        assert torch.equal(images.cpu(), expected)
        found.reset()
        next(loader)
        assert found.waits == 0, found.places
        assert found.launches <= 60, found.kernels.most_common()


class TestTheCardItself:
    """What it would refuse on CUDA, it refuses here."""

    def test_tensors_of_two_devices(self):
        with card(), pytest.raises(MismatchError, match="one device"):
            torch.ones(3, device=GPU) + torch.ones(3)

    def test_generators_of_the_cpu(self):
        with card(), pytest.raises(MismatchError, match="generator"):
            torch.randn(3, device=GPU, generator=torch.Generator())

    def test_float64(self):
        with card(float64=False), pytest.raises(MismatchError, match="float64"):
            torch.ones(3, device=GPU).double()

    def test_it_counts(self):
        with card() as found:
            ones = torch.ones(3).to(GPU)
            twice = ones * 2
            assert (found.launches, found.waits) == (1, 1)
            torch.ones(3).pin_memory().to(GPU, non_blocking=True)
            assert (found.launches, found.waits) == (1, 1)
            assert twice.sum().item() == 6
            assert (found.launches, found.waits) == (2, 2)
            assert found.peak >= 3 * 4 * 2

    def test_its_generator_is_moved_by_what_draws_and_put_back_by_seeded(self):
        with card() as found:
            before = found.state
            with rng.seeded(5, "layers", device=GPU):
                one = torch.rand(4, device=GPU).cpu()
                assert found.state != before
            assert found.state == before
            with rng.seeded(5, "layers", device=GPU):
                assert torch.equal(torch.rand(4, device=GPU).cpu(), one)


def test_lots_have_the_gradients_of_the_whole(folder):
    losses, grads = [], []
    for at_once in (None, 5):
        source = toys.source("gaussian-residual")
        source.train_only(["priors", "decoder"])
        compute = toys.AS_WRITTEN.model_copy(update={"at_once": at_once})
        context = toys.context(toys.experts(folder), steps=1, compute=compute)
        loss = next(KernelMatching(experts=toys.PLAN, samples=4).losses(source, context))
        loss.backward()
        losses.append(loss.item())
        grads.append(
            torch.cat([p.grad.flatten() for p in source.parameters() if p.grad is not None])
        )
    assert math.isclose(*losses, rel_tol=1e-5)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", ["mtt", "mmd", "dm-experts"])
def test_the_memory_of_a_step_is_foretold(objective, folder):
    chosen = toys.OBJECTIVES[objective]

    def work(device, experts):
        source = toys.source("gaussian-residual").requires_grad_().to(device)
        context = toys.context(experts, steps=3, device=device)
        return source, chosen.losses(source, context), None

    meta = torch.device("meta")
    foretold = traced(work(meta, UnrecordedExperts(toys.PLAN, toys.task(), (), device=meta)))
    with card() as found:
        recorded = Experts(toys.PLAN, toys.task(), toys.experts(folder).paths, device=GPU)
        source, losses, _ = work(GPU, recorded)
        before, found.peak = found.alive, found.alive
        next(losses).backward()
        peak = found.peak - before
    kept = 3 * sum(parameter.nbytes for parameter in source.parameters())
    assert foretold.memory - kept == pytest.approx(peak, rel=0.1)
