"""A method of your own: a generator that yields losses, on any source.

    python examples/your_own_objective.py

The loss here asks only that the mean image of each class be right, which is the least that
anybody could ask; put yours in its place.
"""

import torch

import d3data
from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import distill
from d3data.distill.objectives.base import sample_items, sample_real, steps
from d3data.images.spec import Image
from d3data.sources import registry
from d3data.sources.pixels import PixelsSpec


class MeanImages:
    """Asks of the synthetic data that the mean image of each class is that of real images."""

    experts = None

    def losses(self, source, bench):
        """Yield the squared distance of mean images, summed over classes."""
        for step in steps(bench):
            rng = bench.rng("mean images", step)
            items = sample_items(source.classes, 2, rng)  # (K, n)
            real = sample_real(bench, 64, rng)  # (K, m, C, H, W)
            drawn = source.images(items.flatten(), rng).unflatten(0, items.shape)
            yield (drawn.mean(1) - real.mean(1)).square().sum()


def main(count: int = 50) -> list[float]:
    """Distil two images of each digit; return the losses."""
    task = d3data.load_task("digits")
    image = Image(channels=1, size=8, mean=task.mean, std=task.std)
    classes = torch.arange(10).repeat_interleave(2)
    source = registry.blank(PixelsSpec(), image, classes=classes, step_size=0.01)
    optimizer = torch.optim.Adam(source.train_only(["pixels"])["pixels"], lr=0.1)
    losses = []
    distill(
        source,
        MeanImages(),
        ObjectiveContext(task, seed=0, steps=count),
        [optimizer],
        watch=lambda step, loss: losses.append(loss.item()),
    )
    print(f"loss {losses[0]:.1f} -> {losses[-1]:.1f}")
    return losses


if __name__ == "__main__":
    main()
