"""A step traced on torch's meta device, without computing anything.

Told are its operations (of convolutions and matrix products, two for each multiplication with its
addition), and the most bytes of tensors that live at once. The one module that takes names which
torch does not promise to keep.
"""

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from d3data.distill.experts import UnrecordedExperts
from d3data.errors import DeviceError
from d3data.nets.flops import FORMULAS

try:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves, tree_map_only
except ImportError as failure:
    raise DeviceError(
        f"torch {torch.__version__} has moved what a forecast needs ({failure}); distilling works "
        "without one: leave --dry-run out, write a recipe by hand, or install an older torch"
    ) from failure

META = torch.device("meta")
COUNTS = FlopCounterMode(display=False, custom_mapping=FORMULAS).flop_registry
MOMENTS = 2  # of a parameter, that an optimizer keeps

Work = tuple[nn.Module, Iterator[Tensor], UnrecordedExperts | None]


class Traced(NamedTuple):
    """A step on the meta device: operations, bytes of memory at most, bytes that are read."""

    flops: float
    memory: int
    read: float


def traced(work: Work, turns: int = 1) -> Traced:
    """Trace a step, on average of `turns`."""
    module, losses, recorded = work
    with OnMeta() as meta:
        for _ in range(turns):
            if (loss := next(losses)).requires_grad:
                loss.backward()
            del loss
            module.zero_grad(set_to_none=True)
    kept = (1 + MOMENTS) * sum(parameter.nbytes for parameter in module.parameters())
    read = recorded.read if recorded else 0
    return Traced(meta.flops / turns, kept + meta.peak, read / turns)


class OnMeta(TorchDispatchMode):
    """Where one tensor is on the meta device, all are; what is computed and lives there.

    Attributes:
        flops: of convolutions and matrix products.
        alive: bytes of storages, each counted once, until it is gone.
        peak: the most that were alive.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = args, kwargs or {}
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(inputs)):
            inputs = tree_map_only(Tensor, lambda tensor: tensor.to(META), inputs)
        made = func(*inputs[0], **inputs[1])
        if count := COUNTS.get(func._overloadpacket):
            self.flops += count(*inputs[0], **inputs[1], out_val=made)
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves(inputs) if _on_meta(leaf)}
        for leaf in filter(_on_meta, tree_leaves(made)):
            if (storage := leaf.untyped_storage())._cdata not in given | self._known:
                self._born(storage)
        return made

    def _born(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def _on_meta(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_meta
