"""The data sets that are known by name: the table `presets.toml`."""

import tomllib
from importlib import resources
from typing import Literal

from d3data.images.formats.layout import Role
from d3data.images.preprocessing import Fit
from d3data.utils.schema import Frozen


class Preset(Frozen):
    """A known data set; `presets.toml` says what the keys mean."""

    hub: str = ""
    image: str = "image"
    label: str = "label"
    native: int
    classes: int
    images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "exact"
    elsewhere: Fit = "squash"
    splits: dict[Role, str] | None = None
    every: int = 1
    test: Role = "test"
    license: str
    source: str

    @property
    def channels(self) -> Literal[1, 3]:
        """1 for grey, 3 for RGB."""
        return 1 if len(self.mean) == 1 else 3


_TABLE = resources.files("d3data.images").joinpath("presets.toml").read_text(encoding="utf-8")
PRESETS = {
    name: Preset.parse(row, where=f"presets.toml, {name}")
    for name, row in tomllib.loads(_TABLE).items()
}
