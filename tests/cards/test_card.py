"""The card says what the manifest, the ledger and the report say, and what it must say."""

import dataclasses
import re

import pytest

import made
from d3data import artifact
from d3data.artifact import summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.citations import bibtex
from d3data.artifact.manifest import Manifest, SoftLabels
from d3data.artifact.quantize import Quantization
from d3data.cards import Facts, Gallery, card, derived, finished, merge, page, stored_report
from d3data.cards.front_matter import load
from d3data.cards.merging import BEGIN, END, parted
from d3data.data import requantize
from d3data.errors import ArtifactError, FormatError, UnknownNameError
from d3data.images.spec import Whitening
from d3data.utils.text import upright
from showing import NAMES, READER, TEXT, Reader, facts, report, shown


def keys(text):
    return load(parted(text)[0])


def read(text):
    return Reader(READER.render(parted(text)[1]))


def with_about(artifact: Artifact, **changed):
    """The facts of the same content with another page about it."""
    page = artifact.manifest
    provenance = page.about.provenance.model_copy(update=changed)
    about = page.about.model_copy(update={"provenance": provenance})
    sealed = Manifest.seal(page.content, about=about, files=page.files)
    return Facts(sealed, artifact.ledger)


def test_the_hub_reads_what_it_needs(toys):
    from huggingface_hub import DatasetCard

    found = keys(card(facts(toys)))
    files = [{"split": "train", "path": "preview/train-*.parquet"}]
    assert found == {
        "pretty_name": "toys-ipc2 (toys, distilled)",
        "license": "cc0-1.0",
        "size_categories": ["n<1K"],
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "tags": ["d3data", "dataset-distillation", "synthetic", "image", "ipc-2"],
        "configs": [{"config_name": "preview", "default": True, "data_files": files}],
    }
    assert DatasetCard(card(facts(toys))).data.to_dict() == found


def test_unclear_terms_stay_unclear_and_known_data_is_linked_to_its_repository(toys):
    found = keys(card(with_about(toys, license="not stated", source="https://x.example/home")))
    assert (found["license"], found["license_name"]) == ("other", "not-stated")
    assert "license_link" not in found  # a home page says no terms
    said = keys(card(with_about(toys, license="mine: https://x.example/terms")))
    assert said["license_link"] == "https://x.example/terms"
    known = keys(card(with_about(toys, task="svhn")))
    assert known["source_datasets"] == ["ufldl-stanford/svhn"]
    assert "source_datasets" not in keys(card(with_about(toys, task="digits")))


def test_the_text_says_what_it_must(toys):
    text, about = card(facts(toys)), toys.manifest.about
    words, made_from = read(text).words, about.provenance
    for part in (
        about.name,
        f"{made_from.images:,} images of {made_from.task}",
        "Every image is synthetic",
        made_from.license,
        made_from.date,
        made_from.recipe_sha256,
        made_from.device,
        "0, 18446744073709551615",
        toys.manifest.content_sha256,
        "does not make the real images private",
        "too rarely or wrongly labelled",
        "Other networks, sizes and tasks may gain less",
        f"{toys.ledger.content_bytes:,}",
        f"{toys.ledger.published_values:,}",
        "protocol quick v1".capitalize(),
        "seeds 0 to 1",
        "1,234 test images",
        "Guessing reaches 20.0 %",
        *toys.manifest.content.classes,
    ):
        assert part in words
    assert 'data = d3data.load("me/toys-ipc2@1.2.3")' in text
    assert bibtex(about).strip() in text
    assert "](preview.png)" in text
    assert "pip install" not in text  # of a name that may be somebody else's
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    size = f"{toys.ledger.content_bytes:,}"
    assert f"| this set | 91.0 ± 1.4 | – | 2,000 | {size} |" in rows
    assert "| random real images | 72.0 ± 2.8 | 2 | 1,920 | 1,920 |" in rows
    assert "| k-means | 72.0 | 2 | 1,920 | 1,920 |" in rows
    spent = facts(toys).spent
    assert sum(size for _, size, _ in spent) == toys.ledger.content_bytes
    assert sum(share for *_, share in spent) == pytest.approx(1)
    assert all(f"| {what} | {size:,} |" in text for what, size, _ in spent)


def test_without_a_report_it_says_so(toys):
    text = card(facts(toys, reported=False))
    assert "Nobody has measured it yet" in text
    assert "| this set |" not in text
    other = report(toys, content_sha256="0" * 64)
    with pytest.raises(ArtifactError, match="evaluate it again"):
        Facts(toys.manifest, toys.ledger, other)


@pytest.mark.parametrize("repo", ['me/x")', "me", "me/x/y", "a b/c", "me/x\n", ""])
def test_a_repository_is_written_as_owner_and_name(toys, repo):
    with pytest.raises(UnknownNameError, match="is not a valid repository name"):
        Facts(toys.manifest, toys.ledger, None, repo)


def test_stored_images_are_not_said_to_be_fresh(pixels):
    text = card(facts(pixels))
    assert "always the same" in text
    assert "fresh" not in text


def test_false_colors_of_whitened_values_and_the_teacher_of_soft_labels_are_said(tmp_path):
    whitening = Whitening(regularization=0.1, images_sha256="ab" * 32)
    image = made.IMAGE.model_copy(update={"whitening": whitening})
    soft = SoftLabels(teacher="a *big* net", temperature=4.0)
    parts = made.three_parts(made.GAUSSIAN, labels=5)
    found = made.write(tmp_path / "toys", image=image, parts=parts, labels=soft)
    text = card(facts(found))
    assert "pictures of them are in false colours" in text
    assert r"| labels | soft: probabilities by a \*big\* net, temperature 4 |" in text
    assert ", in false colours<" in page(facts(found), Gallery(found))


