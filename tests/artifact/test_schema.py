"""The published JSON schema is current, accepts our pages and refuses what it can see."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

import made
from d3data.artifact import manifest

PAGE = Path(__file__).parents[2] / "docs" / "d3data.schema.json"
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(PAGE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def page(name="toys"):
    return json.loads((GOLDEN / name / "d3data.json").read_bytes())


def test_it_is_current():
    text = PAGE.read_text(encoding="utf-8")
    # versions of pydantic write a number as 4294967296 or as 4294967296.0
    assert json.loads(text) == json.loads(manifest.schema()), "run: python scripts/schema"


@pytest.mark.parametrize("name", made.GOLDEN)
def test_it_accepts_what_we_write(name, validator):
    validator.validate(page(name))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("content.format", 3),
        ("content.image.size", 4),
        ("content.image.whitening", {"method": "zca"}),
        ("content.source.kind", "pickle"),
        ("content.source.decoder.family", "huge"),
        ("content.parts.0.path", "../x"),
        ("content.parts.0.quantisation.priors", "int9"),
        ("content.classes.0", "a\nb"),
        ("about.version", "1.0"),
        ("surprise", 1),
        ("content.surprise", 1),
    ],
)
def test_it_refuses_what_it_can_see(path, value, validator):
    wrong = copy.deepcopy(page())
    *steps, last = path.split(".")
    at = wrong
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(wrong)


def test_every_key_that_we_write_is_required(validator):
    def without(value):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            if isinstance(value, dict) and key != "torch":  # any library may be named
                kept = value.pop(key)
                yield key
                value[key] = kept
            if isinstance(value[key], dict | list):
                yield from without(value[key])

    wrong = page("rounded")
    for key in without(wrong):
        assert not validator.is_valid(wrong), key
