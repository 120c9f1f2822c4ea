"""Baselines: what a distilled set is compared with, of equal size and trained on in the same way.

A baseline is one function of what it may look at, a `Setting`, and a generator.
"""

from collections.abc import Iterable

from d3data.data.dataset import DistilledDataset
from d3data.errors import D3DataError, DataError, RecipeError, TrainingError, entry
from d3data.evaluation.baselines.compressed import compressed
from d3data.evaluation.baselines.coresets import herding, k_center, k_means
from d3data.evaluation.baselines.plain import means, random, random_bytes, real, soft
from d3data.evaluation.baselines.setting import Baseline, Photographs, Rival, Setting
from d3data.evaluation.protocol_epochs import has_priors
from d3data.evaluation.setup import Draws

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
TAUGHT = ("herding", "k-center", "k-means", "soft")  # a network on all train images chooses
WEIGHED = ("random-bytes", "compressed")  # as many bytes as the set


def named(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        RecipeError: there is none.
    """
    return entry(baselines, name, what="baseline")


def wanted(names: str | Iterable[str], draws: Draws, *, features: bool = True) -> list[str]:
    """The names of some baselines, or of all that a set can be compared with.

    Args:
        names: of the baselines; "all" that are possible, or "none".
        draws: the set.
        features: whether the networks tell theirs, as d3data's own do.

    Raises:
        RecipeError: there is no such baseline, or one comes twice.
        DataError: one cannot be made for this set.
        TrainingError: one cannot be made with these networks.
    """
    if names == "all":
        return [name for name in baselines if _fault(name, draws, features) is None]
    if names == "none":
        return []
    found = [names] if isinstance(names, str) else list(names)
    for name in found:
        named(name)
        if fault := _fault(name, draws, features):
            raise fault
    if len(set(found)) < len(found):
        raise RecipeError(f"baselines {', '.join(found)}: name each of them once")
    return found


def _fault(name: str, draws: Draws, features: bool) -> D3DataError | None:
    if name in WEIGHED and not isinstance(draws, DistilledDataset):
        return DataError(
            f"the baseline `{name}` needs a set that says its bytes: an artifact, which "
            "`d3data convert` makes; leave it out for this set"
        )
    if name == "means" and not has_priors(draws):
        return DataError("the baseline `means` needs Gaussian priors: leave it out for this set")
    if name in TAUGHT and not features:
        return TrainingError(
            f"the baseline `{name}` needs one of d3data's networks, which tell their features: "
            f"leave {', '.join(TAUGHT)} out"
        )
    return None
