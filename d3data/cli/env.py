"""The command env."""

from d3data.cli.output import Json, give, table

PACKAGES = ("torch", "torchvision", "numpy", "safetensors", "pydantic", "typer")


def env(json: Json = False) -> None:
    """Show versions and devices, for a report of a fault."""
    import os
    import platform
    from importlib.metadata import version

    import torch

    from d3data.utils.device import cores
    from d3data.utils.version import __version__

    found = {
        "d3data": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cores": cores(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "D3DATA_DATA": os.environ.get("D3DATA_DATA"),
    }
    rows = [[name, str(value)] for name, value in found.items()]
    give(table(["what", "value"], rows), found, as_json=json)
