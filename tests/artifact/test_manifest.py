"""The manifest: one spelling, three blocks, two digests."""

import hashlib
import json
from typing import Any

import pytest

import made
from d3data.artifact import manifest
from d3data.artifact.manifest import Content, FileEntry, Manifest
from d3data.artifact.quantize import Quantization
from d3data.errors import FormatError, IntegrityError, NewerFormatError
from d3data.utils import canonical_json

MAPS = made.SPECS["spatial"].dump()
GENERATOR = made.SPECS["seeded"].dump()
NETWORK = GENERATOR["network"]


def content(**changed: Any) -> dict[str, Any]:
    """Two parts of five classes, as JSON."""
    usual = {
        "image": made.IMAGE.dump(),
        "preprocessing": made.RULE.dump(),
        "classes": list(made.NAMES),
        "source": made.GAUSSIAN.dump(),
        "parts": [entry(0, [0, 2], [2, 1]), entry(1, [1, 3, 4], [1, 3, 2])],
        "labels": {"kind": "hard"},
        "sampling": {"version": 1, "draws_per_class": 6},
    }
    return {"format": 1, "reader": "0.1.0", **usual, **changed}


def entry(number: int, classes: list[int], items: list[int], **changed: Any) -> dict[str, Any]:
    usual = {"path": f"parts/{number:03d}.safetensors", "size": 50_000, "sha256": "0" * 64}
    stored = Quantization().dump()
    members = {"classes": classes, "items_per_class": items, "quantisation": stored}
    return usual | members | changed


def sealed(**changed: Any) -> Manifest:
    files = [
        FileEntry(path="recipe.toml", size=3, sha256="1" * 64),
        FileEntry(path="golden.safetensors", size=4, sha256="2" * 64),
    ]
    block = Content.parse(content(**changed), where="test", error=FormatError)
    return Manifest.seal(block, about=made.ABOUT, files=files)


def resealed(page: dict[str, Any]) -> bytes:
    """The canonical bytes of a page whose digests are right, whatever it says."""
    page = json.loads(json.dumps(page))
    page.pop("self_sha256", None)
    page["content_sha256"] = hashlib.sha256(canonical_json.encode(page["content"])).hexdigest()
    page["self_sha256"] = hashlib.sha256(canonical_json.encode(page)).hexdigest()
    return canonical_json.encode(page)


def changed_at(path: str, value: Any) -> bytes:
    """The page with one value put at a dotted path, its digests made right again."""
    page = sealed().dump()
    *steps, last = path.split(".")
    at: Any = page
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    return resealed(page)


def test_a_page_is_read_as_it_was_written() -> None:
    page = sealed()
    assert manifest.parse(page.encode(), where="here") == page
    assert resealed(page.dump()) == page.encode()


def test_digests_are_of_canonical_bytes() -> None:
    page = json.loads(sealed().encode())
    text = json.dumps(page["content"], sort_keys=True, separators=(",", ":")).encode()
    assert page["content_sha256"] == hashlib.sha256(text).hexdigest()
    del page["self_sha256"]
    assert sealed().self_sha256 == hashlib.sha256(canonical_json.encode(page)).hexdigest()


def test_about_and_files_change_no_content() -> None:
    one = sealed()
    other = Manifest.seal(
        one.content, about=made.ABOUT.model_copy(update={"version": "2.0.0"}), files=[]
    )
    assert one.content_sha256 == other.content_sha256
    assert one.self_sha256 != other.self_sha256


def test_items_are_told_in_order_of_class() -> None:
    assert sealed().content.items_per_class == (2, 1, 1, 3, 2)


