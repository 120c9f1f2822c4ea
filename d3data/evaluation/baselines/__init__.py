"""Baselines: real images of equal size that a distilled set is compared with.

A baseline is one function of a `BaselineContext`, what it may use, and a generator.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from d3data.data.dataset import DistilledDataset
from d3data.errors import D3DataError, DataError, RecipeError, TrainingError, entry
from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines import choices
from d3data.evaluation.baselines.choices import BaselineContext
from d3data.evaluation.baselines.compressed_images import compressed
from d3data.evaluation.protocol_epochs import has_priors
from d3data.evaluation.record import RowData, TrainingData
from d3data.utils.renamed import moved

__all__ = [
    "BaselineContext",
    "Photographs",
    "RowData",
    "baselines",
    "get_baseline",
    "list_baselines",
    "wanted",
]

Baseline = Callable[..., RowData]  # (context, rng=) -> what the networks of one seed train on

baselines: dict[str, Baseline] = {
    "random": choices.random,
    "random-bytes": choices.random_bytes,
    "compressed": compressed,
    "herding": choices.herding,
    "k-center": choices.k_center,
    "k-means": choices.k_means,
    "soft": choices.soft,
    "means": choices.means,
    "real": choices.real,
}
NEED_TEACHER = ("herding", "k-center", "k-means", "soft")
NEED_BYTES = ("random-bytes", "compressed")
FAIR = ("random-bytes", "compressed")  # as many bytes as the set has


def list_baselines() -> list[str]:
    """The names of the baselines."""
    return list(baselines)


def get_baseline(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        RecipeError: there is none.
    """
    return entry(baselines, name, what="baseline")


def wanted(names: str | Iterable[str], data: TrainingData, *, features: bool = True) -> list[str]:
    """The names of the baselines that are asked for; "all" are those that are possible.

    "fair" are random and compressed real images of as many bytes as the set, or random ones of as
    many values where its bytes are unknown.
    `features`: whether the networks have features, as d3data's own do.
    """
    if names == "all":
        return [name for name in baselines if _obstacle(name, data, features) is None]
    if names == "fair":
        return list(FAIR) if isinstance(data, DistilledDataset) else ["random"]
    if names == "none":
        return []
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        get_baseline(name)
        if obstacle := _obstacle(name, data, features):
            raise obstacle
    if len(set(chosen)) < len(chosen):
        raise RecipeError(f"baselines {', '.join(chosen)}: name each of them once")
    return chosen


def _obstacle(name: str, data: TrainingData, features: bool) -> D3DataError | None:
    if name in NEED_BYTES and not isinstance(data, DistilledDataset):
        return DataError(
            f"the baseline `{name}` needs a distilled set, whose bytes are known: leave it out, "
            "or make an artifact of the set with `d3data convert`"
        )
    if name == "means" and not has_priors(data):
        return DataError("the baseline `means` needs Gaussian priors: leave it out for this set")
    if name in NEED_TEACHER and not features:
        return TrainingError(
            f"the baseline `{name}` needs one of d3data's networks, whose features it uses: "
            f"leave {', '.join(NEED_TEACHER)} out"
        )
    return None


if not TYPE_CHECKING:
    __getattr__ = moved(__name__, named="d3data.evaluation:get_baseline")
