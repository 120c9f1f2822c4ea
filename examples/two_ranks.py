"""Train on two processes, each with its half of every epoch's draws.

    python examples/two_ranks.py ./runs/digits-ipc4/artifact

An EpochSampler shuffles the draws anew each epoch, deals them to the ranks, and tells the set
which epoch it is: no image is drawn twice and none is missing. `torchrun` starts ranks on several
machines in the same way.
"""

import sys
import tempfile

import torch
import torch.distributed
import torch.multiprocessing
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import d3data
from d3data import nets

RANKS = 2


def train(rank: int, meeting: str, name: str, epochs: int, draws_per_class: int) -> None:
    """What one rank does."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}/ranks", rank=rank, world_size=RANKS
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = d3data.load(name, output="normalized", draws_per_class=draws_per_class)
    loader = DataLoader(data, batch_size=32, sampler=d3data.EpochSampler(data))
    network = nets.build(
        channels=data.image.channels, size=data.image.size, classes=len(data.classes), width=32
    )
    network = DistributedDataParallel(network)  # averages the gradients of the ranks
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(epochs):
        total = torch.zeros(2)  # loss, images
        for images, labels in loader:
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(images), len(images)])
        torch.distributed.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch}: loss {total[0] / total[1]:.3f} of {int(total[1])} images")
    torch.distributed.destroy_process_group()


def main(name: str, epochs: int = 3, draws_per_class: int = 128) -> None:
    """Start the ranks, and wait for them."""
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (meeting, name, epochs, draws_per_class)
        torch.multiprocessing.start_processes(  # those of spawn sometimes abort as they end
            train, arguments, nprocs=RANKS, start_method="forkserver"
        )


if __name__ == "__main__":
    main(sys.argv[1])
