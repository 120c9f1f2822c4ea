"""Training frameworks: fresh draws every epoch, each draw once, and an exact resume."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.epochs import EpochSampler

LENGTH, BATCH = 30, 4  # five classes of six draws; eight batches
EPOCHS = 3

pytestmark = pytest.mark.filterwarnings("default")  # what frameworks warn of is not ours


def keys(batch: dict[str, torch.Tensor]) -> list[tuple[int, int]]:
    """The (epoch, draw) of each sample."""
    return list(zip(batch["epoch"].tolist(), batch["draw"].tolist(), strict=True))


def all_draws(epoch: int) -> list[tuple[int, int]]:
    return [(epoch, draw) for draw in range(LENGTH)]


def order(how: str, data: DistilledDataset) -> dict[str, Any]:
    """Arguments of a loader: an EpochSampler, or shuffling alone."""
    return {"sampler": EpochSampler(data)} if how == "sampler" else {"shuffle": True}


@pytest.mark.parametrize(("how", "workers"), [("sampler", 1), ("shuffle", 0)])
def test_accelerate(how: str, workers: int, toys: Artifact) -> None:
    accelerate = pytest.importorskip("accelerate")
    data = DistilledDataset(toys, as_dict=True)
    loader = DataLoader(data, batch_size=BATCH, num_workers=workers, **order(how, data))
    prepared = accelerate.Accelerator(cpu=True).prepare(loader)
    for epoch in range(EPOCHS):
        assert sorted(key for batch in prepared for key in keys(batch)) == all_draws(epoch)


@pytest.mark.parametrize("how", ["sampler", "shuffle"])
def test_accelerate_deals_batches_to_ranks(how: str, toys: Artifact) -> None:
    dealing = pytest.importorskip("accelerate.data_loader")
    loaders = []
    for rank in range(2):
        data = DistilledDataset(toys, as_dict=True)
        dealt = order(how, data) if how == "sampler" else {}
        loader = DataLoader(data, batch_size=5, **dealt)
        loaders.append(
            dealing.prepare_data_loader(
                loader, num_processes=2, process_index=rank, put_on_device=False
            )
        )
    for epoch in range(EPOCHS):
        ranks = [[key for batch in loader for key in keys(batch)] for loader in loaders]
        assert len(ranks[0]) == len(ranks[1])
        assert sorted(ranks[0] + ranks[1]) == all_draws(epoch)


@pytest.mark.parametrize("how", ["sampler", "shuffle"])
@pytest.mark.parametrize(("workers", "taken"), [(0, 0), (0, 3), (2, 7)])
def test_torchdata_resumes_in_the_midst_of_an_epoch(
    how: str, workers: int, taken: int, toys: Artifact
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def start() -> tuple[DistilledDataset, Any]:
        torch.manual_seed(0)  # of the order, where it is shuffled
        data = DistilledDataset(toys, as_dict=True)
        options = {"batch_size": BATCH, "num_workers": workers, **order(how, data)}
        return data, stateful(data, **options)

    def epoch_of(data: DistilledDataset, loader: Any, epoch: int) -> Any:
        if how == "shuffle":
            data.set_epoch(epoch)  # counts of requests begin anew in a new process
        return map(keys, loader)

    data, loader = start()
    uninterrupted = [list(epoch_of(data, loader, epoch)) for epoch in range(EPOCHS)]
    assert [sorted(chain(*epoch)) for epoch in uninterrupted] == [*map(all_draws, range(EPOCHS))]
    data, loader = start()
    list(epoch_of(data, loader, 0))
    batches = epoch_of(data, loader, 1)
    seen = [next(batches) for _ in range(taken)]
    state = loader.state_dict()
    data, loader = start()
    loader.load_state_dict(state)
    assert seen + list(epoch_of(data, loader, 1)) == uninterrupted[1]
    assert list(epoch_of(data, loader, 2)) == uninterrupted[2]


def watching(lightning: Any, folder: Path, artifact: Artifact, how: str) -> Any:
    """A module that writes down the draws that each rank sees in each epoch."""

    class Watching(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.data = DistilledDataset(artifact, as_dict=True)
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def train_dataloader(self) -> Any:
            return DataLoader(self.data, batch_size=5, num_workers=0, **order(how, self.data))

        def training_step(self, batch: Any) -> Any:
            place = folder / f"{self.current_epoch}-{self.global_rank}.json"
            seen = json.loads(place.read_text()) if place.exists() else []
            place.write_text(json.dumps(seen + keys(batch)))
            return self.weight.sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Watching()


@pytest.mark.parametrize(("how", "ranks"), [("shuffle", 1), ("sampler", 2)])
def test_lightning(how: str, ranks: int, toys: Artifact, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=ranks,
        strategy="ddp_fork" if ranks > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(watching(lightning, tmp_path, toys, how))
    for epoch in range(EPOCHS):
        seen = [json.loads((tmp_path / f"{epoch}-{r}.json").read_text()) for r in range(ranks)]
        assert {len(mine) for mine in seen} == {LENGTH // ranks}
        assert sorted(map(tuple, chain(*seen))) == all_draws(epoch)
