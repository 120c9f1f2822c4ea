"""Distilled image data sets: make them, ship them, load them.

    >>> import d3data
    >>> data = d3data.load("digits-ipc4")
    >>> image, label = data[0]

`docs/api.md` lists what is public: the names of `__all__` here and in the packages that it names.
"""

import importlib
from typing import TYPE_CHECKING

from d3data.utils.packages import naming_packages
from d3data.utils.version import __version__

__all__ = [
    "DecodingLoader",
    "DistilledDataset",
    "EpochSampler",
    "__version__",
    "artifact",
    "audit",
    "bake",
    "cards",
    "compare",
    "convert",
    "distill",
    "errors",
    "evaluate",
    "evaluation",
    "export",
    "info",
    "list_sets",
    "load",
    "load_task",
    "merge",
    "nets",
    "publish",
    "pull",
    "quantize",
    "testing",
]

if TYPE_CHECKING:
    from d3data import (
        artifact,
        cards,
        convert,
        distill,
        errors,
        evaluation,
        nets,
        testing,
    )
    from d3data.data.bake import bake
    from d3data.data.dataset import DistilledDataset
    from d3data.data.device_loader import DecodingLoader
    from d3data.data.epochs import EpochSampler
    from d3data.data.export import export
    from d3data.data.info import info
    from d3data.data.load import load
    from d3data.data.merge import merge
    from d3data.data.requantize import quantize
    from d3data.evaluation import audit, compare, evaluate
    from d3data.hub.fetch import list_sets, pull
    from d3data.images.tasks import load_task
    from d3data.publishing import publish
else:  # so that importing d3data loads no torch, and type checkers know all names
    _PLACES = {
        "DecodingLoader": "data.device_loader",
        "DistilledDataset": "data.dataset",
        "EpochSampler": "data.epochs",
        "audit": "evaluation",
        "bake": "data.bake",
        "compare": "evaluation",
        "evaluate": "evaluation",
        "export": "data.export",
        "info": "data.info",
        "list_sets": "hub.fetch",
        "load": "data.load",
        "load_task": "images.tasks",
        "merge": "data.merge",
        "publish": "publishing",
        "pull": "hub.fetch",
        "quantize": "data.requantize",
    }

    def __getattr__(name: str):
        with naming_packages():
            if name in _PLACES:
                return getattr(importlib.import_module(f"d3data.{_PLACES[name]}"), name)
            if name in __all__:
                return importlib.import_module(f"d3data.{name}")
        raise AttributeError(f"module 'd3data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
