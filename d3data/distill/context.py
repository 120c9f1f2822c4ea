"""What an objective may use while it yields losses."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from d3data.distill.experts import Experts
from d3data.images.tasks import Task
from d3data.nets.checkpoint import Stateful
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.utils import rng

T = TypeVar("T", bound=Stateful)


class ObjectiveContext:
    """The task, experts, keyed randomness, and what must survive a restart.

    Attributes:
        task: the real images, on the device.
        start: the step that the stream begins with; not 0 after a restart.
        steps: the step that it must reach.
        device: where to compute.
        compute: how to run passes through networks.
        kept: what `keep` made, by name.
    """

    device: torch.device
    start: int
    steps: int
    task: Task

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        steps: int,
        experts: Experts | None = None,
        device: torch.device | None = None,
        start: int = 0,
        restored: Mapping[str, Any] | None = None,
        compute: Compute = AS_WRITTEN,
        path: str = "",
    ) -> None:
        self.device = torch.device("cpu") if device is None else device
        self.task, self.start, self.steps = task.on(self.device), start, steps
        self.compute = compute
        self.kept: dict[str, Stateful] = {}
        self._experts, self._seed, self._path = experts, seed, path
        # the outermost sum that this is within: its path, its step at step 0, and how many a step
        self._sum: tuple[str, int, int] | None = None
        self._restored = {} if restored is None else restored

    @property
    def step_range(self) -> range:
        """The steps that the stream has to yield a loss for."""
        return range(self.start, self.steps)

    @property
    def experts(self) -> Experts:
        """The trajectories that the objective's plan asked for."""
        assert self._experts is not None, "an objective without an ExpertPlan has no experts"
        return self._experts

    @property
    def has_experts(self) -> bool:
        """Whether there are trajectories to look through."""
        return self._experts is not None

    def rng(self, stream: str, step: int) -> torch.Generator:
        """A CPU generator for one step of a named stream; the same one after a restart."""
        return rng.generator(self._seed, self._path + stream, step)

    def expert_rng(self, own: torch.Generator, step: int) -> torch.Generator:
        """What a step's expert is chosen by: `own`, or what all share within the outermost sum."""
        if self._sum is None:
            return own
        path, first, each = self._sum
        return rng.generator(self._seed, path + "expert", first + each * step)

    def keep(self, name: str, build: Callable[[], T]) -> T:
        """Build what must survive a yield; after a restart its saved state is loaded into it.

        Update the object in place, never rebind it. A network and its optimizer are two objects.
        """
        key = self._path + name
        assert key not in self.kept, f"{key!r} is kept already"
        kept = build()
        if key in self._restored:
            kept.load_state_dict(self._restored[key])
        self.kept[key] = kept
        return kept

    def child(
        self, name: int, *, turn: int = 0, of: int = 1, together: bool = False
    ) -> "ObjectiveContext":
        """The context of a child objective, with its own names; it has every `of`-th turn.

        Children that are `together` look through the same expert at each step, and so do theirs.
        """
        child = copy.copy(self)  # which shares `kept`
        child.start, child.steps = (-((turn - step) // of) for step in (self.start, self.steps))
        child._path = f"{self._path}{name}/"
        if self._sum is not None:
            path, first, each = self._sum
            child._sum = path, first + each * turn, each * of
        elif together:
            child._sum = self._path, 0, 1
        return child
