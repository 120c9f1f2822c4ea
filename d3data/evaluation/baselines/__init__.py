"""Baselines: what a distilled set is compared with, of equal size and trained on in the same way.

A baseline is one function of what it may look at, a `Setting`, and a generator.
"""

from collections.abc import Iterable

from d3data.dataset import DistilledDataset
from d3data.errors import entry
from d3data.evaluation.baselines.compressed import compressed
from d3data.evaluation.baselines.coresets import herding, k_center, k_means
from d3data.evaluation.baselines.plain import means, random, random_bytes, real, soft
from d3data.evaluation.baselines.setting import Baseline, Photographs, Rival, Setting
from d3data.evaluation.trials import Draws

__all__ = ["Baseline", "Photographs", "Rival", "Setting", "baselines", "named", "wanted"]

baselines: dict[str, Baseline] = {
    "random": random,
    "random-bytes": random_bytes,
    "compressed": compressed,
    "herding": herding,
    "k-center": k_center,
    "k-means": k_means,
    "soft": soft,
    "means": means,
    "real": real,
}


def named(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        RecipeError: there is none.
    """
    return entry(baselines, name, what="baseline")


def wanted(names: str | Iterable[str], draws: Draws) -> list[str]:
    """The names of some baselines, or of all that a set can be compared with.

    Raises:
        RecipeError: there is no such baseline.
    """
    if names == "all":
        artifact = isinstance(draws, DistilledDataset)
        priors = isinstance(draws, DistilledDataset) and draws.drawer.sources[0].latent_values
        without = {"means"} if not priors else set()
        without |= set() if artifact else {"random-bytes", "compressed"}
        return [name for name in baselines if name not in without]
    found = [names] if isinstance(names, str) else list(names)
    for name in found:
        named(name)
    return found
