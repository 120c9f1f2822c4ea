"""The reader that knows only the format's page draws the same as ours."""

import importlib.util
from pathlib import Path

import pytest
import torch

import made
from d3data.artifact.manifest import SoftLabels
from d3data.artifact.part import Part
from d3data.artifact.quantize import Quantization
from d3data.data.load import load
from d3data.sources.base import purpose
from d3data.sources.decoders import DecoderSpec
from d3data.sources.spatial import SpatialSpec

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "examples" / "read_without_d3data.py"
CASES = {
    **{name: spec for name, spec in made.SPECS.items() if spec.kind != "generator"},
    "medium": made.GAUSSIAN.model_copy(
        update={"decoder": DecoderSpec(family="medium", width=8, noise=5), "residual": True}
    ),
    "large": made.GAUSSIAN.model_copy(
        update={"decoder": DecoderSpec(family="large", width=4, noise=16)}
    ),
    "maps cropped": SpatialSpec(channels=1, stages=2, width=4, blocks=2, spread=1.5),
    "maps without blocks": SpatialSpec(channels=3, stages=1, width=4, blocks=0),
    "one stage": made.GAUSSIAN.model_copy(
        update={"decoder": DecoderSpec(family="medium", width=6, noise=3, stages=1)}
    ),
}


@pytest.fixture(scope="module")
def other():
    spec = importlib.util.spec_from_file_location("read_without_d3data", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int5", "int2"])
@pytest.mark.parametrize("axis", ["latents", "items"])
def test_it_draws_the_same(kind, precision, axis, other, tmp_path):
    precisions = dict.fromkeys(("decoder", "labels", "pixels", "priors"), precision)
    wanted = Quantization.model_validate({**precisions, "axis": axis})
    parts = [
        Part(p.classes, p.items_per_class, p.tensors, wanted.within(set(map(purpose, p.tensors))))
        for p in made.three_parts(CASES[kind], labels=5)
    ]
    soft = SoftLabels(teacher="convnet", temperature=1.0)
    made.write(tmp_path / "toys", spec=CASES[kind], parts=parts, labels=soft)
    data, read = load(tmp_path / "toys", seed=2**64 - 3), other.read(tmp_path / "toys")
    for epoch, index in ((0, 0), (1, 3), (7, len(data) - 1), (2**32 - 1, 6)):
        image, label = data.draw(epoch, index)
        shown, told = other.draw(*read, seed=2**64 - 3, epoch=epoch, index=index)
        assert (image.int() - shown.int()).abs().max() <= 1
        assert torch.equal(label, told)


def test_it_is_short_and_knows_nothing_of_us():
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 160
    assert "import d3data" not in text
    assert "from d3data" not in text


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'"ant"', b'"ape"', "content was changed"),
        (b'"seconds":1.5', b'"seconds":2.5', "page was changed"),
    ],
)
def test_it_finds_a_page_that_was_changed(old, new, fault, other, tmp_path):
    made.write(tmp_path / "toys")
    page = tmp_path / "toys" / "d3data.json"
    assert old in page.read_bytes()
    page.write_bytes(page.read_bytes().replace(old, new))
    with pytest.raises(AssertionError, match=fault):
        other.read(tmp_path / "toys")


def test_it_finds_a_part_that_was_changed(other, tmp_path):
    made.write(tmp_path / "toys")
    part = tmp_path / "toys" / "parts" / "001.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"\xff")
    with pytest.raises(AssertionError, match="was changed"):
        other.read(tmp_path / "toys")
