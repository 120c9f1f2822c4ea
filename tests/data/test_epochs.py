"""Which epoch a request is of, and samplers that say so."""

import copy
import pickle  # noqa: TID251  of our own object
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from d3data.data import epochs
from d3data.data.epochs import EpochSampler, Requests
from d3data.errors import D3DataError


def test_the_nth_request_for_an_index_is_of_epoch_n() -> None:
    requests = Requests(3)
    assert requests.epochs([0, 1, 0, 0]) == [0, 0, 1, 2]
    assert requests.epochs([2, 0, 1]) == [0, 3, 1]
    assert requests.epochs([]) == []


def test_threads_lose_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    requests, slow = Requests(1), threading.Event()

    class Counts:
        """Counts that another thread may reach between reading and writing."""

        def __init__(self) -> None:
            self.values = [0]

        def __getitem__(self, index: int) -> int:
            found = self.values[index]
            slow.wait(0.02)
            return found

        def __setitem__(self, index: int, value: int) -> None:
            self.values[index] = value

        def numpy(self) -> "Counts":
            return self

    monkeypatch.setattr(requests, "_counts", Counts())
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(requests.epochs([0] * 2))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def test_an_epoch_that_is_set_holds_until_the_next() -> None:
    requests = Requests(2)
    requests.set_epoch(7)
    assert requests.epochs([0, 0]) == [7, 7]
    requests.set_epoch(0)
    assert requests.epochs([0, 1]) == [0, 0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_counts_for_itself(duplicate: object) -> None:
    requests = Requests(2)
    requests.epochs([0, 0])
    other = duplicate(requests)  # type: ignore[operator]
    assert other.epochs([0, 0]) == [2, 3]
    assert requests.epochs([0]) == [2]


@pytest.mark.parametrize("epoch", [-1, 1 << 32])
def test_epochs_have_bounds(epoch: int) -> None:
    with pytest.raises(D3DataError, match="epoch must be an integer from 0 to 4,294,967,295"):
        Requests(1).set_epoch(epoch)
    with pytest.raises(D3DataError, match="must be an integer"):
        EpochSampler([0]).set_epoch(epoch)


def test_an_epoch_has_every_draw_once() -> None:
    sampler = EpochSampler(range(10))
    first, second = list(sampler), list(sampler)
    assert [epoch for epoch, _ in first + second] == [0] * 10 + [1] * 10
    assert sorted(index for _, index in first) == list(range(10))
    assert sorted(index for _, index in second) == list(range(10))
    assert [i for _, i in first] != [i for _, i in second]
    assert list(EpochSampler(range(10))) == first
    assert list(EpochSampler(range(10), seed=1)) != first


def test_without_shuffling_the_order_is_that_of_the_indices() -> None:
    assert list(EpochSampler(range(3), shuffle=False)) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize(("draws", "ranks"), [(12, 3), (10, 4), (3, 8)])
def test_ranks_share_an_epoch_in_equal_numbers(draws: int, ranks: int) -> None:
    samplers = [EpochSampler(range(draws), rank=rank, num_replicas=ranks) for rank in range(ranks)]
    for epoch in range(2):
        dealt = [list(sampler) for sampler in samplers]
        assert {len(mine) for mine in dealt} == {len(samplers[0])}
        assert {e for mine in dealt for e, _ in mine} == {epoch}
        indices = [index for mine in dealt for _, index in mine]
        assert set(indices) == set(range(draws))
        assert len(indices) - draws == -draws % ranks


@pytest.mark.parametrize("taken", [0, 4, 10])
def test_a_sampler_goes_on_where_it_was_left(taken: int) -> None:
    whole = EpochSampler(range(10), seed=3)
    expected = [*whole, *whole, *whole]
    left = EpochSampler(range(10), seed=3)
    seen = [*left, *islice(left, taken)]
    state = left.state_dict()
    assert (state["epoch"], state["position"]) == ((1, taken) if taken else (0, 10))
    resumed = EpochSampler(range(10), seed=3)
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert seen + rest == expected[: len(seen) + len(rest)]
    assert len(rest) == (10 - taken or 10)
    assert next(iter(resumed))[0] == rest[0][0] + 1


def test_an_epoch_that_was_broken_off_is_not_repeated() -> None:
    sampler = EpochSampler(range(10))
    next(iter(sampler))
    assert next(iter(sampler))[0] == 1


def test_requests_tell_their_epoch_or_are_counted() -> None:
    requests = Requests(4)
    assert requests.resolve([1, (7, 1), -1, 1]) == ([0, 7, 0, 1], [1, 1, 3, 1])
    assert requests.resolve([(7, -4), (0, 2)]) == ([7, 0], [0, 2])
    assert requests.resolve([]) == ([], [])
    for wrong in (4, -5, (0, 4)):
        with pytest.raises(IndexError):
            requests.resolve([0, wrong])
    with pytest.raises(D3DataError, match=r"epoch must be .* got -1"):
        requests.resolve([0, (-1, 0)])
    assert requests.epochs([0, 3]) == [0, 1]  # what failed was not counted


def test_ranks_that_count_for_themselves_are_told_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "rank_and_world_size", lambda: (1, 3))
    counting, given = Requests(3), Requests(3)
    given.resolve([(0, 1)])
    given.resolve([])
    given.set_epoch(2)
    given.resolve([1])
    with pytest.warns(UserWarning, match="each of 3 ranks counts") as warned:
        assert counting.resolve([0, 2])[0] == [0, 0]
    assert warned[0].filename == __file__
    assert "EpochSampler(data)" in str(warned[0].message)
    assert counting.resolve([0, 2])[0] == [1, 1]
    with pytest.warns(UserWarning, match="each of 3 ranks"):
        copy.deepcopy(counting).resolve([0])


