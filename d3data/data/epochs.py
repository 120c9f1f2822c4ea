"""Which epoch a request for a draw belongs to: counted here, or given by a sampler."""

import multiprocessing.context
import warnings
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
import torch.multiprocessing
from torch import Tensor
from torch.utils.data import ConcatDataset, Sampler, Subset

from d3data.errors import D3DataError
from d3data.utils import checks, rng
from d3data.utils.checks import position, whole
from d3data.utils.renamed import renamed, warn

MAX_EPOCH = (1 << 32) - 1
EACH_RANK_COUNTS = (
    "each of {ranks} ranks counts the epochs of its draws by itself, so draws are repeated: pass "
    "`sampler=d3data.EpochSampler(data)` to the loader, or call `data.set_epoch(epoch)` before "
    "every epoch"
)

Index = int | tuple[int, int]  # a draw of its next epoch, or (epoch, draw)


class Requests:
    """Counts how often each index was requested, in memory that all workers share.

    The n-th request for an index, counted from 0, is of epoch n, unless an epoch is set. Workers
    of any start method share the counts; a copy or an ordinary pickle has its own. If several
    ranks count, each by itself, the first request that is counted warns.
    """

    def __init__(self, length: int) -> None:
        self._ranks = 1  # the world size in the process that this one was started from
        self._share(torch.zeros(length, dtype=torch.int64), torch.tensor([-1]))

    def _share(self, counts: Tensor, epoch: Tensor) -> None:
        self._counts, self._epoch, self._warned = counts, epoch, torch.tensor([False])
        for tensor in (counts, epoch, self._warned):
            tensor.share_memory_()
        # a lock of the spawn context is inherited by forked workers too, but not the reverse
        self._lock = torch.multiprocessing.get_context("spawn").Lock()

    def resolve(self, indices: Sequence[Index]) -> tuple[list[int], list[int]]:
        """The epoch and the draw of each request; those without an epoch are counted.

        Negative indices count from the end, as in any sequence.
        """
        pairs = [_epoch_and_draw(index, range(len(self._counts))) for index in indices]
        counted = iter(self.epochs([draw for epoch, draw in pairs if epoch is None]))
        epochs = [next(counted) if epoch is None else epoch for epoch, _ in pairs]
        return epochs, [draw for _, draw in pairs]

    def epochs(self, draws: Sequence[int]) -> list[int]:
        """The epoch of each of these requests, which are counted now."""
        counts = self._counts.numpy()
        with self._lock:
            if (epoch := int(self._epoch)) >= 0:
                return [epoch] * len(draws)
            epochs = []
            for draw in draws:  # one by one: a batch may hold an index twice
                epochs.append(int(counts[draw]))
                counts[draw] += 1
            warn = bool(draws) and self._world_size() > 1 and not self._warned
            self._warned |= warn
        if warn:
            warnings.warn(EACH_RANK_COUNTS.format(ranks=self._world_size()), stacklevel=3)
        return epochs

    def set_epoch(self, epoch: int | None) -> None:
        """Every request from now on is of `epoch`, in every worker; None resumes counting."""
        number = -1 if epoch is None else require_epoch(epoch)
        with self._lock:
            self._epoch.fill_(number)

    def _world_size(self) -> int:
        return max(self._ranks, rank_and_world_size()[1])

    def __getstate__(self) -> dict[str, Any]:
        if multiprocessing.context.get_spawning_popen() is not None:
            return {**self.__dict__, "_ranks": self._world_size()}
        return {"_counts": self._counts.clone(), "_epoch": self._epoch.clone()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_lock" not in state:
            self._ranks = 1
            self._share(state["_counts"], state["_epoch"])


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index): every draw of an epoch once, divided equally among the ranks.

    For several ranks, and to resume: `state_dict` has the epoch and how many of it were yielded,
    and with the same seed `load_state_dict` continues the same order. Each new iteration is the
    next epoch, even after a break. If the draws do not divide by the ranks, the first ones of the
    epoch are repeated. For tools that divide a sampler among ranks themselves use
    `rank=0, num_replicas=1`.

    Args:
        data: the distilled set.
        shuffle: whether each epoch has its own random order.
        seed: of the order.
        rank: of this process; by default that of `torch.distributed` if initialized, else 0.
        num_replicas: how many ranks there are, as in `DistributedSampler`; likewise, else 1.
    """

    num_replicas: int
    rank: int
    draws: int
    shuffle: bool
    seed: int
    epoch: int
    position: int

    @renamed(ranks="num_replicas")
    def __init__(
        self,
        data: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        if isinstance(data, Subset | ConcatDataset):
            raise D3DataError(
                f"a {type(data).__name__} does not take the (epoch, index) pairs of an "
                "EpochSampler: pass it the distilled set itself, or call set_epoch on that"
            )
        this_rank, world_size = rank_and_world_size()
        replicas = world_size if num_replicas is None else num_replicas
        self.num_replicas = whole(replicas, "num_replicas", least=1)
        self.rank = whole(this_rank if rank is None else rank, "rank", most=self.num_replicas - 1)
        self.draws, self.shuffle = len(data), bool(shuffle)
        self.seed = checks.seed(seed)
        self.epoch = self.position = 0
        self._begun = False

    def __len__(self) -> int:
        """The draws of this rank in an epoch."""
        return -(-self.draws // self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if self._begun:
            self.set_epoch(self.epoch + 1)
        self._begun = True
        epoch, mine = self.epoch, self._mine()[self.position :]
        for index in mine:
            self.position += 1
            yield epoch, int(index)

    def _mine(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        order = np.arange(self.draws)
        if self.shuffle:
            stream = rng.generator(self.seed, "order of draws", self.epoch)
            order = torch.randperm(self.draws, generator=stream).numpy()
        return np.resize(order, len(self) * self.num_replicas)[self.rank :: self.num_replicas]

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is of `epoch`, from its beginning."""
        require_epoch(epoch)
        self.epoch, self.position, self._begun = epoch, 0, False

    @property
    def ranks(self) -> int:
        """`num_replicas` under its old name."""
        warn("EpochSampler.ranks", "num_replicas")
        return self.num_replicas

    def state_dict(self) -> dict[str, int]:
        """The position in the order; loaders that prefetch are ahead of what was trained on."""
        return {"epoch": self.epoch, "position": self.position, **self._order()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there: with the rest of that epoch, or the next one if nothing is left of it.

        Raises:
            D3DataError: it is not the state of a sampler with this order.
        """
        if isinstance(state, dict) and "ranks" in state:  # of a version before num_replicas
            state = {("num_replicas" if key == "ranks" else key): state[key] for key in state}
        order = self._order()
        if not isinstance(state, dict) or state.keys() != {"epoch", "position", *order}:
            raise D3DataError("not a state of an EpochSampler: pass what state_dict() returned")
        for name, own in order.items():
            if state[name] != own:
                raise D3DataError(
                    f"the state is of a sampler with {name}={state[name]!r}, not {own!r}, whose "
                    "order differs: make this sampler with the same"
                )
        self.set_epoch(state["epoch"])
        self.position = whole(state["position"], "position")
        if self.position >= len(self):
            self.set_epoch(self.epoch + 1)

    def _order(self) -> dict[str, int]:
        """What decides the order of the draws."""
        shuffle = int(self.shuffle)
        return {
            "draws": self.draws,
            "num_replicas": self.num_replicas,
            "seed": self.seed,
            "shuffle": shuffle,
        }


def _epoch_and_draw(index: Index, draws: range) -> tuple[int | None, int]:
    """The epoch that a request names, if it does, and its draw."""
    if not isinstance(index, tuple):
        return None, position(index, draws, "draws in an epoch")
    if len(index) != 2:
        raise D3DataError(f"index {index!r}: a tuple must be (epoch, index)")
    return require_epoch(index[0]), position(index[1], draws, "draws in an epoch")


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process and the number of ranks, as `torch.distributed` knows them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def require_epoch(epoch: int) -> int:
    """The epoch; D3DataError unless 0 <= epoch < 2^32."""
    return whole(epoch, "epoch", most=MAX_EPOCH)