@pytest.mark.parametrize(
    "respelt",
    [
        lambda page: page + b"\n",
        lambda page: page.replace(b'"size":8', b'"size":8.0'),
        lambda page: page.replace(b'"size":8', b'"size": 8'),
        lambda page: page.replace(b'"size":8', b'"size":"8"'),
        lambda page: page.replace(b'"size":8', b'"size":8e0'),
        lambda page: page.replace(b'"stages":null,', b""),
        lambda page: page.replace(b'"residual":false', b'"residual":0'),
        lambda page: json.dumps(json.loads(page), sort_keys=False, indent=1).encode(),
        lambda page: page.replace(b"toys-ipc2", b"toys\\u002dipc2"),
        lambda page: page.replace(b'"version":"1.2.3"', b'"version":"1.2.3","version":"1.2.3"'),
    ],
)
def test_another_spelling_is_refused(respelt: Any) -> None:
    page = sealed().encode()
    assert respelt(page) != page
    with pytest.raises(FormatError, match=r"canonical|twice"):
        manifest.parse(respelt(page), where="here")


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("content.colour", 1, "unknown key 'content.colour'"),
        ("surprise", 1, "unknown key 'surprise'"),
        ("content.source.decoder.hieght", 3, "unknown key"),
        ("content.source.kind", "pickle", "source"),
        ("content.source.decoder.family", "evil", "family"),
        ("content.source.decoder.width", 10**9, "width"),
        ("content.source.decoder.stages", 8, "at most"),
        ("content.image.size", 1 << 40, "size"),
        ("content.image.mean", [0.5], "one value for each channel"),
        ("content.image.std", [0.1, 0.0, 0.1], r"image\.std\.1: .*0\.0001"),
        ("content.image.std", [0.1, 0.1, 101], r"image\.std\.2: .*100"),
        ("content.image.std", [9e-5, 0.1, 0.1], r"image\.std\.0: .*0\.0001"),
        ("content.image.mean", [0, 100.5, 0], r"image\.mean\.1: .*100"),
        ("content.image.mean", [0, 0, -1e308], r"image\.mean\.2: .*-100"),
        ("content.source", {**MAPS, "stages": 3}, "at most 2"),
        ("content.source", {**MAPS, "channels": 65}, "channels"),
        ("content.source", {**MAPS, "spread": 0}, "spread"),
        ("content.source", {**MAPS, "residual": True}, "unknown key"),
        ("content.source", {**MAPS, "width": 4096}, "cannot have 50000 bytes"),
        ("content.source", GENERATOR, "format 1 cannot have hard labels of a generator source"),
        ("content.source", {**GENERATOR, "layer": 16}, "layer"),
        ("content.source", {**GENERATOR, "seed": -1}, "seed"),
        ("content.source", {**GENERATOR, "network": {**NETWORK, "width": 513}}, "width"),
        ("content.source", {**GENERATOR, "network": {**NETWORK, "base": 1 << 20}}, "base"),
        ("content.preprocessing.size", 16, "disagree"),
        ("content.classes", ["a", "b", "a", "d", "e"], "comes twice"),
        ("content.classes", ["a", "b", "c"], "must be 0 to 2"),
        ("content.classes.1", "\x1b[31mred", "pattern"),
        ("content.classes.1", "", "at least 1"),
        ("content.parts.1.classes", [0, 3, 4], "each once"),
        ("content.parts.1.classes", [3, 1, 4], "ascend"),
        ("content.parts.1.classes", [1, 3, 5], "each once"),
        ("content.parts.1.items_per_class", [1, 3], "3 classes with 2"),
        ("content.parts.1.items_per_class.0", 0, "items_per_class"),
        ("content.parts.1.items_per_class.0", 10**7, "items_per_class"),
        ("content.parts.1.path", "parts/000.safetensors", "numbered"),
        ("content.parts.1.path", "parts/../../etc/passwd", "path"),
        ("content.parts.1.path", "/etc/passwd", "path"),
        ("content.parts.1.size", -1, "size"),
        ("content.parts.1.sha256", "A" * 64, "sha256"),
        ("content.parts.1.size", 3_000, "cannot have 3000 bytes"),
        ("content.parts.1.size", 2_000_000, "cannot have 2000000 bytes"),
        ("content.parts.1.size", 1 << 34, "size"),
        ("content.parts.1.quantisation", "int3", "quantisation"),
        ("content.parts.1.quantisation.priors", "int9", "priors"),
        ("content.parts.1.quantisation.priors", "int1", "priors"),
        ("content.parts.1.quantisation.axis", "rows", "axis"),
        ("content.parts.1.quantisation.axis", "items", "that it does not have"),
        ("content.parts.1.quantisation.pixels", "int8", "that it does not have"),
        ("content.parts.1.quantisation.labels", "float16", "that it does not have"),
        ("content.image.whitening", {"method": "pca"}, "whitening"),
        ("content.image.whitening", {"method": "zca", "regularisation": 0}, "whitening"),
        ("content.parts", [], "parts"),
        ("content.sampling.version", 2, "version"),
        ("content.sampling.draws_per_class", 2, "at least 3"),
        ("content.sampling.draws_per_class", 1_000_000_000, "draws_per_class"),
        ("content.labels", {"kind": "soft", "teacher": "x", "temperature": 0}, "temperature"),
        ("content.labels", {"kind": "soft"}, "teacher"),
        ("content.reader", "0.2.0", "reader"),
        ("about.name", "../toys", "name"),
        ("about.name", "toys--2", "name"),
        ("about.version", "1.0", "version"),
        ("about.version", "1.02.0", "version"),
        ("about.version", "\u0661.0.0", "version"),
        ("about.provenance.seeds", ["-1"], "seeds"),
        ("about.provenance.licence", "a\nb", "licence"),
        ("about.provenance.date", "yesterday", "date"),
        ("files.0.path", "../x", "path"),
        ("files.0.path", "/x", "path"),
        ("files.0.path", ".hidden", "path"),
        ("files.0.path", "a//b", "path"),
        ("files.0.path", "a\\b", "path"),
        ("files.0.path", "d3data.json", "own place"),
        ("files.0.path", "parts/001.safetensors", "own place"),
        ("files.0.path", "D3DATA.json", "own place"),
        ("files.0.path", "Readme.md", "own place"),
        ("files.0.path", "README.md/x", "own place"),
        ("files.0.path", "Parts/x", "own place"),
        ("files.0.path", "parts", "own place"),
        ("files.0.path", "CROISSANT.JSON", "own place"),
        ("files.0.size", (64 << 20) + 1, "less than or equal to 67108864"),
        ("files.0.path", "zoo.txt", "ascending"),
        ("files.0.path", "Recipe.toml", "ascending|once"),
    ],
)
def test_a_page_that_says_something_impossible_is_refused(
    path: str, value: Any, fault: str
) -> None:
    with pytest.raises(FormatError, match=fault) as caught:
        manifest.parse(changed_at(path, value), where="here")
    assert str(caught.value).startswith("here: ")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "both"),
    [
        (["recipe.toml", "recipe.toml/x"], "recipe.toml"),
        (["Preview", "preview/a/b"], "Preview"),
        (["a/b", "a/b/c/d"], "a/b"),
    ],
)
def test_a_file_is_no_folder(paths: list[str], both: str) -> None:
    page = sealed().dump()
    page["files"] = [{"path": path, "size": 1, "sha256": "0" * 64} for path in paths]
    with pytest.raises(FormatError, match=f"{both} cannot be a file and a folder"):
        manifest.parse(resealed(page), where="here")
    page["files"][0]["path"] = page["files"][0]["path"][:-1] + "_"
    manifest.parse(resealed(page), where="here")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999"])
