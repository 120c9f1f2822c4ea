"""The weights of a generator in a file of their own: what sources that store none come from.

Safetensors as a part is, with `synthesis.*` (`d3data.sources.synthesis`) and `mapping.*`
(`d3data.sources.mapping`); its metadata say which network it is, for which images, and where it
comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field
from torch import Tensor, nn

from d3data.artifact import safetensors_file
from d3data.artifact.manifest import Text
from d3data.errors import FormatError
from d3data.images.spec import Image
from d3data.sources.mapping import StyleMapping
from d3data.sources.synthesis import Synthesis, SynthesisSpec, sizes
from d3data.utils.atomic import write_bytes
from d3data.utils.schema import Frozen

MOST = 4 << 30  # bytes of a file
NETWORKS = ("mapping", "synthesis")
Network = TypeVar("Network", bound=nn.Module)


class GeneratorAbout(Frozen):
    """What a file says of its generator; `size` and `channels` are those of its images."""

    kind: Literal["generator"] = "generator"
    network: SynthesisSpec
    size: int = Field(ge=8, le=512)
    channels: Literal[1, 3]
    origin: Text

    @property
    def image(self) -> Image:
        """Its images, from black, -1, to white, 1."""
        half = (0.5,) * self.channels
        return Image(channels=self.channels, size=self.size, mean=half, std=half)


@dataclass(frozen=True)
class Generator:
    """A mapping from noise and classes to styles, and a synthesis network, without gradients."""

    about: GeneratorAbout
    mapping: StyleMapping
    synthesis: Synthesis

    @classmethod
    def of(cls, about: GeneratorAbout, tensors: Mapping[str, Tensor], *, where: str) -> Self:
        """The networks that these tensors are the weights of; FormatError if of none."""
        state = {name: _within(tensors, name) for name in NETWORKS}
        try:
            mapping = StyleMapping({n: tuple(t.shape) for n, t in state["mapping"].items()})
        except ValueError as fault:
            raise FormatError(f"{where}: its mapping is none of StyleGAN's: {fault}") from None
        synthesis = Synthesis(sizes(about.network, about.image))
        for name, network in (("mapping", mapping), ("synthesis", synthesis)):
            try:
                network.load_state_dict(state[name])
            except RuntimeError as fault:
                words = " ".join(str(fault).split())[:300]
                raise FormatError(f"{where}: its {name} is not the one it says: {words}") from None
        if mapping.styles != about.network.styles:
            raise FormatError(
                f"{where}: its mapping gives styles of {mapping.styles} values, and its network "
                f"takes {about.network.styles}"
            )
        return cls(about, _still(mapping), _still(synthesis))

    def write(self, path: Path) -> None:
        """Write it to `path`."""
        tensors = {
            f"{name}.{key}": value.detach().cpu().contiguous()
            for name in NETWORKS
            for key, value in getattr(self, name).state_dict().items()
        }
        safetensors_file.require_finite(tensors, where=str(path))
        write_bytes(path, safetensors_file.encode(tensors, self.about.dump()))


def read(path: Path) -> Generator:
    """The generator in a file; FormatError where it has none, or not only one."""
    where = str(path)
    if not path.is_file():
        raise FormatError(
            f"{where} does not exist: `d3data pretrain-generator` and `d3data convert stylegan` "
            "make such files"
        )
    if path.stat().st_size > MOST:
        raise FormatError(f"{where} has more than {MOST >> 30} GiB")
    file = safetensors_file.Memory(path.read_bytes())
    header = safetensors_file.header(file, where=where)
    about = GeneratorAbout.parse(header.about, where=f"{where}, its metadata", error=FormatError)
    tensors = safetensors_file.tensors(file, header, header.tensors, where=where)
    return Generator.of(about, tensors, where=where)


def _within(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def _still(network: Network) -> Network:
    return network.requires_grad_(False).eval()
