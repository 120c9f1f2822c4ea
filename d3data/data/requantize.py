"""A set in fewer bytes: the same tensors, rounded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.artifact.quantize import PURPOSES, Quantization
from d3data.errors import ArtifactError, nearest
from d3data.hub import names, resolve
from d3data.sources.base import purpose

WIDTHS = (32, 16, *range(8, 1, -1))
LABEL_BITS = 8  # probabilities keep at least so many, unless their number is given


def quantize(
    source: Artifact | str | Path,
    *,
    bits: int | Mapping[str, int],
    out: str | Path | None = None,
    axis: Literal["latents", "items"] = "latents",
    name: str | None = None,
) -> Artifact:
    """Write an artifact again with fewer bits a value.

    Every tensor is rounded where it stands, as `docs/format.md` says; a recipe's `[quantize]`
    distils on through the rounding, which loses less. The new set has other content, so it has
    another name; recipe and provenance stay, reports and previews of the old content do not.

    Args:
        source: an artifact, or what `d3data.load` takes.
        bits: 32, 16, or 8 to 2, for all tensors, or for each of "priors", "decoder", "labels" and
            "pixels" (float32 where one is not named). One number for all leaves labels 8.
        out: where to write it; unless given, a folder of the new name: beside the artifact, or
            here, if `source` is no folder but a name.
        axis: whose values share a scale where priors are integers: "latents" or "items".
        name: of the new set; the old one with `-int4`, `-float16` or `-quantized` unless given.

    Raises:
        ArtifactError: such bits do not exist, a value is beyond float16, the set has no such
            tensors, `source` has a fault, or `out` is there already.
        UnknownNameError: the name stands for nothing.
        HubError: the Hub or its cache cannot give the set.
    """
    old = source if isinstance(source, Artifact) else resolve.resolve(source).read()
    content, about = old.manifest.content, old.manifest.about
    wanted = _quantization(bits, axis)
    place = Path(out) if out else _around(source, old) / (name or about.name + _suffix(bits))
    if place.exists():
        raise ArtifactError(f"{place} is there already: choose another folder, or delete it first")
    about = about.model_copy(update={"name": name or about.name + _suffix(bits)})
    parts = list(map(old.part, range(len(content.parts))))
    there = {purpose(key) for part in parts for key in part.tensors}
    if isinstance(bits, Mapping) and (strange := sorted(bits.keys() - there)):
        raise ArtifactError(
            f"{old.manifest.about.name} has no {' and no '.join(strange)}: what it stores is "
            f"{', '.join(name for name in PURPOSES if name in there)}"
        )
    parts = [replace(part, quantization=wanted.within(there)) for part in parts]
    recipe = [entry.path for entry in old.manifest.files if entry.path == "recipe.toml"]
    return artifact.write(
        place,
        spec=content.source,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=about,
        labels=content.labels,
        draws_per_class=content.sampling.draws_per_class,
        extras={path: old.file(path) for path in recipe},
    )


def _around(source: Artifact | str | Path, found: Artifact) -> Path:
    named = not isinstance(source, Artifact) and not isinstance(names.parse(source), names.Folder)
    return Path() if named else found.folder.parent


def _quantization(
    bits: int | Mapping[str, int], axis: Literal["latents", "items"]
) -> Quantization:
    if not isinstance(bits, Mapping):
        _precision(bits)
        bits = dict.fromkeys(PURPOSES, bits) | {"labels": max(bits, LABEL_BITS)}
    if not bits:
        raise ArtifactError(f"bits of nothing: name some of {', '.join(PURPOSES)}")
    for name in bits:
        if name not in PURPOSES:
            raise ArtifactError(f"bits of {name!r}: {nearest(name, PURPOSES)}")
    precisions = {name: _precision(width) for name, width in bits.items()}
    return Quantization.parse({**precisions, "axis": axis}, where="quantize", error=ArtifactError)


def _suffix(bits: int | Mapping[str, int]) -> str:
    return "-quantized" if isinstance(bits, Mapping) else f"-{_precision(bits)}"


def _precision(bits: int) -> str:
    if type(bits) is not int or bits not in WIDTHS:
        raise ArtifactError(f"{bits!r} bits: a value is stored in 32, in 16, or in 8 to 2 of them")
    return f"float{bits}" if bits >= 16 else f"int{bits}"
