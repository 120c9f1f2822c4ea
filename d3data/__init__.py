"""Distilled image data sets: make them, ship them, load them."""

import importlib
from typing import TYPE_CHECKING, Any

from d3data.utils.version import __version__

_PUBLIC = {
    "DecodingLoader": "d3data.data.device_loader",
    "DistilledDataset": "d3data.data.dataset",
    "EpochSampler": "d3data.data.epochs",
    "evaluate": "d3data.evaluation",
    "export": "d3data.data.export",
    "load": "d3data.data.load",
    "load_task": "d3data.images.tasks",
    "merge": "d3data.data.merge",
    "publish": "d3data.publishing",
    "quantize": "d3data.data.requantize",
}
__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from d3data.data.dataset import DistilledDataset as DistilledDataset
    from d3data.data.device_loader import DecodingLoader as DecodingLoader
    from d3data.data.epochs import EpochSampler as EpochSampler
    from d3data.data.export import export as export
    from d3data.data.load import load as load
    from d3data.data.merge import merge as merge
    from d3data.data.requantize import quantize as quantize
    from d3data.evaluation import evaluate as evaluate
    from d3data.images.tasks import load_task as load_task
    from d3data.publishing import publish as publish


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'd3data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