def test_numbers_are_finite(number: bytes) -> None:
    page = sealed().encode()
    for key in (b'"seconds":1.5', b'"mean":[0.4'):
        assert key in page
        text = page.replace(key, key[: max(key.rfind(b":"), key.rfind(b"[")) + 1] + number)
        with pytest.raises(FormatError, match="finite number"):
            manifest.parse(text, where="here")


def test_whitened_images_have_bounds_too() -> None:
    whitening = {"method": "zca", "regularisation": 0.1, "images_sha256": "0" * 64}
    image = {**made.IMAGE.dump(), "whitening": whitening}
    assert sealed(image=image).content.image.whitening is not None
    with pytest.raises(FormatError, match=r"image\.std"):
        sealed(image={**image, "std": [1e-50] * 3})


def test_a_thousand_parts_of_a_thousand_classes_are_read() -> None:
    parts = [entry(number, [number], [1]) for number in range(1000)]
    page = sealed(classes=[f"class {n}" for n in range(1000)], parts=parts)
    assert manifest.parse(page.encode(), where="here") == page


@pytest.mark.parametrize("key", ["about", "content", "content_sha256", "files", "self_sha256"])
def test_every_block_is_needed(key: str) -> None:
    page = sealed().dump()
    del page[key]
    with pytest.raises(FormatError, match=key):
        manifest.parse(canonical_json.encode(page), where="here")


