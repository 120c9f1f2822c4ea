"""Croissant 1.1, as its own library checks it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

import made
from d3data import artifact
from d3data.artifact.manifest import Manifest
from d3data.cards import croissant, derived, moved
from d3data.cards.croissant_json import CONTEXT
from d3data.data.dataset import DistilledDataset
from showing import TEXT, facts

pytestmark = [  # of what mlcroissant does with rdflib and pandas
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An artifact with all that is made from it."""
    found = made.write(tmp_path_factory.mktemp("croissant") / "toys", draws_per_class=12)
    return artifact.extend(found.folder, derived(found))


@pytest.fixture
def mlcroissant():
    return pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")


def checked(mlcroissant, document):
    """What mlcroissant makes of it; it must find no fault."""
    found = mlcroissant.Dataset(document)
    assert not found.metadata.ctx.issues.errors
    assert not found.metadata.ctx.issues.warnings
    return found


def test_its_own_library_finds_no_fault(mlcroissant, whole, toys):
    for known, repo in ((whole, None), (toys, "me/toys")):
        checked(mlcroissant, json.loads(croissant(facts(known, repo=repo))))


def test_it_declares_the_whole_context_of_its_version(mlcroissant):
    from mlcroissant._src.core.context import Context, CroissantVersion
    from mlcroissant._src.core.rdf import make_context

    assert make_context(Context(conforms_to=CroissantVersion.V_1_1)) == CONTEXT


def test_it_says_what_the_manifest_says_and_what_data_it_is_based_on(whole):
    found = json.loads(croissant(facts(whole)))
    about = whole.manifest.about
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert found["name"] == about.name
    assert found["license"] == ["https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"]
    assert found["creator"]["name"] == "me"
    assert found["url"] == "https://huggingface.co/datasets/me/toys-ipc2"
    assert found["datePublished"] == about.provenance.date
    assert found["version"] == about.version
    assert found["citeAs"].startswith("@misc")
    assert "isBasedOn" not in found
    task = about.provenance.model_copy(update={"task": "svhn"})
    known = about.model_copy(update={"provenance": task})
    page = Manifest.seal(whole.manifest.content, about=known, files=whole.manifest.files)
    based = dataclasses.replace(facts(whole, reported=False), manifest=page)
    origin = "https://huggingface.co/datasets/ufldl-stanford/svhn"
    assert json.loads(croissant(based))["isBasedOn"] == [origin]


def test_each_file_has_its_hash(whole):
    found = json.loads(croissant(facts(whole, repo=None)))["distribution"]
    paths = {entry["contentUrl"] for entry in found}
    assert paths >= {"d3data.json", "parts/000.safetensors", "preview.png", "golden.safetensors"}
    assert not paths & {"README.md", "croissant.json"}
    for entry in found:
        content = (whole.folder / entry["contentUrl"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["contentSize"] == f"{len(content)} B"


def test_published_files_are_those_of_the_version_or_of_a_branch(whole):
    text = croissant(facts(whole))
    found = json.loads(text)["distribution"]
    base = "https://huggingface.co/datasets/me/toys-ipc2/resolve/v1.2.3/"
    assert [entry["contentUrl"] for entry in found] == [base + entry["@id"] for entry in found]
    there = moved(text, "main")
    assert there.replace("/resolve/main/", "/resolve/v1.2.3/") == text
    assert there.count("/resolve/main/") == len(found)
    assert moved(there, "v1.2.3") == text


def test_addresses_are_of_the_hub_that_has_it(whole):
    at = "https://me:secret@hub.example.org"
    text = derived(whole, repo="me/toys", endpoint=at)["croissant.json"].decode()
    found = json.loads(text)
    assert found["url"] == "https://hub.example.org/datasets/me/toys"
    assert found["creator"]["url"] == "https://hub.example.org/me"
    assert all(e["contentUrl"].startswith(f"{found['url']}/") for e in found["distribution"])
    assert "secret" not in text
    assert "huggingface.co" not in text


def test_the_records_of_the_preview_can_be_read(mlcroissant, whole):
    page = whole.folder / "croissant.json"
    records = list(checked(mlcroissant, str(page)).records("preview"))
    assert len(records) == 50
    data = DistilledDataset(whole, as_dict=True)
    for record in records[:7]:
        sample = data.draw(0, record["preview/draw"])
        assert record["preview/label"] == sample["label"]
        assert record["preview/item"] == int(sample["item"])
        image = np.array(record["preview/image"])
        assert np.array_equal(image, sample["image"].permute(1, 2, 0).numpy())


def test_hostile_words_come_back_as_they_were(mlcroissant, hostile):
    document = json.loads(croissant(facts(hostile)))
    checked(mlcroissant, document)
    assert TEXT in document["description"]
    assert document["license"] == ["http://x.example/i.png", TEXT]
