"""Which epoch a request for a draw belongs to: counted here, or told from outside."""

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

LAST = (1 << 32) - 1
ALONE = (
    "each of {ranks} ranks counts the epochs of its draws for itself, so that draws are repeated: "
    "give the loader `sampler=d3data.EpochSampler(data)`, or call `data.set_epoch(epoch)` before "
    "every epoch"
)

Index = int | tuple[int, int]  # a draw of its next epoch, or (epoch, draw)


class Requests:
    """Counts how often each index was asked for, in memory that all workers share.

    The n-th request for an index, counted from 0, is of epoch n, unless an epoch is set. Workers
    of any start method share the counts; a copy or an ordinary pickle takes its own along. Where
    several ranks count, each for itself, the first request that is counted warns of it.
    """

    def __init__(self, length: int) -> None:
        self._ranks = 1  # as the process knew that this one was sent from
        self._share(torch.zeros(length, dtype=torch.int64), torch.tensor([-1]))

    def _share(self, counts: Tensor, epoch: Tensor) -> None:
        self._counts, self._epoch, self._warned = counts, epoch, torch.tensor([False])
        for tensor in (counts, epoch, self._warned):
            tensor.share_memory_()
        # a lock of the spawn context is inherited by forked workers too, but not the reverse
        self._lock = torch.multiprocessing.get_context("spawn").Lock()

    def resolve(self, indices: Sequence[Index]) -> tuple[list[int], list[int]]:
        """The epoch and the draw of each request; those that do not tell an epoch are counted.

        Indices count from the end where they are negative, as those of sequences do.

        Raises:
            IndexError: there is no such draw.
            D3DataError: a told epoch is none.
        """
        draws = range(len(self._counts))
        told = [_told(index) for index in indices]
        epochs = [epoch for epoch, _ in told]
        asked = [position(index, draws, "draws in an epoch") for _, index in told]
        silent = [draw for epoch, draw in zip(epochs, asked, strict=True) if epoch is None]
        counted = iter(self.epochs(silent))
        return [next(counted) if epoch is None else epoch for epoch in epochs], asked

    def epochs(self, draws: Sequence[int]) -> list[int]:
        """The epoch of each of these requests, which are counted now."""
        counts = self._counts.numpy()
        with self._lock:
            if (epoch := int(self._epoch)) >= 0:
                return [epoch] * len(draws)
            found = []
            for draw in draws:  # one by one: a batch may hold an index twice
                found.append(int(counts[draw]))
                counts[draw] += 1
            alone = bool(draws) and self._all_ranks() > 1 and not self._warned
            self._warned |= alone
        if alone:
            warnings.warn(ALONE.format(ranks=self._all_ranks()), stacklevel=3)
        return found

    def set_epoch(self, epoch: int | None) -> None:
        """From now on every request is of `epoch`, in every worker; None goes on counting."""
        told = -1 if epoch is None else require_epoch(epoch)
        with self._lock:
            self._epoch.fill_(told)

    def _all_ranks(self) -> int:
        return max(self._ranks, placed()[1])

    def __getstate__(self) -> dict[str, Any]:
        if multiprocessing.context.get_spawning_popen() is not None:
            return {**self.__dict__, "_ranks": self._all_ranks()}
        return {"_counts": self._counts.clone(), "_epoch": self._epoch.clone()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_lock" not in state:
            self._ranks = 1
            self._share(state["_counts"], state["_epoch"])


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index): every draw of an epoch once, dealt to the ranks in equal numbers.

    For several ranks, and to resume: `state_dict` carries the epoch and how many of it were
    yielded, and with the same seed the order after `load_state_dict` is the one that was left.
    Each new iteration is the next epoch, also where the last was broken off. Where the draws do
    not divide by the ranks, the first ones of the epoch come again. Tools that deal a sampler to
    ranks themselves want `rank=0, ranks=1`.

    Args:
        data: what has the draws.
        shuffle: whether each epoch has its own order, or all that of the indices.
        seed: of the order.
        rank: this process; that of `torch.distributed` where it is initialised, else 0.
        ranks: how many there are; likewise, else 1.
    """

    def __init__(
        self,
        data: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        if isinstance(data, Subset | ConcatDataset):
            raise D3DataError(
                f"an EpochSampler of a {type(data).__name__} would yield epochs that it does not "
                "know: give it the distilled set itself, or call set_epoch on that"
            )
        here, all_ranks = placed()
        self.ranks = whole(all_ranks if ranks is None else ranks, "ranks", least=1)
        self.rank = whole(here if rank is None else rank, "rank", most=self.ranks - 1)
        self.draws, self.shuffle = len(data), bool(shuffle)
        self.seed = checks.seed(seed)
        self.epoch = self.position = 0
        self._begun = False

    def __len__(self) -> int:
        """The draws of this rank in an epoch."""
        return -(-self.draws // self.ranks)

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
        return np.resize(order, len(self) * self.ranks)[self.rank :: self.ranks]

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is of `epoch`, from its beginning."""
        require_epoch(epoch)
        self.epoch, self.position, self._begun = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        """Where the sampler is; loaders that prefetch have asked for more than was trained on."""
        return {"epoch": self.epoch, "position": self.position, **self._order()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there: the rest of that epoch, or the next one if nothing is left of it.

        Raises:
            D3DataError: it is no state of a sampler with this order.
        """
        order = self._order()
        if not isinstance(state, dict) or state.keys() != {"epoch", "position", *order}:
            raise D3DataError("this is no state of an EpochSampler: keep what state_dict() gives")
        for name, own in order.items():
            if state[name] != own:
                raise D3DataError(
                    f"the state is of a sampler with {name}={state[name]!r}, not {own!r}: its "
                    "order is another; make this one with the same"
                )
        self.set_epoch(state["epoch"])
        self.position = whole(state["position"], "position")
        if self.position >= len(self):
            self.set_epoch(self.epoch + 1)

    def _order(self) -> dict[str, int]:
        """What decides which draws come when."""
        return {
            "draws": self.draws,
            "ranks": self.ranks,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
        }


def _told(index: Index) -> tuple[int | None, int]:
    """The epoch that a request tells, if it does, and its index."""
    if not isinstance(index, tuple):
        return None, index
    if len(index) != 2:
        raise D3DataError(f"index {index!r}: two numbers are an epoch and an index")
    return require_epoch(index[0]), index[1]


def placed() -> tuple[int, int]:
    """The rank of this process and how many there are, as `torch.distributed` knows them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def require_epoch(epoch: int) -> int:
    """The epoch; D3DataError unless 0 <= epoch < 2^32."""
    return whole(epoch, "epoch", most=LAST)
