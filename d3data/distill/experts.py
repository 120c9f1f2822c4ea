"""Experts: trajectories of networks trained on real images.

Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories",
arXiv 2203.11932: a trajectory is the network's parameters before training and after each epoch.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.network import logits
from d3data.nets.statistics import DRAWS, RunningStatistics
from d3data.nets.training import Unread, Watch, descend, ignore
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
    watch: Watch = ignore,
) -> None:
    """Train expert `index` and write its `snapshots`, (epochs + 1, P) float32, to `path`."""
    network = plan.network.build(task, seed, "expert", index).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=plan.learning_rate,
        momentum=plan.momentum,
        weight_decay=plan.weight_decay,
    )
    steps = plan.steps(task)
    snapshots = [_flat(network)]

    def snapshot(step: int, _: Unread) -> None:
        if (step + 1) % (steps // plan.epochs) == 0:
            snapshots.append(_flat(network))

    losses = epochs(plan, task, network, seed=seed, index=index, device=device, compute=compute)
    descend(
        losses,
        [optimizer],
        steps=steps,
        watch=watch,
        after=snapshot,
        lower=f"their learning_rate, {plan.learning_rate:g}",
    )
    write_bytes(path, safetensors.torch.save({"snapshots": torch.stack(snapshots).cpu()}))


def epochs(
    plan: ExpertPlan,
    task: Task,
    network: nn.Module,
    *,
    seed: int,
    index: int,
    device: torch.device,
    compute: Compute = AS_WRITTEN,
) -> Iterator[Tensor]:
    """The losses of one expert, image by image in a new order each epoch."""
    change, train = augment.augmentation(plan.augment), task.on(device).train
    for epoch in range(plan.epochs):
        random = rng.generator(seed, "expert", index, epoch)
        for chosen in torch.randperm(len(train), generator=random).split(plan.batch):
            images = change(train.read(chosen), random)
            labels = to_device(train.labels[chosen], device)
            yield F.cross_entropy(compute(logits, network, images), labels)


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
