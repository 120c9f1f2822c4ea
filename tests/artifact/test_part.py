"""One part, as bytes."""

import json

import pytest
import torch

import made
from d3data.artifact.part import Part
from d3data.errors import ArtifactError, FormatError
from d3data.sources import registry
from d3data.utils import canonical_json


def decode(content: bytes, kind: str = "gaussian", labels: int | None = None) -> Part:
    return Part.decode(
        content, spec=made.SPECS[kind], image=made.IMAGE, labels=labels, where="here"
    )


@pytest.mark.parametrize("kind", made.SPECS)
def test_a_part_is_read_as_it_was_written(kind: str) -> None:
    written = made.part(made.SPECS[kind], (1, 4), (2, 3), labels=7)
    found = decode(written.encode(), kind, 7)
    assert (found.classes, found.items_per_class) == ((1, 4), (2, 3))
    assert found.tensors.keys() == written.tensors.keys()
    assert all(torch.equal(found.tensors[name], t) for name, t in written.tensors.items())


def test_the_order_of_tensors_changes_no_byte() -> None:
    one = made.part(made.GAUSSIAN, (0,), (2,))
    other = Part(one.classes, one.items_per_class, dict(reversed(one.tensors.items())))
    assert one.encode() == other.encode()


def test_a_file_has_one_metadata_key() -> None:
    content = made.part(made.GAUSSIAN, (1, 4), (2, 3)).encode()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = canonical_json.encode({"classes": [1, 4], "items_per_class": [2, 3]}).decode()
    assert header["__metadata__"] == {"d3data": about}


def test_a_source_becomes_a_part_and_a_source_again() -> None:
    classes = torch.tensor([0, 0, 1, 2, 2, 2])
    spec = made.SPECS["residual"]
    source = registry.blank(spec, made.IMAGE, classes=classes, step_size=0.1, labels=9)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    source.labels.data.uniform_().div_(source.labels.data.sum(1, keepdim=True))
    part = Part.of(source, classes=(2, 5, 8))
    assert (part.classes, part.items_per_class) == ((2, 5, 8), (2, 1, 3))
    again = decode(part.encode(), "residual", 9).source(spec, made.IMAGE)
    assert again.classes.tolist() == [2, 2, 5, 8, 8, 8]
    assert not any(parameter.requires_grad for parameter in again.parameters())
    items, noise = torch.arange(6), torch.randn(6, source.noise_values)
    with torch.no_grad():
        assert torch.equal(source(items, noise), again(items, noise))


def test_without_names_for_them_classes_keep_their_numbers() -> None:
    source = made.part(made.GAUSSIAN, (0, 1), (1, 2)).source(made.GAUSSIAN, made.IMAGE)
    assert Part.of(source).classes == (0, 1)


def test_building_a_source_leaves_the_callers_randomness_alone() -> None:
    part = made.part(made.GAUSSIAN, (0,), (2,))
    before = torch.random.get_rng_state()
    part.source(made.GAUSSIAN, made.IMAGE)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_written(value: float) -> None:
    part = made.part(made.GAUSSIAN, (0,), (2,))
    part.tensors["mean"][1, 3] = value
    with pytest.raises(ArtifactError, match="'mean' has values that are not finite"):
        part.encode()


@pytest.mark.parametrize(
    ("kind", "labels", "fault"),
    [
        ("pixels", None, "'decoder.out.bias' should be absent"),
        ("residual", None, "'residual.amplitudes' should be F32"),
        ("shared", None, r"'std' should be F32 \[5\]"),
        ("gaussian", 3, r"'labels' should be F32 \[3, 3\] and is absent"),
    ],
)
def test_a_part_of_another_source_is_refused(kind: str, labels: int | None, fault: str) -> None:
    content = made.part(made.GAUSSIAN, (0, 1), (2, 1)).encode()
    with pytest.raises(FormatError, match=fault):
        decode(content, kind, labels)
