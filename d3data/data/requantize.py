"""quantize(): the same tensors rounded to fewer bits."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from d3data.artifact.ancestry import rewrite
from d3data.artifact.artifact import Artifact
from d3data.artifact.part import Part
from d3data.artifact.quantize import PURPOSES, Quantization
from d3data.data.sets import AnySet, as_artifact
from d3data.errors import ArtifactError, nearest
from d3data.hub import names
from d3data.sources.base import purpose
from d3data.utils.renamed import renamed

WIDTHS = (32, 16, *range(8, 1, -1))
MIN_LABEL_BITS = 8  # unless the bits of labels are given


@renamed(source="dataset")
def quantize(
    dataset: AnySet,
    *,
    bits: int | Mapping[str, int],
    out: str | Path | None = None,
    axis: Literal["latents", "items"] = "latents",
    name: str | None = None,
) -> Artifact:
    """Write an artifact again with fewer bits per value.

    Every tensor is rounded as `docs/format.md` says; the steps of a recipe's `[quantize]` distill
    through the rounding instead, which loses less. The new set has other content, so it has
    another name; it keeps recipe and provenance, but not reports and previews, which are of the
    old content.

    Args:
        dataset: a set that was loaded, an artifact, a name or a folder.
        bits: 32, 16, or 8 to 2, for all tensors, or for each of "priors", "decoder", "labels",
            "pixels", "maps" and "styles" (as they are where one is not named). What is
            stored in fewer bits already keeps them; labels in integers are rounded again, each by
            less than their step. With one number for all, labels keep 8, and learned ones 32.
        out: where to write it; by default a folder of the new name, beside the artifact's folder
            or, if `dataset` is a name, in the working directory.
        axis: which values share a scale where priors are integers: "latents" or "items".
        name: of the new set; by default the old one with `-int4`, `-float16` or `-quantized`.

    Raises:
        ArtifactError: the bits do not exist, a value is beyond float16, the set has no such
            tensors, `dataset` is faulty, or `out` exists.
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
    """
    old = as_artifact(dataset)
    content = old.manifest.content
    quantization = _quantization(bits, axis)
    if content.labels.kind == "targets" and not isinstance(bits, Mapping):
        quantization = quantization.model_copy(update={"labels": "float32"})
    name = name or old.manifest.about.name + _suffix(bits)
    folder = Path(out) if out else _parent(dataset, old) / name
    if folder.exists():
        raise ArtifactError(f"{folder} exists: choose another folder, or delete it first")
    parts = list(map(old.part, range(len(content.parts))))
    stored = {purpose(key) for part in parts for key in part.tensors}
    if isinstance(bits, Mapping) and (absent := sorted(bits.keys() - stored)):
        raise ArtifactError(
            f"{old.manifest.about.name} has no {' and no '.join(absent)}: it stores "
            f"{', '.join(name for name in PURPOSES if name in stored)}"
        )
    fewer = [_fewer(part, quantization, stored) for part in parts]
    asked = [quantization.within(stored)] * len(parts)
    if fewer == [part.quantization for part in parts] and fewer != asked:
        raise ArtifactError(
            f"{old.manifest.about.name} is stored in as few bits already: "
            + ", ".join(f"{name} as {fewer[0].of(name)}" for name in PURPOSES if name in stored)
        )
    parts = [replace(part, quantization=q) for part, q in zip(parts, fewer, strict=True)]
    return rewrite(old, folder, name=name, parts=parts)


def _fewer(part: Part, wanted: Quantization, stored: set[str]) -> Quantization:
    """The fewer bits of what a part has and what is wanted: more would give nothing back."""
    kept = {
        name: part.quantization.of(name)
        for name in stored & {*PURPOSES}
        if _width(part.quantization.of(name)) < _width(wanted.of(name))
    }
    axis = part.quantization.axis if "priors" in kept else wanted.axis
    return wanted.model_copy(update={**kept, "axis": axis}).within(stored)


def _width(precision: str) -> int:
    return int(precision.removeprefix("float").removeprefix("int"))


def _parent(dataset: AnySet, old: Artifact) -> Path:
    if isinstance(dataset, str | Path) and not isinstance(names.parse(dataset), names.Folder):
        return Path()
    return old.folder.parent


def _quantization(
    bits: int | Mapping[str, int], axis: Literal["latents", "items"]
) -> Quantization:
    if not isinstance(bits, Mapping):
        precision(bits)
        bits = dict.fromkeys(PURPOSES, bits) | {"labels": max(bits, MIN_LABEL_BITS)}
    if not bits:
        raise ArtifactError(f"bits is empty: give bits for some of {', '.join(PURPOSES)}")
    for name in bits:
        if name not in PURPOSES:
            raise ArtifactError(f"bits of {name!r}: {nearest(name, PURPOSES)}")
    precisions = {name: precision(width) for name, width in bits.items()}
    return Quantization.parse({**precisions, "axis": axis}, where="quantize", error=ArtifactError)


def _suffix(bits: int | Mapping[str, int]) -> str:
    return "-quantized" if isinstance(bits, Mapping) else f"-{precision(bits)}"


def precision(bits: int) -> str:
    """What so many bits are called; ArtifactError where there are none such."""
    if type(bits) is not int or bits not in WIDTHS:
        raise ArtifactError(f"{bits!r} bits: choose 32, 16, or 8 to 2")
    return f"float{bits}" if bits >= 16 else f"int{bits}"
