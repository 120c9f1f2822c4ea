"""The command env."""

from d3data.cli.options import Json
from d3data.cli.output import give

PACKAGES = ("torch", "torchvision", "numpy", "safetensors", "pydantic", "typer")


def env(json: Json = False) -> None:
    """Show versions and devices, for a report of a fault."""
    import os
    import platform
    from importlib.metadata import version

    import torch

    from d3data.utils.device import cores, versions
    from d3data.utils.text import table

    values = versions() | {
        **{package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cores": cores(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "D3DATA_DATA": os.environ.get("D3DATA_DATA"),
    }
    rows = [[name, str(value)] for name, value in values.items()]
    give(table(["what", "value"], rows), values, as_json=json)