@pytest.mark.parametrize("name", ["content_sha256", "self_sha256"])
def test_a_wrong_digest_is_found(name: str) -> None:
    page = sealed().dump() | {name: "0" * 64}
    if name == "content_sha256":
        page.pop("self_sha256")
        page["self_sha256"] = hashlib.sha256(canonical_json.encode(page)).hexdigest()
    with pytest.raises(IntegrityError, match=name):
        manifest.parse(canonical_json.encode(page), where="here")


def test_a_page_that_was_edited_is_found() -> None:
    page = sealed().dump()
    page["about"]["provenance"]["licence"] = "public domain"
    with pytest.raises(IntegrityError, match="self_sha256"):
        manifest.parse(canonical_json.encode(page), where="here")


def test_a_newer_format_names_who_reads_it() -> None:
    page = {"content": {"format": 3, "reader": "1.4.0", "all": "else"}, "new": [1.5]}
    with pytest.raises(NewerFormatError, match=r"format 3.*pip install 'd3data>=1\.4\.0'"):
        manifest.parse(json.dumps(page, indent=2).encode(), where="here")


@pytest.mark.parametrize("reader", [None, 3, "1.0; rm -rf /", "9" * 5000])
def test_a_newer_format_cannot_put_words_into_our_mouth(reader: object) -> None:
    page = {"content": {"format": 7, "reader": reader}}
    with pytest.raises(NewerFormatError, match="pip install --upgrade d3data") as caught:
        manifest.parse(canonical_json.encode(page), where="here")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("number", [None, "1", 0, -1, True, 1.5])
def test_without_a_format_it_is_no_artifact(number: object) -> None:
    page = canonical_json.encode({"content": {"format": number}})
    with pytest.raises(FormatError, match="not an artifact"):
        manifest.parse(page, where="here")


def test_half_a_character_is_refused() -> None:
    page = sealed().encode().replace(b'"bee"', b'"\\ud800"')
    with pytest.raises(FormatError, match="here: "):
        manifest.parse(page, where="here")


def test_an_epoch_is_bounded() -> None:
    page = sealed(sampling={"version": 1, "draws_per_class": 1_000_000})
    assert page.content.sampling.draws_per_class == 1_000_000
    many = [f"class {number}" for number in range(11)]
    parts = [entry(0, list(range(11)), [1] * 11)]
    with pytest.raises(FormatError, match="an epoch of more than 10000000 draws"):
        sealed(classes=many, parts=parts, sampling={"version": 1, "draws_per_class": 1_000_000})


def test_soft_labels_have_one_probability_for_each_class() -> None:
    soft = {"kind": "soft", "teacher": "convnet", "temperature": 2.5}
    block = sealed(labels=soft).content
    assert block.layout(block.parts[1])["labels"] == (6, 5)
    assert "labels" not in sealed().content.layout(block.parts[1])


def test_a_generator_has_the_layers_of_its_size() -> None:
    spec, entries = {**GENERATOR, "layer": 4}, [entry(0, [0, 1, 2, 3, 4], [1] * 5)]
    page = content(format=2, source=spec, parts=entries)
    with pytest.raises(FormatError, match=r"layer is 4: .* layers 0 to 3"):
        Content.parse(page, where="test", error=FormatError)
