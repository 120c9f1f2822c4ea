"""The weights of a StyleGAN2 that somebody has, as a generator file of ours.

Names and layers are those of the published code of StyleGAN2-ADA (Karras et al. 2020, arXiv
2006.06676), whose generators are pickles of its classes: programs, which are not run here. What
is read is a state dict, in safetensors or as `torch.save` writes it.
"""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from d3data.artifact.generator_file import Generator, GeneratorAbout
from d3data.convert import torch_files
from d3data.errors import FormatError
from d3data.sources.synthesis import TAPS, SynthesisSpec
from d3data.utils.text import brief, some

LEARNING_RATE = 0.01  # factor on the weights of mappings, which no state dict tells
PICKLE = (
    "{path} is neither safetensors nor a file of plain tensors: a pickle of a generator is a "
    "program, and is not opened. Where its authors' code is installed, write its weights with "
    "torch.save(G_ema.state_dict(), 'g.pt'), and convert these"
)
DROPPED = re.compile(r"mapping\.w_avg|.*\.(noise_const|noise_strength|resample_filter)")


def stylegan(
    path: str | Path, *, out: str | Path, origin: str | None = None, rate: float = LEARNING_RATE
) -> Path:
    """Write the StyleGAN2 of a state dict as a generator file, for `warm_start.weights`.

    Noise inputs and the truncation's mean are left out. Constant factors are folded into the
    weights.

    Args:
        path: a `.safetensors` file, or what `torch.save` writes of a state dict of tensors.
        out: the file to be written.
        origin: where it comes from; the name of the file unless given.
        rate: the learning rate of the mapping relative to all else, as its code has it.

    Raises:
        FormatError: a pickle, no StyleGAN2, or another than that of skip connections to RGB.
    """
    state, where = _read(Path(path)), str(path)
    named = (re.match(r"synthesis\.b(\d{1,4})\.conv1", key) for key in state)
    sides = sorted({int(found[1]) for found in named if found})
    if not sides or sides != [4 << n for n in range(len(sides))] or len(sides) < 2:
        raise FormatError(
            f"{where} has {some(map(brief, sorted(state)), at_most=3)}, and no synthesis.b4.conv1 "
            "to synthesis.bN.conv1 as a StyleGAN2 of NVIDIA's code has: those of StyleGAN3, "
            "StyleGAN-XL and of other code have other layers"
        )
    channels = [_of(state, f"synthesis.b{side}.conv1.weight", where).shape[0] for side in sides]
    colors, *_ = _of(state, f"synthesis.b{sides[-1]}.torgb.weight", where).shape
    styles = _of(state, "synthesis.b4.conv1.affine.weight", where).shape[1]
    network = {"width": channels[0], "base": channels[-1] * sides[-1], "styles": styles}
    spec = SynthesisSpec.parse(network, where=where, error=FormatError)
    if channels != [min(spec.base // side, spec.width) for side in sides]:
        raise FormatError(f"{where} has maps of {channels} channels, which no StyleGAN2 has")
    about = {"network": spec, "size": sides[-1], "channels": colors}
    about["origin"] = origin or Path(path).name
    tensors = dict(_renamed(state, rate, where))
    made = Generator.of(
        GeneratorAbout.parse(about, where=where, error=FormatError), tensors, where=where
    )
    made.write(Path(out))
    return Path(out)


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict of float tensors, its names without what comes before `synthesis`."""
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        elif zipfile.is_zipfile(path):
            content = torch_files.read(path)
        else:
            raise FormatError(PICKLE.format(path=path))
    except (OSError, safetensors.SafetensorError) as fault:
        raise FormatError(f"{path} cannot be read: {fault}") from None
    if not isinstance(content, dict) or not all(isinstance(n, str) for n in content):
        raise FormatError(f"{path} holds no dictionary of tensors by name")
    found = {}
    for key, value in content.items():
        if name := re.search(r"(synthesis|mapping)\..*", key):
            found[name[0]] = torch_files.tensor(
                value,
                where=f"{path}: {key}",
                shape=getattr(value, "shape", ()),
            )
    return found


def _of(state: Mapping[str, Tensor], name: str, where: str) -> Tensor:
    if name not in state or state[name].ndim < 2:
        raise FormatError(f"{where} has no {name} of two or more dimensions")
    return state[name]


def _renamed(state: Mapping[str, Tensor], rate: float, where: str) -> Iterator[tuple[str, Tensor]]:
    """Our names and weights, factors folded in; FormatError where there are others."""
    for name, tensor in state.items():
        if DROPPED.fullmatch(name):
            _require_filter(name, tensor, where)
            continue
        folded = _mapping(name, tensor, rate) or _synthesis(name, tensor)
        if folded is None:
            raise FormatError(
                f"{where} has {brief(name)}, which no StyleGAN2 with skip connections to RGB has"
            )
        yield folded


def _mapping(name: str, tensor: Tensor, rate: float) -> tuple[str, Tensor] | None:
    found = re.fullmatch(r"mapping\.(?:fc(\d+)|embed)\.(weight|bias)", name)
    if found is None:
        return None
    number, kind = found.groups()
    own = "embed" if number is None else f"layers.{number}"
    scale = 1.0 if number is None else rate
    scale /= math.sqrt(tensor.shape[1]) if kind == "weight" and tensor.ndim == 2 else 1.0
    return f"mapping.{own}.{kind}", tensor * scale


def _synthesis(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
    if name == "synthesis.b4.const":
        return "synthesis.const", tensor
    layer = r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.((?:affine\.)?(weight|bias))"
    if (found := re.fullmatch(layer, name)) is None:
        return None
    side, kind, rest, leaf = found.groups()
    stage = int(side).bit_length() - 3
    own = f"rgbs.{stage}" if kind == "torgb" else f"convs.{2 * stage - (kind == 'conv0')}"
    folds = leaf == "weight" and (rest.startswith("affine") or kind == "torgb")
    return f"synthesis.{own}.{rest}", tensor / (math.sqrt(tensor.shape[1]) if folds else 1.0)


def _require_filter(name: str, tensor: Tensor, where: str) -> None:
    taps = torch.tensor(TAPS) / sum(TAPS)
    if name.endswith("resample_filter") and not torch.allclose(tensor, torch.outer(taps, taps)):
        raise FormatError(f"{where}: {name} is another filter than 1 3 3 1, which ours is")
