"""Packages that not everything needs: one sentence where one is missing."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from d3data.errors import MissingPackageError

# what `pip install d3data` brings besides what loading needs, by the module that is imported
OPTIONAL = {
    "PIL": "pillow",
    "datasets": "datasets",
    "filelock": "filelock",
    "huggingface_hub": "huggingface-hub",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "pyarrow": "pyarrow",
    "rich": "rich",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "tomli_w": "tomli-w",
    "torchvision": "torchvision",
    "typer": "typer",
    "webdataset": "webdataset",
    "yaml": "pyyaml",
}


@contextlib.contextmanager
def naming_packages() -> Iterator[None]:
    """Let a package that is missing in the block or the function be named as pip names it."""
    try:
        yield
    except ModuleNotFoundError as failure:
        package = OPTIONAL.get((failure.name or "").partition(".")[0])
        if package is None or isinstance(failure, MissingPackageError):
            raise
        raise MissingPackageError(
            f"this needs the package {package}, which is not installed: `pip install {package}`, "
            "or `pip install d3data` for all that anything here needs",
            name=failure.name,
        ) from failure


def of_extra(extra: str, module: str) -> Any:
    """The module, which `pip install d3data[extra]` brings."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as failure:
        raise MissingPackageError(
            f"this needs the package {module}, which is not installed: "
            f"`pip install 'd3data[{extra}]'`",
            name=module,
        ) from failure
