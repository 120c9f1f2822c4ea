"""Train with Lightning on a distilled set, on one process or several.

    python examples/train_with_lightning.py ./runs/digits-ipc4/artifact

Lightning would deal the draws to ranks by a sampler of its own, which hides epochs from the set:
`use_distributed_sampler=False` leaves that to the EpochSampler.
"""

import sys

import lightning
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import d3data
from d3data import nets


class Classifier(lightning.LightningModule):
    """A ConvNet that is trained on a distilled set, each rank on its share of the draws."""

    def __init__(self, name: str, draws_per_class: int) -> None:
        super().__init__()
        self.data = d3data.load(name, output="normalized", draws_per_class=draws_per_class)
        image, classes = self.data.image, len(self.data.classes)
        self.network = nets.build(
            channels=image.channels, size=image.size, classes=classes, width=32
        )

    def train_dataloader(self):
        """Built where the ranks are known: an EpochSampler asks for them once."""
        return DataLoader(self.data, batch_size=64, sampler=d3data.EpochSampler(self.data))

    def training_step(self, batch):
        images, labels = batch
        loss = F.cross_entropy(self.network(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def main(name: str, epochs: int = 10, draws_per_class: int = 128, **options) -> float:
    """Return the loss of the last batch."""
    classifier = Classifier(name, draws_per_class)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        **options,
    )
    trainer.fit(classifier)
    loss = trainer.callback_metrics["loss"].item()
    print(f"loss {loss:.3f} after {epochs} epochs")
    return loss


if __name__ == "__main__":
    main(sys.argv[1])
