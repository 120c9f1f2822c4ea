"""A method of your own: a generator that yields losses, named by a recipe, on any source.

    python examples/your_own_objective.py

The loss here asks only that the mean image of each class be right, which is the least that
anybody could ask; put yours in its place. The run saves checkpoints, goes on where it was
stopped, and ends in an artifact that loads without this file.
"""

import sys
from pathlib import Path

from pydantic import Field

import d3data
from d3data import distill
from d3data.distill import Objective, sample_items, sample_real


class MeanImages(Objective):
    """Asks of the synthetic data that the mean image of each class is that of real images."""

    kind: str = "your_own_objective:MeanImages"
    real: int = Field(default=64, ge=1)

    def losses(self, source, context):
        """Yield the squared distance of mean images, summed over classes."""
        for step in context.step_range:
            rng = context.rng("mean images", step)
            items = sample_items(source, 2, rng)  # (K, n)
            real = sample_real(context, self.real, rng)  # (K, m, C, H, W)
            drawn = source.images(items.flatten(), rng).unflatten(0, items.shape)
            yield (drawn.mean(1) - real.mean(1)).square().sum()


def main(out: str = "runs/mean-images", steps: int = 50) -> Path:
    """Distill two images of each digit; return the folder of the artifact."""
    recipe = distill.Recipe(
        name="mean-images",
        task={"name": "digits"},
        source={"kind": "pixels"},
        items_per_class=2,
        objective={"kind": "your_own_objective:MeanImages", "real": 64},
        optimizers={"pixels": {"learning_rate": 0.1}},
        steps=steps,
    )
    folder = distill.run(recipe, out=out)
    print(d3data.load(folder))
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