def test_a_recipe_is_said_to_make_what_it_makes(toys, tmp_path):
    again = "`d3data distill recipe.toml --data FOLDER` makes it again."
    assert again in card(facts(toys))
    known = dataclasses.replace(with_about(toys, task="digits"), recipe=facts(toys).recipe)
    assert "`d3data distill recipe.toml` makes it again." in card(known)
    bare = made.write(tmp_path / "bare", extras={})
    assert "recipe.toml" not in card(facts(bare))
    later = artifact.extend(bare.folder, {"recipe.toml": b"[warm_start]\nafter = 'a_b'\n"})
    assert "recipe.toml --from START --data FOLDER`, where START is a\\_b (" in card(facts(later))
    bits = b"[quantize]\npriors = 'int3'\ndecoder = 'int8'\nlabels = 'float16'\naxis = 'items'\n"
    asked = made.rounded(tmp_path / "asked")
    assert again in card(facts(artifact.extend(asked.folder, {"recipe.toml": bits})))
    for broken in (b"[", b"quantize = 1", b"[quantize]\nbits = 4", b"\xff"):
        found = artifact.extend(asked.folder, {"recipe.toml": broken})
        assert "`d3data distill" not in card(facts(found))


@pytest.mark.parametrize("bits", [16, 4, {"priors": 4, "decoder": 8}])
def test_what_is_rounded_afterwards_is_said_to_be(toys, tmp_path, bits):
    rounded = requantize.quantize(toys, bits=bits, out=tmp_path / "a")
    text = card(facts(rounded))
    assert "makes it again" not in text
    distill = "`d3data distill recipe.toml --data FOLDER`"
    found = re.search(f"{distill} and then `d3data quantize .* --bits (.*) --out", text)
    widths = {name: int(n) for name, _, n in (p.partition("=") for p in found[1].split(","))}
    same = requantize.quantize(toys, bits=widths, out=tmp_path / "b")
    assert same.manifest.content == rounded.manifest.content


def test_how_values_are_stored_is_said(toys, pixels, tmp_path):
    assert summary.stored(toys.manifest) == summary.stored(pixels.manifest) == "float32"
    rounded = made.rounded(tmp_path / "rounded")
    words = "priors int3 with a scale per item, decoder int8, labels float16"
    assert summary.stored(rounded.manifest) == words
    bits = '{"decoder": 8, "labels": 16, "priors": 3}'
    call = f'`d3data.quantize(folder, bits={bits}, axis="items")`'
    assert f"| precision | {words} |" in card(facts(rounded))
    assert f"and then {call} make it again" in card(facts(rounded))
    assert f"Values are stored as {words}." in page(facts(rounded), Gallery(rounded))
    parts = made.three_parts(made.SPECS["gaussian"])
    rules = (Quantization(priors="int4"), Quantization(priors="int4"), Quantization())
    mixed = [dataclasses.replace(p, quantization=q) for p, q in zip(parts, rules, strict=True)]
    found = made.write(tmp_path / "mixed", parts=mixed)
    words = "priors float32 or int4 with a scale per latent, decoder float32"
    assert sorted(summary.stored(found.manifest)) == sorted(words)
    assert "but for the bits of its values" in card(facts(found))


def test_many_classes_are_counted_and_not_listed(toys):
    content = toys.manifest.content.model_copy(update={"classes": tuple(map(str, range(5000)))})
    page = toys.manifest.model_copy(update={"content": content})
    assert "4999" not in card(dataclasses.replace(facts(toys, reported=False), manifest=page))


def test_hostile_words_are_shown_and_nothing_else(hostile):
    text = card(facts(hostile))
    page = read(text)
    tags = {tag for tag, _ in page.tags}
    assert tags <= {"h1", "h2", "p", "img", "table", "thead", "tbody", "tr", "th", "td", "pre",
                    "code", "ul", "li", "a"}  # fmt: skip
    assert [attrs["src"] for tag, attrs in page.tags if tag == "img"] == ["preview.png"]
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert links == {"http://x.example/i.png"}
    assert all(shown(name) in page.words for name in NAMES)
    assert page.words.count(shown(TEXT)) >= 5
    assert keys(text)["pretty_name"] == upright(f"toys-ipc2 ({TEXT}, distilled)")
    assert not set("\u202e\u2028") & set(text)
    assert parted(text)[1].count(BEGIN) == parted(text)[1].count(END) == 1
    assert merge(text, text) == text
    assert merge(f"{text}\nmine\n", text) == f"{text}\nmine\n"


def test_derived_files_are_those_of_the_finished_artifact(tmp_path):
    found = made.write(tmp_path / "toys", draws_per_class=12)
    files = derived(found, report(found), repo="me/toys")
    assert set(files) == {"README.md", "croissant.json", "preview.png", "report.json",
                          "preview/train-00000.parquet"}  # fmt: skip
    whole = artifact.extend(found.folder, files)
    assert whole.manifest.content_sha256 == found.manifest.content_sha256
    assert derived(whole, repo="me/toys") == files
    assert stored_report(whole) == report(found)
    assert files["README.md"].decode() == card(Facts.of(whole, report(found), repo="me/toys"))
    bare = made.write(tmp_path / "bare", draws_per_class=12)
    for before in (finished(bare, report(found), repo="me/toys"), finished(whole, repo="me/toys")):
        assert card(before).encode() == files["README.md"]
    whole.check()


def test_a_report_that_is_none_is_an_error(tmp_path):
    found = made.write(tmp_path / "toys", extras={"report.json": b'{"format":1}'})
    with pytest.raises(FormatError, match=r"report\.json: data: Field required"):
        derived(found)
