"""Experts: trajectories of networks trained on real images.

Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories",
arXiv 2203.11932: a trajectory is the network's parameters before training and after each epoch.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from d3data import nets
from d3data.errors import RunError
from d3data.images import augment
from d3data.images.tasks import Task
from d3data.nets import Norm
from d3data.nets.checkpoint import Checkpoint, Stateful
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.network import logits
from d3data.nets.statistics import DRAWS, RunningStatistics
from d3data.nets.training import Deferred, Unread, Watch, descend, ignore
from d3data.utils import rng
from d3data.utils.atomic import write_bytes
from d3data.utils.device import to_device
from d3data.utils.schema import Frozen

FLOAT = 4  # bytes


class NetworkSpec(nets.NetworkSpec):
    """The network that experts and matching methods look through, as published unless chosen."""

    width: int | None = Field(default=128, ge=1, le=4096)
    norm: Norm | None = "instance"

    def build(self, task: Task, seed: int, *key: str | int) -> nn.Module:
        """A freshly initialized network for `task`; the same key gives the same weights."""
        with rng.seeded(seed, "network", *key):
            rule, classes = task.rule, len(task.classes)
            return nets.build(self, channels=rule.channels, size=rule.size, classes=classes)


class ExpertPlan(Frozen):
    """The trajectories that an objective asks for: plain SGD on real images, as published."""

    network: NetworkSpec = NetworkSpec()
    count: int = Field(default=100, ge=1)
    epochs: int = Field(default=50, ge=1)
    batch: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    augment: str = "siamese"

    def steps(self, task: Task) -> int:
        return self.epochs * math.ceil(len(task.train) / self.batch)

    def parameters(self, task: Task) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in self.network.build(task, 0).parameters())

    def trajectory_bytes(self, task: Task) -> int:
        """What one recorded trajectory takes on disk, its header aside."""
        return FLOAT * (self.epochs + 1) * self.parameters(task)

    def file_name(
        self, task: Task, seed: int, index: int, compute: Compute, device: str = "cpu"
    ) -> str:
        """The name of one trajectory's file: a hash of all that decides what is in it."""
        what = {**self.dump(), "count": None, "task": task.fingerprint, "seed": seed}
        kind = device.partition(":")[0]
        if compute.passes(kind) != AS_WRITTEN.passes(kind) or kind != "cpu":
            what["compute"] = compute.passes(kind)
        if kind != "cpu":
            what["device"] = kind
        text = json.dumps({**what, "index": index}, sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def record(
    plan: ExpertPlan,
    task: Task,
    *,
    seed: int,
    index: int,
    path: Path,
    device: torch.device,
    compute: Compute,
    save_every: float = 30.0,
    watch: Watch = ignore,
) -> None:
    """Train expert `index` and write its `snapshots`, (epochs + 1, P) float32, to `path`.

    A checkpoint beside it is `save_every` seconds old at most. A KeyboardInterrupt that `watch`
    raises leaves one behind.
    """
    network = plan.network.build(task, seed, "expert", index).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=plan.learning_rate,
        momentum=plan.momentum,
        weight_decay=plan.weight_decay,
    )
    course = Course(plan, task, network, seed=seed, index=index, device=device, compute=compute)
    course.snapshots.append(_flat(network))
    objects: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "course": course}
    checkpoint = Checkpoint(checkpoint_of(path), every_seconds=save_every)
    start, steps, told = 0, plan.steps(task), Deferred(watch)
    if saved := checkpoint.read():
        start = saved.step
        for name, thing in objects.items():
            thing.load_state_dict(saved.states[name])

    def after(step: int, unread: Unread) -> None:
        if (step + 1) % (steps // plan.epochs) == 0:
            course.snapshots.append(_flat(network))
        if step + 1 < steps and (checkpoint.due or told.asked):
            unread.read()
            checkpoint.save("expert", step + 1, objects)
        if step + 1 < steps and told.asked:
            raise KeyboardInterrupt

    descend(
        course.losses(start),
        [optimizer],
        start=start,
        steps=steps,
        watch=told,
        after=after,
        lower=f"their learning_rate, {plan.learning_rate:g}",
    )
    snapshots = torch.stack([one.cpu() for one in course.snapshots])
    write_bytes(path, safetensors.torch.save({"snapshots": snapshots}))
    checkpoint.path.unlink(missing_ok=True)


def checkpoint_of(path: Path) -> Path:
    """The checkpoint of the expert that is written to `path`."""
    return path.with_suffix(".checkpoint")


class Course:
    """The losses of one expert, image by image in a new order each epoch; and its snapshots."""

    def __init__(
        self,
        plan: ExpertPlan,
        task: Task,
        network: nn.Module,
        *,
        seed: int,
        index: int,
        device: torch.device,
        compute: Compute = AS_WRITTEN,
    ) -> None:
        self.plan, self.network, self.device, self.compute = plan, network, device, compute
        self.train, self._key = task.on(device).train, (seed, "expert", index)
        self.snapshots = list[Tensor]()
        self._random, self._state = torch.Generator(), None

    def losses(self, start: int = 0) -> Iterator[Tensor]:
        """Those from step `start` on, of which a state was loaded unless it is 0."""
        change, train = augment.augmentation(self.plan.augment), self.train
        first, done = divmod(start, -(-len(train) // self.plan.batch))
        for epoch in range(first, self.plan.epochs):
            self._random = random = rng.generator(*self._key, epoch)
            pieces = torch.randperm(len(train), generator=random).split(self.plan.batch)
            if done and self._state is not None:
                random.set_state(self._state)
            for chosen in pieces[done:]:
                images = change(train.read(chosen), random)
                labels = to_device(train.labels[chosen], self.device)
                yield F.cross_entropy(self.compute(logits, self.network, images), labels)
            done = 0

    def state_dict(self) -> dict[str, Any]:
        return {"random": self._random.get_state(), "snapshots": self.snapshots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._state, self.snapshots = state["random"], list(state["snapshots"])


def _flat(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


class Experts:
    """Recorded trajectories and the network they are trajectories of."""

    device: torch.device
    plan: ExpertPlan
    paths: list[Path]

    def __init__(
        self, plan: ExpertPlan, task: Task, paths: Sequence[Path], *, device: torch.device
    ) -> None:
        self.plan, self.device = plan, device
        self._task, self.paths = task, list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def network(self) -> nn.Module:
        """A network of the experts' architecture, to be loaded with snapshots."""
        return self.plan.network.build(self._task, 0).to(self.device)

    def snapshot(self, trajectory: int, epoch: int) -> Tensor:
        """(P,): the parameters of one expert after `epoch` epochs; RunError if it is broken."""
        path = self.paths[trajectory]
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                vector: Tensor = file.get_slice("snapshots")[epoch]
        except (OSError, safetensors.SafetensorError) as failure:
            raise RunError(f"expert {path} is broken ({failure}): delete it and repeat") from None
        return to_device(vector, self.device)

    def trained(self, trajectory: int, epoch: int) -> nn.Module:
        """A network of its own with the parameters of one expert after `epoch` epochs, frozen."""
        network = self.network().requires_grad_(False)
        nn.utils.vector_to_parameters(self.snapshot(trajectory, epoch), network.parameters())
        return network

    def viewer(self) -> Callable[[int, int], nn.Module]:
        """What `trained` returns, in one network for all calls: one is good until the next."""
        network = self.network().requires_grad_(False)

        def view(trajectory: int, epoch: int) -> nn.Module:
            snapshot = self.snapshot(trajectory, epoch)
            nn.utils.vector_to_parameters(snapshot, network.parameters())
            return network

        return view

    def teacher(self, trajectory: int, epoch: int) -> nn.Module:
        """An expert in `eval`; snapshots hold no running statistics, so train images give them."""
        network = self.trained(trajectory, epoch).eval()
        statistics, train = RunningStatistics(network), self._task.on(self.device).train
        if statistics.norms:
            order = torch.randperm(len(train), generator=rng.generator(0, "statistics"))[:DRAWS]
            pieces = order.chunk(max(1, len(order) // self.plan.batch))
            images = map(train.read, pieces)
            statistics.estimate(statistics.norms, images)
        return network


class UnrecordedExperts(Experts):
    """Untrained networks in place of trajectories; counts the bytes that are read."""

    read = 0

    def __len__(self) -> int:
        return self.plan.count

    def snapshot(self, trajectory: int, epoch: int) -> Tensor:
        vector = _flat(self.network())
        self.read += vector.nbytes
        return vector
