"""Distilled image data sets: make them, ship them, load them."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "DecodingLoader": "d3data.decoding",
    "DistilledDataset": "d3data.dataset",
    "EpochSampler": "d3data.epochs",
    "evaluate": "d3data.evaluation",
    "load": "d3data.loading",
    "load_task": "d3data.tasks",
    "publish": "d3data.publishing",
    "quantize": "d3data.quantizing",
}
__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from d3data.dataset import DistilledDataset as DistilledDataset
    from d3data.decoding import DecodingLoader as DecodingLoader
    from d3data.epochs import EpochSampler as EpochSampler
    from d3data.evaluation import evaluate as evaluate
    from d3data.loading import load as load
    from d3data.publishing import publish as publish
    from d3data.quantizing import quantize as quantize
    from d3data.tasks import load_task as load_task


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'd3data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