def test_one_rank_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "rank_and_world_size", lambda: (0, 1))
    Requests(3).resolve([0])


def test_a_rank_is_below_the_ranks() -> None:
    with pytest.raises(D3DataError, match="rank must be an integer from 0 to 1, got 2"):
        EpochSampler(range(4), rank=2, num_replicas=2)


def test_counts_live_in_shared_memory() -> None:
    assert all(
        tensor.is_shared() for tensor in vars(Requests(2)).values() if torch.is_tensor(tensor)
    )


@pytest.mark.parametrize("kind", [lambda d: Subset(d, [0]), lambda d: ConcatDataset([d, d])])
def test_a_sampler_is_of_the_set_itself(kind: Callable[[Any], Any]) -> None:
    with pytest.raises(D3DataError, match="pass it the distilled set itself"):
        EpochSampler(kind(list(range(4))))


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({}, "not a state of an EpochSampler"),
        (None, "not a state of an EpochSampler"),
        ({"position": -3}, r"position must be .* got -3"),
        ({"position": "1"}, r"position must be .* got '1'"),
        ({"epoch": 1 << 32}, r"epoch must be .* got 4294967296"),
        ({"seed": 1}, "a sampler with seed=1, not 0"),
        ({"shuffle": 0}, "shuffle=0, not 1"),
        ({"ranks": 2}, "num_replicas=2, not 1"),
        ({"draws": 9}, "draws=9, not 10"),
    ],
)
def test_a_state_of_another_order_is_refused(state: Any, fault: str) -> None:
    sampler = EpochSampler(range(10))
    with pytest.raises(D3DataError, match=fault):
        sampler.load_state_dict({**sampler.state_dict(), **state} if state else state)


@pytest.mark.parametrize("seed", [-1, "x", 1 << 64])
def test_a_seed_is_a_seed(seed: Any) -> None:
    with pytest.raises(D3DataError, match=r"seed must be .* got "):
        EpochSampler(range(4), seed=seed)
