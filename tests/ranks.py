"""What one of several ranks does in `test_ranks`; processes of their own import it."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch.utils.data import DataLoader, DistributedSampler

from d3data import artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.epochs import EpochSampler

RANKS, EPOCHS, BATCH = 2, 3, 5


def run(work: Any, folder: Path, *options: Any) -> list[Any]:
    """What `work(folder, *options)` returns on each of two ranks of gloo."""
    torch.multiprocessing.start_processes(
        _rank, args=(work, folder, options), nprocs=RANKS, start_method="spawn"
    )
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def _rank(rank: int, work: Any, folder: Path, options: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=RANKS
    )
    (folder / f"{rank}.json").write_text(json.dumps(work(folder, *options)))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def both(folder: Path, given: list[Any], counted: list[Any]) -> list[Any]:
    """What `draws` and `warned` return on one rank, without starting the ranks twice."""
    return [draws(folder, given), warned(folder, counted)]


def draws(folder: Path, cases: list[tuple[str, int, str | None]]) -> list[Any]:
    """For each way to give epochs: the (epoch, draw) of each sample of each epoch."""
    return [_drawn(folder, *case) for case in cases]


def _drawn(folder: Path, how: str, workers: int, method: str | None) -> list[list[list[int]]]:
    data = DistilledDataset(artifact.read(folder / "toys"), as_dict=True)
    sampler: Any = EpochSampler(data) if how == "sampler" else DistributedSampler(data)
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_size=BATCH,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=method,
    )
    epochs: list[list[list[int]]] = []
    for epoch in range(EPOCHS):
        if how == "set_epoch":
            sampler.set_epoch(epoch)
            data.set_epoch(epoch)
        epochs.append([])
        for batch in loader:
            for image, *key in zip(batch["image"], batch["epoch"], batch["draw"], strict=True):
                when, which = map(int, key)
                step = (image.int() - data.draw(when, which)["image"].int()).abs().max()
                assert int(step) <= 1
                epochs[-1].append([when, which])
    return epochs


def warned(folder: Path, cases: list[tuple[int, str | None]]) -> list[list[str]]:
    """For each kind of workers: the warnings of a rank and its workers that count epochs."""
    said = folder / f"{torch.distributed.get_rank()}.txt"
    os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)  # of workers too
    warnings.simplefilter("always")
    data = artifact.read(folder / "toys")
    warnings_of_cases = []
    for workers, method in cases:
        os.truncate(said, 0)
        _count(DistilledDataset(data), workers, method)
        lines = [line for line in said.read_text().splitlines() if "UserWarning" in line]
        warnings_of_cases.append(lines)
    return warnings_of_cases


def _count(data: DistilledDataset, workers: int, method: str | None) -> None:
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_size=BATCH,
        sampler=DistributedSampler(data),
        num_workers=workers,
        persistent_workers=method in ("spawn", "forkserver"),  # which are slow to start
        multiprocessing_context=method,
    )
    for _ in range(2):
        list(loader)
